"""DeePTB: frames in .dat files, blocks in hamiltonians.h5 and overlaps.h5, a group a frame."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from gh_tools.errors import DataError
from gh_tools.formats.deeph_legacy import read_blocks
from gh_tools.formats.files import (
    as_elements,
    existing,
    number_of,
    open_hdf5,
    read_number_table,
    write_number_table,
)
from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.matrices import CodeMatrices, Orbitals, entries_of_blocks
from gh_tools.formats.outgoing import Target, shells_text, sorted_blocks, target
from gh_tools.orbitals.blocks import Hamiltonian

_KEY = re.compile(r"(\d+)_(\d+)_(-?\d+)_(-?\d+)_(-?\d+)")
_LETTERS = "spdfghi"
_FILES = ("positions.dat", "atomic_numbers.dat", "hamiltonians.h5")


def _find(path: Path) -> Sequence[Source]:
    if not all((path / name).is_file() for name in _FILES):
        return []
    try:
        with open_hdf5(path / _FILES[2]) as stored:
            frames = sorted(map(int, stored))
    except (OSError, ValueError):
        frames = [0]  # reading it will tell what is wrong
    return [Source(path)] if len(frames) < 2 else [Source(path, frame) for frame in frames]


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    with open_hdf5(existing(folder, "hamiltonians.h5")) as stored:
        frames = sorted(map(int, stored))
        if not frames:
            raise DataError("hamiltonians.h5: holds no frames")
        frame = frames[0] if source.frame is None else source.frame
        pairs, blocks = _blocks(stored, frame)
    if len({block.dtype.kind for block in blocks} & {"c"}):
        raise DataError(
            "holds complex blocks, of spinors or of k-points, which cannot be stored yet"
        )
    atoms = _structure(folder, frames.index(frame), len(frames))
    first = int(pairs[:, 3:].min()) if len(pairs) else 0
    # Counted from 1 in old files: every atom has a block with itself.
    if first == 1 and pairs[:, 3:].max() == len(atoms):
        pairs[:, 3:] -= 1
    else:
        first = 0
    degrees = _degrees(folder, atoms, pairs, blocks)
    orbitals = Orbitals.of_shells(atoms.numbers, degrees, "gh-tools")
    overlap = None
    if (folder / "overlaps.h5").is_file():
        with open_hdf5(folder / "overlaps.h5") as stored:
            overlap_pairs, overlap_blocks = _blocks(stored, frame)
        overlap_pairs[:, 3:] -= first
        overlap = entries_of_blocks(orbitals, overlap_pairs, overlap_blocks)
    return CodeMatrices(
        "DeePTB",
        atoms,
        orbitals,
        [entries_of_blocks(orbitals, pairs, blocks)],
        overlap,
        periodic=(folder / "pbc.dat").is_file(),
    )


def _blocks(stored: Any, frame: int) -> tuple[np.ndarray, list[np.ndarray]]:
    if str(frame) not in stored:
        raise DataError(f"has no frame {frame}")
    pairs, blocks = read_blocks(stored[str(frame)], _KEY)
    return pairs[:, [2, 3, 4, 0, 1]], blocks


def _structure(folder: Path, index: int, n_frames: int) -> ase.Atoms:
    """Read one of the frames, whose tables follow each other."""

    def part(table: np.ndarray, rows: int) -> np.ndarray:
        if len(table) == rows:  # the same for all frames
            return table
        if len(table) != rows * n_frames:
            raise DataError(
                f"expected tables of {rows} or {rows * n_frames} rows for {n_frames} frames, found {len(table)}"
            )
        return table[index * rows : (index + 1) * rows]

    numbers = read_number_table(existing(folder, "atomic_numbers.dat")).ravel()
    positions = read_number_table(existing(folder, "positions.dat"))
    if len(positions) % n_frames:
        raise DataError(
            f"positions.dat: expected as many rows for each of {n_frames} frames, found {len(positions)}"
        )
    n_atoms = len(positions) // n_frames
    cell = np.zeros((3, 3))
    if (folder / "cell.dat").is_file():
        table = read_number_table(folder / "cell.dat")
        cell = part(table, 3) if table.shape[1] == 3 else table[index % len(table)].reshape(3, 3)
    pbc = np.ones(3, dtype=bool)
    if (folder / "pbc.dat").is_file():
        pbc = read_number_table(folder / "pbc.dat").ravel()[:3].astype(bool)
    pbc = np.broadcast_to(pbc, 3) & cell.any(axis=1)
    return ase.Atoms(
        as_elements(part(numbers, n_atoms)),
        positions[index * n_atoms : (index + 1) * n_atoms],
        cell=cell,
        pbc=pbc,
    )


def _degrees(
    folder: Path, atoms: ase.Atoms, pairs: np.ndarray, blocks: Sequence[np.ndarray]
) -> dict[int, tuple[int, ...]]:
    """Read the shells, grouped by l, from basis.dat, such as ``{'Si': '2s2p1d'}``."""
    try:
        found = ast.literal_eval(existing(folder, "basis.dat").read_text().strip())
        degrees = {}
        for symbol, text in found.items():
            counts = re.findall(r"(\d+)([spdfghi])", text)
            if "".join(count + letter for count, letter in counts) != text:
                raise ValueError(f"{text!r} names no shells")
            shells = [_LETTERS.index(letter) for count, letter in counts for _ in range(int(count))]
            degrees[number_of(symbol)] = tuple(sorted(shells))
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise DataError(
            f"basis.dat: expected the shells of each element, as in {{'Si': '2s2p1d'}} ({error})"
        ) from None
    missing = {int(z) for z in atoms.numbers} - set(degrees)
    if missing:
        raise DataError(f"basis.dat: has no shells of {chemical_symbols[min(missing)]}")
    return degrees


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    if hamiltonian.n_spins > 1:
        raise DataError(
            "DeePTB has no files for spin-polarised H; export it to npz, abacus or sisl"
        )
    aim = target(hamiltonian, "gh-tools", by_degree=True)
    atoms = aim.atoms
    path.mkdir()
    write_number_table(path / "positions.dat", atoms.positions)
    write_number_table(path / "cell.dat", atoms.cell.array)
    (path / "atomic_numbers.dat").write_text("".join(f"{z}\n" for z in atoms.numbers))
    (path / "pbc.dat").write_text("".join(f"{int(p)}\n" for p in atoms.pbc))
    basis = {chemical_symbols[z]: shells_text(degrees) for z, degrees in aim.degrees.items()}
    (path / "basis.dat").write_text(str(basis))
    _write_matrix(path / "hamiltonians.h5", hamiltonian, aim, "hamiltonian")
    _write_matrix(path / "overlaps.h5", hamiltonian, aim, "overlap")


def _write_matrix(file: Path, hamiltonian: Hamiltonian, aim: Target, field: Any) -> None:
    pairs, blocks = sorted_blocks(hamiltonian, aim, field)
    with extra("h5py").File(file, "w") as stored:
        group = stored.create_group("0")
        for (*cell, i, j), block in zip(pairs.tolist(), blocks, strict=True):
            group["_".join(map(str, [i, j, *cell]))] = block


FORMAT = Format("deeptb", "DeePTB", _find, _read, _write)
