"""Pairs of atoms within a distance, periodic images included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ase
import numpy as np
from ase.cell import Cell
from ase.geometry import minkowski_reduce
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.blocks import canonical

DirectedPairs = tuple[
    Int[np.ndarray, " pairs"],
    Int[np.ndarray, " pairs"],
    Int[np.ndarray, "pairs 3"],
    Float[np.ndarray, "pairs 3"],
]
# Of each species pair, which has a number of its own: a name with an underscore may stand for several.
PairsBySpecies = dict[
    SpeciesPair,
    tuple[
        Int[np.ndarray, " _pairs"],
        Int[np.ndarray, " _pairs"],
        Int[np.ndarray, "_pairs 3"],
        Float[np.ndarray, "_pairs 3"],
    ],
]


def wrapped(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy with the atoms inside the cell along its periodic directions.

    Lattice vectors R of stored blocks are counted from such positions.
    """
    atoms = atoms.copy()
    if atoms.pbc.any():
        cell = atoms.cell.complete().array
        # Twice: a tiny negative coordinate becomes exactly 1 at first.
        for _ in range(2):
            cells = np.floor(np.linalg.solve(cell.T, atoms.positions.T).T) * atoms.pbc
            atoms.positions -= cells @ cell
    return atoms


class Neighbours:
    """Finds the neighbours of some atoms at a time, so that memory is theirs, not the structure's.

    A k-d tree of the atoms and of those periodic images that are within reach of them: time is linear in
    the number of atoms asked for.

    Args:
        atoms: the structure, wrapped or not; a cell vector may be zero where it is not periodic.
        cutoff: largest distance in Å that will be asked for.
    """

    def __init__(self, atoms: ase.Atoms, cutoff: float):
        self._positions, self._cell = atoms.positions, atoms.cell.complete().array
        # Images are sought about the atoms, wrapped into the reduced cell: their number then depends neither on
        # how far the atoms of a trajectory have drifted, nor on how oblique the given vectors are.
        reduced, to_reduced = minkowski_reduce(atoms.cell, atoms.pbc)
        # Along directions that are not periodic, vectors normal to the others.
        cell = Cell(np.where(atoms.pbc[:, None], reduced, 0.0)).complete().array
        inverse = np.linalg.inv(cell)
        scaled = atoms.positions @ inverse
        drift = np.floor(scaled) * atoms.pbc
        scaled -= drift
        self._wrapped = atoms.positions - drift @ cell
        # 1/height of the cell, times the cutoff; a little more, against rounding
        margin = cutoff * np.linalg.norm(inverse, axis=0) * (1 + 1e-9) + 1e-9
        atom, cell_offset = np.arange(len(atoms)), np.zeros((len(atoms), 3), dtype=np.int64)
        for axis in np.flatnonzero(atoms.pbc).tolist():
            low, high = scaled[:, axis].min() - margin[axis], scaled[:, axis].max() + margin[axis]
            reach = int(np.ceil(high - low))
            cells = np.repeat(np.arange(-reach, reach + 1), len(atom))
            place = np.tile(scaled[atom, axis], 2 * reach + 1) + cells
            inside = np.flatnonzero((low <= place) & (place <= high))
            atom, cell_offset = (
                np.tile(atom, 2 * reach + 1)[inside],
                np.tile(cell_offset, (2 * reach + 1, 1))[inside],
            )
            cell_offset[:, axis] = cells[inside]
        self._tree = cKDTree(self._wrapped[atom] + cell_offset @ cell)
        # Lattice vectors in the given cell, from the given position of an atom to that of its image.
        self._drift = drift.astype(np.int64) @ to_reduced
        self._atom, self._cell_offset = atom, cell_offset @ to_reduced - self._drift[atom]

    def count(self, cutoff: float) -> Int[np.ndarray, " atoms"]:
        """Number of neighbours of each atom, itself included."""
        return self._tree.query_ball_point(self._wrapped, cutoff, return_length=True)

    def nearest(self, count: int) -> Float[np.ndarray, "atoms count"]:
        """Distances in Å of each atom's nearest neighbours, ascending; infinite where there are fewer."""
        return self._tree.query(self._wrapped, k=count + 1)[0][:, 1:]

    def of(self, atoms: Int[np.ndarray, " some"], cutoff: float) -> DirectedPairs:
        """All pairs closer than ``cutoff`` whose first atom is among ``atoms``, as `directed_pairs`."""
        found = cKDTree(self._wrapped[atoms]).sparse_distance_matrix(
            self._tree, cutoff, output_type="ndarray"
        )
        i, image = np.asarray(atoms)[found["i"]], found["j"]
        j, cell_offset = self._atom[image], self._cell_offset[image] + self._drift[i]
        vector = self._positions[j] + cell_offset @ self._cell - self._positions[i]
        itself = (i == j) & ~cell_offset.any(axis=1)
        rows = np.flatnonzero((np.einsum("pc,pc->p", vector, vector) < cutoff**2) & ~itself)
        order = rows[np.lexsort((*cell_offset[rows].T[::-1], j[rows], i[rows]))]
        return i[order], j[order], cell_offset[order], vector[order]


def directed_pairs(atoms: ase.Atoms, cutoff: float) -> DirectedPairs:
    """All pairs closer than ``cutoff``, both directions, sorted by (i, j, cell_offset).

    Args:
        atoms: the structure; a cell vector may be zero where it is not periodic.
        cutoff: in Å.

    Returns:
        i, j, cell_offset (in cells), and the vector r_j + cell_offset·cell - r_i in Å. An atom pairs with its
        own images, not with itself.
    """
    return Neighbours(atoms, cutoff).of(np.arange(len(atoms)), cutoff)


@dataclass(frozen=True)
class Cutoffs:
    """All distances of a network in Å, resolved for a basis.

    Attributes:
        descriptor: up to which neighbours shape an atom's descriptor.
        pairs: for each species pair, up to which there are blocks.
    """

    descriptor: float
    pairs: Mapping[SpeciesPair, float]

    @property
    def reach(self) -> float:
        """The longest of them."""
        return max(self.descriptor, *self.pairs.values())

    def within(self, labelled: Mapping[str, float]) -> Cutoffs:
        """Return cutoffs of which those of pairs end where labels end.

        Args:
            labelled: distances in Å up to which labels hold species pairs, by "Zi-Zj"; others stay.
        """
        pairs = {
            (zi, zj): min(cutoff, labelled.get(f"{zi}-{zj}", cutoff))
            for (zi, zj), cutoff in self.pairs.items()
        }
        return Cutoffs(self.descriptor, pairs)


def basis_cutoffs(basis: Basis, limit: float | None = None) -> dict[SpeciesPair, float]:
    """Distance in Å up to which each species pair has blocks: the sum of reaches, or ``limit`` if less."""
    limit = np.inf if limit is None else limit
    return {pair: min(basis.pair_range(*pair), limit) for pair in basis.species_pairs()}


def stored_pairs(atoms: ase.Atoms, cutoffs: Mapping[SpeciesPair, float]) -> PairsBySpecies:
    """The canonical pairs of each species pair present, within its cutoff.

    Args:
        atoms: the structure, wrapped.
        cutoffs: in Å for each (Zi, Zj), Zi <= Zj; species pairs that are not there have no pairs.

    Returns:
        For each species pair with at least one pair: i, j, cell_offset, vector, sorted by (i, j, cell_offset).
    """
    return canonical_pairs(atoms, directed_pairs(atoms, max(cutoffs.values())), cutoffs)


def canonical_pairs(
    atoms: ase.Atoms, pairs: DirectedPairs, cutoffs: Mapping[SpeciesPair, float]
) -> PairsBySpecies:
    """Return the canonical ones of directed pairs, by species pair; see `stored_pairs`.

    Args:
        atoms: the structure.
        pairs: i, j, cell_offset and vector in Å, as `directed_pairs` gives them.
        cutoffs: largest distance in Å, by species pair.
    """
    i, j, cell_offset, vector = pairs
    zi, zj = atoms.numbers[i], atoms.numbers[j]
    distance = np.linalg.norm(vector, axis=1)
    keep = canonical(i, j, cell_offset, atoms.numbers)
    found = {}
    for key, cutoff in sorted(cutoffs.items()):
        rows = np.flatnonzero(keep & (zi == key[0]) & (zj == key[1]) & (distance < cutoff))
        if len(rows):
            found[key] = i[rows], j[rows], cell_offset[rows], vector[rows]
    return found
