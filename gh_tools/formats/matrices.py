"""H and S as another program has them: its orbitals, its positions, element by element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import ase
import numpy as np
from jaxtyping import Int, Num

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Bands
from gh_tools.orbitals.order import orbital_places


@dataclass(frozen=True)
class Entries:
    """Elements of a matrix M_ab(R) = ⟨a,0|M|b,R⟩; others are zero.

    Attributes:
        row: orbital a, in the program's order.
        column: orbital b.
        cell: R in units of the cell's vectors, counted from the program's positions.
        value: the elements.
    """

    row: Int[np.ndarray, " entries"]
    column: Int[np.ndarray, " entries"]
    cell: Int[np.ndarray, "entries 3"]
    value: Num[np.ndarray, " entries"]


@dataclass(frozen=True)
class Orbitals:
    """The orbitals of a structure in a program's order, as ours.

    Attributes:
        degrees: for each element, l of its shells in the order of the basis table.
        atom: that each orbital belongs to.
        place: where it stands among those of its atom in our order.
        sign: ±1 such that the program's orbital is that factor times ours.
    """

    degrees: Mapping[int, tuple[int, ...]]
    atom: Int[np.ndarray, " orbitals"]
    place: Int[np.ndarray, " orbitals"]
    sign: Int[np.ndarray, " orbitals"]

    @classmethod
    def of_shells(
        cls,
        numbers: Int[np.ndarray, " atoms"],
        degrees: Mapping[int, Sequence[int]],
        program: str,
    ) -> Orbitals:
        """Return the orbitals of atoms whose shells follow each other in a program's order of m.

        Args:
            numbers: atomic numbers.
            degrees: for each element, l of its shells.
            program: a key of `gh_tools.orbitals.order.CONVENTIONS`.
        """
        maps = {z: orbital_places(program, shells) for z, shells in degrees.items()}
        per_atom = [maps[int(z)] for z in numbers]
        return cls(
            {int(z): tuple(map(int, shells)) for z, shells in degrees.items()},
            np.repeat(np.arange(len(numbers)), [len(place) for place, _ in per_atom]),
            np.concatenate([place for place, _ in per_atom]),
            np.concatenate([sign for _, sign in per_atom]),
        )

    def __len__(self) -> int:
        return len(self.atom)


@dataclass
class CodeMatrices:
    """What a file, or a folder of files, of another program says of one structure.

    Attributes:
        code: name of the program, or of the format where any program may have made it.
        atoms: the structure as R is counted from, wrapped or not.
        orbitals: in the order of rows and columns.
        hamiltonian: H in eV: one matrix, two of a spin-polarised run, or four (↑↑, ↑↓, ↓↑, ↓↓; complex) of a
            non-collinear one.
        overlap: S; None where the orbitals are orthonormal.
        spinor: whether there is one H, of orbitals of two components; see `spinors`.
        half: whether of (a,b,R) and (b,a,-R) one alone is there.
        scalars: fermi_level (eV), n_electrons, energy (eV), as far as known.
        valence: electrons of each neutral atom, by element, as far as known.
        cutoffs: radius in Å of each shell, by element, as far as known.
        radial: text of the radial functions, by element, as far as known (`gh_tools.overlap.radial`).
        periodic: whether the program states which directions are periodic; else those that couple cells are.
        local: whether orbitals stand at their atoms, so that nearer images of a pair have larger blocks.
        bands: eigenvalues that the program printed.
    """

    code: str
    atoms: ase.Atoms
    orbitals: Orbitals
    hamiltonian: list[Entries]
    overlap: Entries | None
    half: bool = False
    scalars: dict[str, float] = field(default_factory=dict)
    valence: dict[int, float] = field(default_factory=dict)
    cutoffs: dict[int, tuple[float, ...]] = field(default_factory=dict)
    radial: dict[int, str] = field(default_factory=dict)
    periodic: bool = False
    local: bool = True
    bands: Bands | None = None
    spinor: bool = False


def spinors(matrices: CodeMatrices) -> CodeMatrices:
    """Return ↑↑, ↑↓, ↓↑ and ↓↓ as one H of spinors: of each atom the orbitals with spin up, then those with spin down.

    Args:
        matrices: of a non-collinear run, with four parts of H and S of the orbitals alone.
    """
    orbitals, n = matrices.orbitals, len(matrices.orbitals)
    per_atom = np.bincount(orbitals.atom)[orbitals.atom]
    doubled = Orbitals(
        orbitals.degrees,
        np.tile(orbitals.atom, 2),
        np.concatenate([orbitals.place, orbitals.place + per_atom]),
        np.tile(orbitals.sign, 2),
    )

    def joined(parts: Sequence[Entries], spins: Sequence[tuple[int, int]]) -> Entries:
        return Entries(
            np.concatenate([e.row + a * n for e, (a, _) in zip(parts, spins, strict=True)]),
            np.concatenate([e.column + b * n for e, (_, b) in zip(parts, spins, strict=True)]),
            np.concatenate([e.cell for e in parts]),
            np.concatenate([e.value for e in parts]),
        )

    quarters = joined(matrices.hamiltonian, [(0, 0), (0, 1), (1, 0), (1, 1)])
    overlap = matrices.overlap
    if overlap is not None:
        overlap = joined([overlap, overlap], [(0, 0), (1, 1)])
    return replace(matrices, orbitals=doubled, hamiltonian=[quarters], overlap=overlap, spinor=True)


def adjoint(entries: Entries) -> Entries:
    """Return the elements of the other direction: M†(R) of M(R)."""
    return Entries(entries.column, entries.row, -entries.cell, entries.value.conj())


def entries_of_blocks(
    orbitals: Orbitals,
    pairs: Int[np.ndarray, "blocks 5"],
    blocks: Sequence[Num[np.ndarray, "_rows _columns"]],
) -> Entries:
    """Take blocks apart.

    Args:
        orbitals: of the structure.
        pairs: R1, R2, R3, i, j of each block, atoms counted from 0.
        blocks: of them.

    Raises:
        DataError: an atom is not there, or a block has not the shape that the orbitals of its atoms give it.
    """
    counts = np.bincount(orbitals.atom)
    start = np.concatenate([[0], np.cumsum(counts)])
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 5)
    check_atoms(pairs[:, 3:], len(counts))
    shapes = np.array([block.shape for block in blocks]).reshape(len(pairs), -1)
    expected = counts[pairs[:, 3:]]
    if shapes.shape != expected.shape or (shapes != expected).any():
        wrong = (
            0
            if shapes.shape != expected.shape
            else int(np.argmax((shapes != expected).any(axis=1)))
        )
        raise DataError(
            f"expected a block of {expected[wrong][0]} x {expected[wrong][1]} for the atoms "
            f"{pairs[wrong, 3]} and {pairs[wrong, 4]}, found {'x'.join(map(str, shapes[wrong]))}"
        )
    parts: list[tuple[np.ndarray, ...]] = []
    for shape in np.unique(expected, axis=0):
        rows = np.flatnonzero((expected == shape).all(axis=1))
        value = np.stack([blocks[int(row)] for row in rows])
        a, b = np.broadcast_arrays(
            start[pairs[rows, 3]][:, None, None] + np.arange(shape[0])[:, None],
            start[pairs[rows, 4]][:, None, None] + np.arange(shape[1]),
        )
        size = int(np.prod(shape))
        parts.append(
            (a.ravel(), b.ravel(), np.repeat(pairs[rows, :3], size, axis=0), value.ravel())
        )
    if not parts:
        raise DataError("it has no blocks")
    row, column, cell, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Entries(row, column, cell, value)


def check_atoms(atoms: Int[np.ndarray, "..."], n_atoms: int) -> None:
    """Raise `DataError` if an atom's index is none."""
    if atoms.size and (atoms.min() < 0 or atoms.max() >= n_atoms):
        wrong = atoms[(atoms < 0) | (atoms >= n_atoms)].flat[0]
        raise DataError(f"expected atoms from 0 to {n_atoms - 1}, found {wrong}")


def entries_of_cells(
    cells: Int[np.ndarray, "cells 3"], matrices: Iterable, scale: float = 1.0
) -> Entries:
    """Take sparse matrices apart, one for each R; explicit zeros stay.

    Args:
        cells: R of each.
        matrices: SciPy's, orbitals by orbitals.
        scale: factor of the values.
    """
    found = [matrix.tocoo() for matrix in matrices]
    counts = [len(matrix.data) for matrix in found]
    empty = np.zeros(0, int)
    return Entries(
        np.concatenate([empty, *(matrix.row for matrix in found)]).astype(np.int64),
        np.concatenate([empty, *(matrix.col for matrix in found)]).astype(np.int64),
        np.repeat(np.asarray(cells, dtype=np.int64).reshape(-1, 3), counts, axis=0),
        np.concatenate([np.zeros(0), *(matrix.data for matrix in found)]) * scale,
    )
