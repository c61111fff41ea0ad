"""SciPy's npz files: one sparse matrix of H and of S for each R, or for each k-point."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import scipy.sparse
from ase.data import chemical_symbols

from gh_tools.errors import DataError
from gh_tools.formats.files import as_elements, number_of, read_number, read_object
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals, entries_of_cells
from gh_tools.formats.outgoing import cell_matrices, target
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian

_DESCRIPTION = "description.json"
_FILE = re.compile(r"(H|H_up|H_down|S)_(-?\d+)_(-?\d+)_(-?\d+)\.npz")


def _find(path: Path) -> Sequence[Source]:
    there = (path / _DESCRIPTION).is_file()
    return [Source(path)] if there and any(path.glob("H_*.npz")) else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    description = read_object(folder / _DESCRIPTION)
    if "kpoints" in description:
        raise DataError("holds H(k) of single k-points, from which H(R) does not follow")
    found: dict[str, list[tuple[list[int], Path]]] = {}
    for file in sorted(folder.glob("*.npz")):
        if match := _FILE.fullmatch(file.name):
            found.setdefault(match[1], []).append(([int(n) for n in match.groups()[1:]], file))
    names = ["H"] if "H" in found else ["H_up", "H_down"]
    if missing := [name for name in names if name not in found]:
        raise DataError(f"expected files {missing[0]}_R1_R2_R3.npz, found none")
    atoms, orbitals = _structure(description)
    spins = [_entries(found[name], len(orbitals)) for name in names]
    valence = description.get("valence", {})
    return CodeMatrices(
        "SciPy npz",
        atoms,
        orbitals,
        spins,
        _entries(found["S"], len(orbitals)) if "S" in found else None,
        scalars={
            key: value
            for key in ("fermi_level", "n_electrons")
            if (value := read_number(description, key)) is not None
        },
        valence={number_of(symbol): float(count) for symbol, count in valence.items()},
        periodic=True,
    )


def _structure(description: Mapping[str, Any]) -> tuple[ase.Atoms, Orbitals]:
    try:
        numbers = as_elements(np.array(description["numbers"], dtype=float))
        atoms = ase.Atoms(
            numbers,
            np.array(description["positions"], dtype=float),
            cell=np.array(description["cell"], dtype=float),
            pbc=description["pbc"],
        )
        rows = np.array(description["orbitals"]["rows"], dtype=int).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{_DESCRIPTION}: expected numbers, positions, cell, pbc and orbitals ({type(error).__name__}: {error})"
        ) from None
    degrees: dict[int, tuple[int, ...]] = {}
    expected = []
    for index, z in enumerate(numbers.tolist()):
        shells, place = [], 0
        mine = rows[rows[:, 0] == index]
        while place < len(mine):
            shells.append(int(mine[place, 1]))
            place += 2 * shells[-1] + 1
        if degrees.setdefault(z, tuple(shells)) != tuple(shells):
            raise DataError(
                f"{_DESCRIPTION}: expected the same shells for each atom of {chemical_symbols[z]}, found others"
            )
        expected += [[index, l, m] for l in shells for m in range(-l, l + 1)]  # noqa: E741
    if rows.tolist() != expected:
        raise DataError(
            f"{_DESCRIPTION}: orbitals: expected those of an atom together, and m of each shell from -l to l"
        )
    return atoms, Orbitals.of_shells(numbers, degrees, "gh-tools")


def _entries(files: Sequence[tuple[list[int], Path]], n: int) -> Entries:
    matrices = []
    for _, file in files:
        try:
            matrix = scipy.sparse.load_npz(file)
            if hasattr(matrix, "check_format"):  # indices of a damaged file lead anywhere
                matrix.check_format(full_check=True)
        except Exception as error:  # of the archive, its arrays, and what SciPy makes of them
            raise DataError(
                f"{file.name}: is no sparse matrix of SciPy, or is truncated ({type(error).__name__})"
            ) from None
        if matrix.shape != (n, n):
            shape = "x".join(map(str, matrix.shape))
            raise DataError(
                f"{file.name}: expected a matrix of the {n} orbitals of {_DESCRIPTION}, found {shape}"
            )
        matrices.append(matrix)
    return entries_of_cells(np.array([cell for cell, _ in files]), matrices)


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    path.mkdir()
    aim = target(hamiltonian, "gh-tools")
    cells, overlaps = cell_matrices(hamiltonian, aim, "overlap")
    for cell, matrix in zip(cells.tolist(), overlaps, strict=True):
        scipy.sparse.save_npz(path / f"S_{_name(cell)}.npz", scipy.sparse.csr_matrix(matrix))
    for spin, name in enumerate(_spins(hamiltonian)):
        cells, matrices = cell_matrices(hamiltonian, aim, "hamiltonian", spin)
        for cell, matrix in zip(cells.tolist(), matrices, strict=True):
            scipy.sparse.save_npz(
                path / f"{name}_{_name(cell)}.npz", scipy.sparse.csr_matrix(matrix)
            )
    _describe(path, hamiltonian, {"matrices": "H_R1_R2_R3.npz and S_R1_R2_R3.npz, in eV and 1"})


def write_at(path: Path, hamiltonian: Hamiltonian, kpoints: Sequence[Sequence[float]]) -> None:
    """Write H(k) and S(k) into a new folder, a file for each k-point.

    Args:
        path: the folder.
        hamiltonian: H(R) in eV and S(R).
        kpoints: in units of the reciprocal vectors.
    """
    path.mkdir()
    for index, k in enumerate(kpoints):
        point = np.asarray(k, dtype=float)
        overlap = bloch_matrix(hamiltonian, point, "overlap", sparse=True)
        scipy.sparse.save_npz(path / f"S_k{index}.npz", scipy.sparse.csr_matrix(overlap))
        for spin, name in enumerate(_spins(hamiltonian)):
            matrix = bloch_matrix(hamiltonian, point, "hamiltonian", spin, sparse=True)
            scipy.sparse.save_npz(path / f"{name}_k{index}.npz", scipy.sparse.csr_matrix(matrix))
    matrices = "H_kN.npz and S_kN.npz, in eV and 1, phases exp(2πi k·R)"
    _describe(path, hamiltonian, {"matrices": matrices, "kpoints": [list(k) for k in kpoints]})


def _spins(hamiltonian: Hamiltonian) -> list[str]:
    return ["H"] if hamiltonian.n_spins == 1 else ["H_up", "H_down"]


def _name(cell: Sequence[int]) -> str:
    return "_".join(map(str, cell))


def _describe(path: Path, hamiltonian: Hamiltonian, facts: dict) -> None:
    """Write what rows and columns are: atom, l and m of each, and the structure."""
    atoms = hamiltonian.atoms
    orbitals = [
        [index, int(degree), m]
        for index, z in enumerate(atoms.numbers)
        for degree in hamiltonian.basis[int(z)].degrees
        for m in range(-degree, degree + 1)
    ]
    scalars = {key: value for key, value in hamiltonian.scalars.items() if np.isfinite(value)}
    elements = {int(z): hamiltonian.basis[int(z)] for z in np.unique(atoms.numbers)}
    valence = {
        chemical_symbols[z]: element.n_valence
        for z, element in elements.items()
        if np.isfinite(element.n_valence)
    }
    description = {
        **facts,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "orbitals": {"columns": ["atom", "l", "m"], "rows": orbitals},
        "valence": valence,
        **scalars,
    }
    (path / _DESCRIPTION).write_text(json.dumps(description))


FORMAT = Format("npz", "SciPy npz", _find, _read, _write)
