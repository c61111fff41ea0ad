"""Predictions in the hands of other tools give the same bands there."""

import numpy as np
import pytest
import scipy.linalg

from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.store.hamiltonians import HamiltonianReader
from tests.cli.conftest import call  # noqa: F401, a fixture

KPOINTS = np.array([[0.0, 0, 0], [0.5, 0, 0], [1 / 3, 1 / 3, 0], [0.13, -0.27, 0]])


@pytest.fixture
def predicted(call, tiny_labels, random_bond_model, tmp_path):  # noqa: F811
    done = call(
        f"gh-infer {tiny_labels} -m {random_bond_model} -o p.predicted.zarr --part test -q",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    ham = HamiltonianReader(tmp_path / "p.predicted.zarr").read(0)
    bands = [
        scipy.linalg.eigh(
            bloch_matrix(ham, k, "hamiltonian"), bloch_matrix(ham, k, "overlap"), eigvals_only=True
        )
        for k in KPOINTS
    ]
    return np.array(bands)


def test_sisl_finds_the_same_bands(call, predicted, tmp_path):  # noqa: F811
    sisl = pytest.importorskip("sisl")
    done = call("gh-export p.predicted.zarr --to sisl -o p.nc -q", tmp_path)
    assert done.returncode == 0, done.stderr
    sile = sisl.get_sile(tmp_path / "p.nc")
    read = sile.read_hamiltonian()
    found = np.array([read.eigh(k) for k in KPOINTS])
    # Without a Fermi level in the store sisl's zero is ours.
    assert np.abs(found - predicted).max() < 1e-6


def test_wannier90s_file_gives_the_same_bands(call, predicted, tmp_path):  # noqa: F811
    """By the definition of the file: H(k) = Σ_R exp(2πi k·R) H(R) / degeneracy."""
    done = call("gh-export p.predicted.zarr --to wannier90 -o w", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Löwdin" in done.stderr
    lines = (tmp_path / "w" / "wannier90_hr.dat").read_text().splitlines()
    n, n_cells = int(lines[1]), int(lines[2])
    head = 3 + -(-n_cells // 15)
    degeneracy = np.array(" ".join(lines[3:head]).split(), dtype=float)
    rows = np.array(" ".join(lines[head:]).split(), dtype=float).reshape(n_cells, n * n, 7)
    for k, wanted in zip(KPOINTS, predicted, strict=True):
        weight = np.exp(2j * np.pi * (rows[:, 0, :3] @ k)) / degeneracy
        elements = np.einsum("c,ce->e", weight, rows[..., 5] + 1j * rows[..., 6])
        h = elements.reshape(n, n).T  # the first index varies fastest
        assert np.abs(np.linalg.eigvalsh(h) - wanted).max() < 1e-6
