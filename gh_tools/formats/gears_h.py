"""Published directories of GEARS H: object arrays of blocks of a run at the Γ point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from gh_tools.errors import DataError
from gh_tools.formats.files import existing, read_object
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Orbitals, check_atoms, entries_of_blocks
from gh_tools.formats.restricted import SparseState, read_npz

_ON, _OFF, _PAIRS, _SHELLS = (
    "hblocks_on-diagonal.npz",
    "hblocks_off-diagonal.npz",
    "ijD.npz",
    "orbital_ells.json",
)
_BOTH = "H_MM_S_MM.npz"
# Å, by which a vector of a pair may miss that of a lattice vector
_OFF_LATTICE = 1e-2


def _find(path: Path) -> Sequence[Source]:
    return [Source(path)] if all((path / n).is_file() for n in (_ON, _OFF, _PAIRS, _SHELLS)) else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    atoms = _structure(folder)
    shells = read_object(folder / _SHELLS)
    try:
        degrees = {int(z): tuple(int(degree) for degree in ls) for z, ls in shells.items()}
    except (ValueError, TypeError):
        raise DataError(f"{_SHELLS}: expected l of the shells of each atomic number") from None
    orbitals = Orbitals.of_shells(
        atoms.numbers, {z: degrees[z] for z in np.unique(atoms.numbers).tolist()}, "gh-tools"
    )
    where = read_npz(folder / _PAIRS)
    ij = np.asarray(where["ij"], dtype=np.int64).reshape(-1, 2)
    check_atoms(ij, len(atoms))
    cell = _cells(atoms, ij, np.asarray(where["D"], dtype=float).reshape(-1, 3))
    n = len(atoms)
    diagonal = np.column_stack([np.zeros((n, 3), int), np.arange(n), np.arange(n)])
    pairs = np.concatenate([diagonal, np.column_stack([cell, ij])])
    blocks = [*_blocks(folder / _ON), *_blocks(folder / _OFF)]
    if len(blocks) != len(pairs):
        raise DataError(
            f"expected {n} blocks of atoms and {len(ij)} of pairs, found {len(blocks)} in all"
        )
    overlap = _overlap(folder, orbitals)
    start = np.concatenate([[0], np.cumsum(np.bincount(orbitals.atom))])
    s_blocks = [
        overlap[start[i] : start[i + 1], start[j] : start[j + 1]] for *_, i, j in pairs.tolist()
    ]
    return CodeMatrices(
        "GEARS H",
        atoms,
        orbitals,
        [entries_of_blocks(orbitals, pairs, blocks)],
        entries_of_blocks(orbitals, pairs, s_blocks),
        periodic=True,
    )


def _structure(folder: Path) -> ase.Atoms:
    from ase.io import read

    found = read(existing(folder, "atoms.extxyz"), format="extxyz", index=-1)
    assert isinstance(found, ase.Atoms)  # one frame
    return found


def _cells(atoms: ase.Atoms, ij: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return R of each pair from the vector between its atoms; each pair may have one image."""
    between = vectors - (atoms.positions[ij[:, 1]] - atoms.positions[ij[:, 0]])
    lattice = atoms.cell.complete().array
    cell = np.rint(np.linalg.solve(lattice.T, between.T).T).astype(np.int64)
    off = np.abs(cell @ lattice - between).max(initial=0.0)
    if off > _OFF_LATTICE:
        raise DataError(
            f"{_PAIRS}: vectors of pairs differ from those of atoms.extxyz by up to {off:.2g} Å"
        )
    images = len(np.unique(ij, axis=0))
    if images < len(ij):
        raise DataError(
            f"{_PAIRS}: {len(ij) - images} pairs have several images, which the matrix of the Γ point adds up, so that "
            "H(R) is not known; only cells wider than twice the cutoff can be imported"
        )
    return cell


def _blocks(file: Path) -> list[np.ndarray]:
    found = read_npz(file)
    if "hblocks" not in found:
        raise DataError(f"{file.name}: expected hblocks, found {', '.join(found)}")
    return [np.asarray(block, dtype=np.float64) for block in found["hblocks"]]


def _overlap(folder: Path, orbitals: Orbitals) -> np.ndarray:
    file = folder / _BOTH
    if not file.is_file():
        raise DataError(
            f"holds no S ({_BOTH} is not there), without which H has no eigenvalues; label the structures with "
            "gh-label, or put the file that the same program wrote beside it"
        )
    stored: Any = read_npz(file).get("S_MM")
    if isinstance(stored, np.ndarray) and stored.dtype == object:
        stored = stored.ravel()[0] if stored.size == 1 else stored
    matrix = stored.dense() if isinstance(stored, SparseState) else np.asarray(stored, dtype=float)
    if matrix.shape != (len(orbitals), len(orbitals)):
        raise DataError(
            f"{_BOTH}: expected S of {len(orbitals)} orbitals, found {'x'.join(map(str, matrix.shape))}"
        )
    return np.real(matrix)


FORMAT = Format("gears-h", "GEARS H", _find, _read)
