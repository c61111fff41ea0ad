"""From another program's elements to blocks in our order: both directions of each pair become one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.geometry import find_mic
from jaxtyping import Int

from gh_tools.errors import DataError
from gh_tools.formats.joining import Differences, Joined, find_rows
from gh_tools.formats.matrices import CodeMatrices, Entries, spinors
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.checks import check_blocks, check_bonds
from gh_tools.orbitals.geometry import structure_fault
from gh_tools.orbitals.pairs import wrapped

# eV, and of S: what a file that means H and S never violates Hermiticity by.
NOT_HERMITIAN, NOT_SYMMETRIC = 0.05, 0.01
# eV: imaginary parts of H(R) that are the noise of a run; more say that the matrix is complex.
COMPLEX = 5e-3
# Å, and eV or 1: an image of a pair this much nearer cannot lack a block where the farther has one this large.
_NEARER, _LARGE = 0.5, 1e-2
# Å: added to the distances of the data, so that they are within.
_MARGIN = 1e-3


@dataclass
class Findings:
    """What joining both directions of each pair has shown.

    Attributes:
        asymmetry: largest difference of an element of H from that of the other direction, eV.
        asymmetry_overlap: the same of S.
        dropped: largest element of H that the file has in one direction alone, or that was left out, eV.
        dropped_overlap: the same of S.
        reach: largest distance in Å of a pair's blocks, by "Zi-Zj".
    """

    asymmetry: float
    asymmetry_overlap: float
    dropped: float
    dropped_overlap: float
    reach: dict[str, float]


def assemble(
    matrices: CodeMatrices, spin_independent: bool = False
) -> tuple[Hamiltonian, Findings]:
    """Compose the blocks of a structure.

    Args:
        matrices: what the program has.
        spin_independent: of a non-collinear run take (H↑↑ + H↓↓)/2, its real part, and leave out all else.

    Returns:
        H(R) and S(R) in our order, R counted from wrapped positions, and what was found on the way.

    Raises:
        DataError: the matrices are not Hermitian, complex without being of spinors, of one k-point alone, not what H
            and S must be, or not those of the structure; or it is none.
    """
    left_out = 0.0
    if spin_independent and matrices.spinor and len(matrices.hamiltonian) == 1:
        raise DataError(
            "its functions are spinors of no stated spin, of which no part is independent of spin"
        )
    if spin_independent and len(matrices.hamiltonian) == 4:
        mean, left_out = _spin_independent(matrices.hamiltonian)
        matrices = replace(matrices, hamiltonian=[mean], spinor=False)
    elif len(matrices.hamiltonian) == 4:
        matrices = spinors(matrices)
    spins, spinor = matrices.hamiltonian, matrices.spinor
    atoms, offset = _wrapped(matrices)
    numbers, orbitals = atoms.numbers, matrices.orbitals
    joined = [Joined(entries, orbitals, offset, numbers, spinor) for entries in spins]
    overlap = None
    if matrices.overlap is not None:
        overlap = Joined(matrices.overlap, orbitals, offset, numbers)
    pairs = np.unique(
        np.concatenate([m.pairs for m in [*joined, *([] if overlap is None else [overlap])]]),
        axis=0,
    )
    degrees = {z: orbitals.degrees[z] for z in np.unique(numbers).tolist()}
    components = 2 if spinor else 1
    sizes = {z: components * sum(2 * l + 1 for l in shells) for z, shells in degrees.items()}  # noqa: E741
    found_h, found_s = Differences(matrices.half), Differences(matrices.half)
    onsite, bonds = {}, {}
    for z in sizes:
        atom = np.flatnonzero(numbers == z)
        where = np.column_stack([atom, atom, np.zeros((len(atom), 3), int)])
        onsite[z] = OnsiteBlocks(
            atom,
            *_fields([m.blocks(where, sizes[z], sizes[z], found_h) for m in joined]),
            np.broadcast_to(np.eye(sizes[z]), (len(atom), sizes[z], sizes[z])).copy()
            if overlap is None
            else overlap.blocks(where, sizes[z], sizes[z], found_s),
        )
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) | pairs[:, 2:].any(axis=1)]
    for zi in sizes:
        for zj in sizes:
            where = pairs[(numbers[pairs[:, 0]] == zi) & (numbers[pairs[:, 1]] == zj)]
            if len(where) == 0:
                continue
            hamiltonian = _fields([m.blocks(where, sizes[zi], sizes[zj], found_h) for m in joined])
            s = np.zeros((len(where), sizes[zi], sizes[zj]))
            if overlap is not None:
                s = overlap.blocks(where, sizes[zi], sizes[zj], found_s)
            # Blocks of zeros, such as of sparse formats that list every R for every pair, say nothing.
            keep = (
                (np.abs(hamiltonian[0]).max(axis=(-2, -1)) > 0).reshape(-1, len(where)).any(axis=0)
            )
            keep |= np.abs(s).max(axis=(-2, -1)) > 0
            if keep.any():
                bonds[zi, zj] = PairBlocks(
                    *(where[keep, 0], where[keep, 1], where[keep, 2:]),
                    hamiltonian[0][..., keep, :, :],
                    s[keep],
                )
    imaginary = max(m.imaginary for m in joined)
    findings = Findings(
        found_h.asymmetry,
        found_s.asymmetry,
        max(found_h.dropped, imaginary, left_out),
        found_s.dropped,
        {},
    )
    _check(findings, imaginary)
    basis = Basis({z: _element(matrices, z, shells) for z, shells in degrees.items()})
    scalars, bands = dict(matrices.scalars), matrices.bands
    made = Hamiltonian(atoms, basis, onsite, bonds, scalars, bands, spinor)
    reach = {
        f"{zi}-{zj}": float(np.linalg.norm(made.vectors((zi, zj)), axis=1).max()) + _MARGIN
        for zi, zj in bonds
    }
    findings.reach = reach
    made.basis = with_reach(basis, reach)
    if matrices.local:
        _check_images(made)
    if fault := next(check_blocks(made), None):
        raise DataError(fault)
    if matrices.local and overlap is not None and (fault := next(check_bonds(made), None)):
        raise DataError(f"the matrices do not belong to the structure: {fault}")
    return made, findings


def with_reach(basis: Basis, reach: dict[str, float]) -> Basis:
    """Give shells whose radius is not known (NaN) one, so that pairs reach as far as their blocks do.

    Args:
        basis: the basis table.
        reach: largest distance in Å of blocks, by "Zi-Zj".
    """
    radius = {z: 0.5 * reach.get(f"{z}-{z}", 0.0) for z in basis.numbers}
    for name, distance in sorted(reach.items()):
        zi, zj = map(int, name.split("-"))
        missing = 0.5 * (distance - radius[zi] - radius[zj])
        if missing > 0:
            radius[zi] += missing
            radius[zj] += missing
    elements = {}
    for z, element in basis.elements.items():
        found = max(radius[z], 1.0)  # an isolated atom's orbitals reach somewhere
        shells = tuple(
            Shell(shell.l, found if np.isnan(shell.cutoff) else shell.cutoff)
            for shell in element.shells
        )
        elements[z] = ElementBasis(**{**vars(element), "shells": shells})
    return Basis(elements)


def _element(matrices: CodeMatrices, z: int, degrees: tuple[int, ...]) -> ElementBasis:
    cutoffs = matrices.cutoffs.get(z, (np.nan,) * len(degrees))
    return ElementBasis(
        z,
        tuple(Shell(degree, cutoff) for degree, cutoff in zip(degrees, cutoffs, strict=True)),
        matrices.valence.get(z, np.nan),
        basis_text=matrices.radial.get(z, ""),
        code=matrices.code,
    )


def _spin_independent(spins: list[Entries]) -> tuple[Entries, float]:
    """Return (H↑↑ + H↓↓)/2, and the largest element of all else."""
    up, ud, du, down = spins
    row, column, cell = (
        np.concatenate([getattr(up, name), getattr(down, name)])
        for name in ("row", "column", "cell")
    )
    mean = Entries(row, column, cell, 0.5 * np.concatenate([up.value, down.value]))
    # Elements of the same place add up: H↑↑ and H↓↓ have the same ones.
    order = np.lexsort([mean.column, mean.row, *mean.cell.T])
    place = np.column_stack([mean.cell, mean.row, mean.column])[order]
    first = np.r_[True, (place[1:] != place[:-1]).any(axis=1)]
    value = np.add.reduceat(mean.value[order], np.flatnonzero(first))
    summed = Entries(place[first, 3], place[first, 4], place[first, :3], value.real)
    rest = [np.abs(e.value).max(initial=0.0) for e in (ud, du)]
    return summed, float(max(*rest, np.abs(value.imag).max(initial=0.0)))


def _wrapped(matrices: CodeMatrices) -> tuple[ase.Atoms, Int[np.ndarray, "atoms 3"]]:
    """Return the wrapped structure, which is one, and the lattice vectors by which its atoms moved."""
    atoms = matrices.atoms.copy()
    if not matrices.periodic:
        coupled = np.zeros(3, dtype=bool)
        every = [*matrices.hamiltonian, *([matrices.overlap] if matrices.overlap else [])]
        for entries in every:
            coupled |= entries.cell.any(axis=0)
        atoms.pbc = coupled & atoms.cell.array.any(axis=1)
    with np.errstate(all="ignore"):  # of numbers that are refused
        fault = structure_fault(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if fault:
        raise DataError(fault)
    inside = wrapped(atoms)
    moved = atoms.positions - inside.positions
    cells = np.linalg.solve(atoms.cell.complete().array.T, moved.T).T if len(atoms) else moved
    return inside, np.rint(cells).astype(np.int64) * atoms.pbc


def _fields(spins: list[np.ndarray]) -> tuple[np.ndarray]:
    """Join the spin channels of H; one channel has no spin axis."""
    return (spins[0] if len(spins) == 1 else np.stack(spins),)


def _check(findings: Findings, imaginary: float) -> None:
    if findings.asymmetry > NOT_HERMITIAN or findings.asymmetry_overlap > NOT_SYMMETRIC:
        raise DataError(
            f"H and S are not Hermitian: the two directions of a pair differ by {findings.asymmetry:.3g} eV in H and "
            f"{findings.asymmetry_overlap:.3g} in S; lattice vectors or orders of orbitals are not those of the "
            "format, or the files are damaged"
        )
    if imaginary > COMPLEX:
        raise DataError(
            f"H(R) is complex (imaginary parts up to {imaginary:.3g} eV), and the files do not say that it is of "
            "spinors; H of one spin that breaks time reversal can neither be stored nor learned yet"
        )


def _check_images(hamiltonian: Hamiltonian) -> None:
    """Refuse blocks of far images where the nearest image of the pair has none.

    So are matrices of the Γ point, in which all images of a pair are added up, and lattice vectors that are
    counted from other positions.
    """
    atoms = hamiltonian.atoms
    if not atoms.pbc.any():
        return
    for (zi, zj), blocks in hamiltonian.pairs.items():
        vectors = hamiltonian.vectors((zi, zj))
        distance = np.linalg.norm(vectors, axis=1)
        between = atoms.positions[blocks.j] - atoms.positions[blocks.i]
        nearest, _ = find_mic(between, atoms.cell, atoms.pbc)
        cell = atoms.cell.complete().array
        cell_offset = np.rint(np.linalg.solve(cell.T, (nearest - between).T).T).astype(np.int64)
        nearest = np.linalg.norm(nearest, axis=1)
        where = np.column_stack([blocks.i, blocks.j, cell_offset])
        stored = np.column_stack([blocks.i, blocks.j, blocks.cell_offset])
        other = np.column_stack([blocks.j, blocks.i, -cell_offset])
        missing = (find_rows(stored, where) < 0) & (find_rows(stored, other) < 0)
        assert blocks.hamiltonian is not None and blocks.overlap is not None
        h = np.abs(blocks.hamiltonian).max(axis=(-2, -1)).reshape(-1, len(missing)).max(axis=0)
        large = np.maximum(h, np.abs(blocks.overlap).max(axis=(-2, -1))) > _LARGE
        wrong = missing & large & (distance > nearest + _NEARER) & (nearest > _NEARER)
        if wrong.any():
            row = int(np.argmax(wrong))
            names = "-".join(chemical_symbols[z] for z in (zi, zj))
            raise DataError(
                f"the {names} pair of atoms {blocks.i[row]} and {blocks.j[row]} has a block at {distance[row]:.2f} Å "
                f"and none at {nearest[row]:.2f} Å, its nearest image: either the run sampled the Γ point alone, and "
                "images are added up (repeat it with k-points or in a larger cell), or R is counted from other "
                "positions"
            )
