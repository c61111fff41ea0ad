"""Which Bravais lattice a cell has, though it is strained, skewed or unreduced, and its special k-points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import ase
import numpy as np
from ase.cell import Cell
from ase.lattice import BravaisLattice, identify_lattice
from jaxtyping import Float, Int

from gh_tools.orbitals.lattice import shortest_combination

# Strain up to which a cell counts as a lattice of higher symmetry than its own: recipes strain cells by
# 2 %, and most crystals whose symmetry is broken by a distortion of their own are further off.
STRAIN = 0.03
# Strain up to which it does if the points that are asked for have no meaning otherwise.
LARGEST_STRAIN = 0.1
# Strain that is rounding of a file's coordinates.
EXACT = 1e-5


@dataclass(frozen=True)
class NamedLattice:
    """A Bravais lattice that a cell has within some strain.

    Attributes:
        lattice: ASE's, with the parameters of the nearest cell that has its symmetry exactly.
        strain: largest principal strain between that cell and the given one, as a fraction.
        points: coordinates of the special points in units of the given cell's reciprocal vectors, by name.
    """

    lattice: BravaisLattice
    strain: float
    points: dict[str, Float[np.ndarray, "3"]]


def named_lattices(atoms: ase.Atoms) -> list[NamedLattice]:
    """Return the lattices that a structure's periodic directions have, the preferred one first.

    Those within `STRAIN` come first, the most symmetric of them at the head; then those within
    `LARGEST_STRAIN`, the nearest at the head.

    The lattice vectors are reduced (Minkowski). A symmetry is an integer matrix W with W G Wᵀ near
    the metric G of the reduced vectors, and those that are near enough are a group P. The mean of
    W G Wᵀ over P is the metric of the nearest cell that has all of them exactly, and ASE names the
    special points of that cell. Coordinates of k-points do not change with strain.

    Args:
        atoms: structure with at least one periodic direction.
    """
    periodic = np.flatnonzero(atoms.pbc)
    vectors = atoms.cell.array[periodic]
    rank = len(periodic)
    # Of unit size: ASE's tolerances are relative then, which for slabs and wires they are not.
    vectors = vectors / np.linalg.det(vectors @ vectors.T) ** (0.5 / rank)
    reduction = shortest_combination(vectors)
    reduced = reduction @ vectors
    metric = reduced @ reduced.T

    found: dict[str, NamedLattice] = {}
    for group in _symmetries(metric):
        mean = np.mean(group @ metric @ group.transpose(0, 2, 1), axis=0)
        strain = _strain(metric, mean)
        if strain > LARGEST_STRAIN:
            continue
        cell = np.zeros((3, 3))
        cell[:rank, :rank] = np.linalg.cholesky(mean)
        try:
            lattice, operation = identify_lattice(Cell(cell))
        except RuntimeError:
            # One that ASE does not know in this setting; a less symmetric one is next.
            continue
        # ASE may miss a symmetry that is there: of one name the nearest cell counts.
        if lattice.name in found and found[lattice.name].strain <= strain + 1e-9:
            continue
        # From ASE's vectors to the reduced ones, and from these to the given ones. In two dimensions ASE
        # may exchange two vectors for the sake of handedness, of which letters know nothing.
        operation = operation[:rank, :rank]
        if rank == 2 and not _represents(lattice, operation, mean):
            operation = operation[::-1]
        if not _represents(lattice, operation, mean):
            continue
        back = operation @ np.linalg.inv(reduction).T
        points = {}
        for name, point in lattice.get_special_points().items():
            points[name] = np.zeros(3)
            points[name][periodic] = point[:rank] @ back + 0.0  # no negative zeros
        found.pop(lattice.name, None)
        found[lattice.name] = NamedLattice(lattice, float(strain), points)
    near = [known for known in found.values() if known.strain <= STRAIN]
    far = [known for known in found.values() if known.strain > STRAIN]
    return near + sorted(far, key=lambda known: known.strain)


def _represents(
    lattice: BravaisLattice, operation: Float[np.ndarray, "d d"], metric: Float[np.ndarray, "d d"]
) -> bool:
    """Return whether an operation takes the cell of a metric to that of a lattice, to ASE's tolerance."""
    back = np.linalg.inv(operation).T
    vectors = lattice.tocell().array[: len(metric)]
    return bool(np.allclose(back @ metric @ back.T, vectors @ vectors.T, rtol=0, atol=1e-3))


def _symmetries(metric: Float[np.ndarray, "d d"]) -> list[Int[np.ndarray, "_operations _d _d"]]:
    """Return groups of matrices that leave a metric nearly unchanged, the largest first.

    The elements of those of a reduced cell are -1, 0 and 1. Of the sets with a strain below a limit, those
    are taken that are closed under multiplication; the last is the inversion's, which every lattice has.
    """
    d = len(metric)
    every = np.array(list(product((-1, 0, 1), repeat=d * d))).reshape(-1, d, d)
    every = every[abs(np.round(np.linalg.det(every))) == 1]
    strain = _strain(every @ metric @ every.transpose(0, 2, 1), metric)
    # The mean moves by up to half of what lies between a cell and its image.
    some = strain <= 2.5 * LARGEST_STRAIN
    order = np.argsort(strain[some], kind="stable")
    every, strain = every[some][order], strain[some][order]
    # Sets end where the next operation is further off by more than rounding.
    ends = np.flatnonzero(np.append(np.diff(strain) > 1e-9, True)) + 1
    return [every[:end] for end in ends[::-1] if _is_group(every[:end])]


def _is_group(operations: Int[np.ndarray, "operations d d"]) -> bool:
    """Return whether products of matrices are among them; point groups of lattices have 48 at most."""
    if len(operations) > 48:
        return False
    known = {operation.tobytes() for operation in operations}
    products = operations[:, None] @ operations[None]
    return all(one.tobytes() in known for row in products for one in row)


def _strain(
    metric: Float[np.ndarray, "*n d d"], reference: Float[np.ndarray, "d d"]
) -> Float[np.ndarray, "*n"]:
    """Return the largest principal strain that takes the cell of a metric to that of a reference."""
    root = np.linalg.inv(np.linalg.cholesky(reference))
    stretch = np.sqrt(np.linalg.eigvalsh(root @ metric @ root.T))
    return np.asarray(np.max(abs(stretch - 1), axis=-1))
