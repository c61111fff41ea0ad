"""DeepH, the layout before 2025: .dat files, hamiltonians.h5 and overlaps.h5 with one data set a block."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from gh_tools.errors import DataError
from gh_tools.formats.deeph import spinor_entries
from gh_tools.formats.files import (
    as_elements,
    check_length,
    existing,
    open_hdf5,
    read_number,
    read_number_table,
    read_object,
    write_number_table,
)
from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals, entries_of_blocks
from gh_tools.formats.outgoing import Target, sorted_blocks, target
from gh_tools.orbitals.blocks import Hamiltonian

_FILES = ("hamiltonians.h5", "hamiltonians_pred.h5", "rh.h5", "rh_pred.h5")
_KEY = re.compile(r"\[(-?\d+), *(-?\d+), *(-?\d+), *(\d+), *(\d+)\]")


def _find(path: Path) -> Sequence[Source]:
    there = all((path / name).is_file() for name in ("lat.dat", "orbital_types.dat"))
    return [Source(path)] if there and any((path / name).is_file() for name in _FILES[:2]) else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    atoms = _structure(folder)
    degrees: dict[int, tuple[int, ...]] = {}
    lines = (folder / "orbital_types.dat").read_text().split("\n")
    shells = [tuple(map(int, line.split())) for line in lines if line.strip()]
    check_length("orbital_types.dat: lines", shells, len(atoms))
    for z, found in zip(atoms.numbers.tolist(), shells, strict=True):
        if degrees.setdefault(z, found) != found or not found:
            raise DataError(
                f"orbital_types.dat: expected the same shells for each atom of an element, found {found} and "
                f"{degrees[z]}"
            )
    orbitals = Orbitals.of_shells(atoms.numbers, degrees, "openmx")
    info = read_object(folder / "info.json") if (folder / "info.json").is_file() else {}
    spinful = bool(info.get("isspinful", False))
    hamiltonian = _matrix(existing(folder, *_FILES[:2]), orbitals, spinful)
    overlap = None
    if not info.get("isorthogonal", False):
        overlap = _matrix(existing(folder, "overlaps.h5"), orbitals, False)[0]
    fermi = read_number(info, "fermi_level")
    return CodeMatrices(
        "DeepH",
        atoms,
        orbitals,
        hamiltonian,
        overlap,
        scalars={} if fermi is None else {"fermi_level": fermi},
    )


def _structure(folder: Path) -> ase.Atoms:
    cell = read_number_table(existing(folder, "lat.dat")).T
    positions = read_number_table(existing(folder, "site_positions.dat")).T
    numbers = read_number_table(existing(folder, "element.dat")).ravel()
    check_length("element.dat: elements", numbers, len(positions))
    return ase.Atoms(as_elements(numbers), positions, cell=cell)


def _matrix(file: Path, orbitals: Orbitals, spinful: bool) -> list[Entries]:
    with open_hdf5(file) as stored:
        pairs, blocks = read_blocks(stored, _KEY)
    pairs[:, 3:] -= 1
    if spinful:
        return spinor_entries(orbitals, pairs, blocks)
    return [entries_of_blocks(orbitals, pairs, blocks)]


def read_blocks(group: Mapping[str, Any], key: re.Pattern) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read data sets of one block each, whose names hold five integers.

    Args:
        group: of an HDF5 file.
        key: what a name is.

    Returns:
        The integers, one row a block, and the blocks.

    Raises:
        DataError: a name is none.
    """
    pairs, blocks = [], []
    for name, block in group.items():
        match = key.fullmatch(name)
        if match is None:
            raise DataError(f"expected data sets named as {key.pattern}, found {name[:60]!r}")
        pairs.append([int(number) for number in match.groups()])
        blocks.append(np.asarray(block))
    return np.array(pairs, dtype=np.int64).reshape(-1, 5), blocks


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    if hamiltonian.n_spins > 1:
        raise DataError("DeepH has no files for spin-polarised H; export it to npz, abacus or sisl")
    aim = target(hamiltonian, "openmx")
    atoms = aim.atoms
    cell = atoms.cell.complete().array
    path.mkdir()
    write_number_table(path / "lat.dat", cell.T)
    write_number_table(path / "rlat.dat", 2 * np.pi * np.linalg.inv(cell))
    write_number_table(path / "site_positions.dat", atoms.positions.T)
    (path / "element.dat").write_text("".join(f"{z}\n" for z in atoms.numbers))
    (path / "orbital_types.dat").write_text(
        "".join("  ".join(map(str, aim.degrees[int(z)])) + "\n" for z in atoms.numbers)
    )
    info: dict[str, Any] = {"nsites": len(atoms), "isorthogonal": False, "isspinful": False}
    if np.isfinite(fermi := hamiltonian.scalars.get("fermi_level", np.nan)):
        info["fermi_level"] = fermi
    (path / "info.json").write_text(json.dumps(info))
    _write_matrix(path / "hamiltonians.h5", hamiltonian, aim, "hamiltonian")
    _write_matrix(path / "overlaps.h5", hamiltonian, aim, "overlap")


def _write_matrix(file: Path, hamiltonian: Hamiltonian, aim: Target, field: Any) -> None:
    pairs, blocks = sorted_blocks(hamiltonian, aim, field)
    pairs = pairs + np.array([0, 0, 0, 1, 1])
    with extra("h5py").File(file, "w") as stored:
        for pair, block in zip(pairs.tolist(), blocks, strict=True):
            stored[str(pair)] = block


FORMAT = Format("deeph-legacy", "DeepH before 2025", _find, _read, _write)
