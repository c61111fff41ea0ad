"""DeepH, the layout of 2025 on: POSCAR, info.json, hamiltonian.h5, overlap.h5."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from gh_tools.errors import DataError
from gh_tools.formats.files import (
    check_length,
    existing,
    number_of,
    open_hdf5,
    read_number,
    read_object,
    read_poscar,
    write_poscar,
)
from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals, entries_of_blocks
from gh_tools.formats.outgoing import Target, sorted_blocks, target
from gh_tools.orbitals.blocks import Hamiltonian

_PREDICTED = "hamiltonian_pred.h5"


def _find(path: Path) -> Sequence[Source]:
    there = (path / "info.json").is_file() and (path / "POSCAR").is_file()
    files = any((path / name).is_file() for name in ("hamiltonian.h5", _PREDICTED))
    return [Source(path)] if there and files else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    info = read_object(existing(folder, "info.json"))
    atoms = read_poscar(existing(folder, "POSCAR"))
    shells = info.get("elements_orbital_map")
    if not isinstance(shells, dict) or not all(
        isinstance(degrees, list) and degrees and all(type(degree) is int for degree in degrees)
        for degrees in shells.values()
    ):
        raise DataError("info.json: elements_orbital_map: expected a list of l for each element")
    degrees = {number_of(symbol): tuple(found) for symbol, found in shells.items()}
    if missing := {int(z) for z in atoms.numbers} - set(degrees):
        raise DataError(
            f"info.json: elements_orbital_map: has no {chemical_symbols[min(missing)]}, which POSCAR has"
        )
    check_length("POSCAR: atoms", atoms.numbers, info.get("atoms_quantity", len(atoms)))
    orbitals = Orbitals.of_shells(atoms.numbers, degrees, "gh-tools")
    check_length(
        "info.json: orbits_quantity", orbitals.atom, info.get("orbits_quantity", len(orbitals))
    )
    spinful = bool(info.get("spinful", False))
    orthogonal = bool(info.get("orthogonal_basis", False))
    hamiltonian = _matrix(existing(folder, "hamiltonian.h5", _PREDICTED), orbitals, spinful)
    overlap = None
    if not orthogonal:
        overlap = _matrix(existing(folder, "overlap.h5"), orbitals, False)[0]
    scalars = {
        ours: value
        for ours, theirs in (("fermi_level", "fermi_energy_eV"), ("n_electrons", "occupation"))
        if (value := read_number(info, theirs)) is not None
    }
    return CodeMatrices("DeepH", atoms, orbitals, hamiltonian, overlap, scalars=scalars)


def _matrix(file: Path, orbitals: Orbitals, spinful: bool) -> list[Entries]:
    with open_hdf5(file) as stored:
        pairs, bounds, shapes, entries = (
            stored[name][...]
            for name in ("atom_pairs", "chunk_boundaries", "chunk_shapes", "entries")
        )
    sizes = shapes.prod(axis=1)
    if not np.array_equal(np.diff(bounds), sizes) or len(pairs) != len(shapes):
        raise DataError(f"{file.name}: chunk_boundaries and chunk_shapes contradict each other")
    check_length(f"{file.name}: entries", entries, int(bounds[-1]))
    blocks = [
        entries[start : start + size].reshape(shape)
        for start, size, shape in zip(bounds[:-1], sizes, shapes, strict=True)
    ]
    if not spinful:
        return [entries_of_blocks(orbitals, pairs, blocks)]
    return spinor_entries(orbitals, pairs, blocks)


def spinor_entries(orbitals: Orbitals, pairs: Any, blocks: list[Any]) -> list[Entries]:
    """Divide blocks [[↑↑, ↑↓], [↓↑, ↓↓]] of twice the size into four matrices."""
    if any(side % 2 for block in blocks for side in block.shape):
        raise DataError("expected blocks of spinors, which have an even number of rows and columns")
    quarters: list[list[Any]] = [[], [], [], []]
    for block in blocks:
        ni, nj = block.shape[0] // 2, block.shape[1] // 2
        for quarter, (a, b) in zip(quarters, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
            quarter.append(block[a * ni : (a + 1) * ni, b * nj : (b + 1) * nj])
    return [entries_of_blocks(orbitals, pairs, quarter) for quarter in quarters]


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    if hamiltonian.n_spins > 1:
        raise DataError("DeepH has no files for spin-polarised H; export it to npz, abacus or sisl")
    aim = target(hamiltonian, "gh-tools", by_element=True)
    path.mkdir()
    write_poscar(path / "POSCAR", aim.atoms)
    info: dict[str, Any] = {
        "atoms_quantity": len(aim.atoms),
        "orbits_quantity": int(aim.start[-1]),
        "orthogonal_basis": False,
        "spinful": hamiltonian.spinor,
        "elements_orbital_map": {
            chemical_symbols[z]: list(map(int, degrees)) for z, degrees in aim.degrees.items()
        },
    }
    for theirs, ours in (("fermi_energy_eV", "fermi_level"), ("occupation", "n_electrons")):
        if np.isfinite(value := hamiltonian.scalars.get(ours, np.nan)):
            info[theirs] = int(value) if value == int(value) and ours == "n_electrons" else value
    (path / "info.json").write_text(json.dumps(info))
    _write_matrix(path / "hamiltonian.h5", hamiltonian, aim, "hamiltonian")
    _write_matrix(path / "overlap.h5", hamiltonian, aim, "overlap")


def _write_matrix(file: Path, hamiltonian: Hamiltonian, aim: Target, field: Any) -> None:
    pairs, blocks = sorted_blocks(hamiltonian, aim, field)
    shapes = np.array([block.shape for block in blocks], dtype=np.int64)
    with extra("h5py").File(file, "w") as stored:
        stored["atom_pairs"] = pairs.astype(np.int64)
        stored["chunk_shapes"] = shapes
        stored["chunk_boundaries"] = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        stored["entries"] = np.concatenate([block.ravel() for block in blocks])


FORMAT = Format("deeph", "DeepH", _find, _read, _write, spinors=True)
