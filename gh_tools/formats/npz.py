"""SciPy's npz files: one sparse matrix of H and of S for each R, or for each k-point."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse

from gh_tools.formats.format import Format, Source
from gh_tools.formats.outgoing import cell_matrices, target
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian


def _find(path: Path) -> Sequence[Source]:
    return []


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
    """Write H(k) and S(k) of some k-points, in units of the reciprocal vectors, into a new folder."""
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
    description = {
        **facts,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "orbitals": {"columns": ["atom", "l", "m"], "rows": orbitals},
        **scalars,
    }
    (path / "description.json").write_text(json.dumps(description))


FORMAT = Format("npz", "SciPy npz", _find, None, _write, refusal="is written only")
