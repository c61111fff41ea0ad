"""Each engine that is installed against dense eigenvalues: inertia, solutions, memory, doubt."""

import contextlib
import sys

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from gh_tools.errors import DataError, MissingExtraError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.spectra.sparse.factor import ENGINES, available_engines, make_engine
from gh_tools.spectra.sparse.factor.choose import _loads
from gh_tools.spectra.sparse.factor.engine import UnreliableInertia, real_form
from gh_tools.spectra.sparse.pencil import make_pencil
from gh_tools.units import GIB

ENGINES_HERE = available_engines()


@pytest.fixture(scope="module", params=[(0.0, 0.0, 0.0), (0.3, 0.1, 0.0)], ids=["real", "complex"])
def case(request, sheet):
    """A sparse pencil, its dense matrices and its eigenvalues."""
    k = np.array(request.param)
    h, s = (bloch_matrix(sheet, k, field) for field in ("hamiltonian", "overlap"))
    return make_pencil(sheet, k), h, s, scipy.linalg.eigh(h, s, eigvals_only=True)


def test_last_resort_is_always_there():
    assert ENGINES_HERE[-1] == "superlu"
    assert make_engine(None, GIB).name == ENGINES_HERE[0]


def test_a_library_that_does_not_load_is_not_taken(monkeypatch, tmp_path):
    """pypardiso is installed so where it does not find MKL."""
    (tmp_path / "pypardiso.py").write_text('raise ImportError("Shared library mkl_rt not found")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pypardiso", raising=False)
    _loads.cache_clear()
    try:
        assert "pardiso" not in available_engines() and "superlu" in available_engines()
        with pytest.raises(MissingExtraError, match=r"gh-tools\[pardiso\]"):
            make_engine("pardiso", GIB)
    finally:
        _loads.cache_clear()


def test_pencil_is_the_matrices(case):
    pencil, h, s, _ = case
    assert np.isrealobj(h) == (pencil.dtype == float)
    x = np.random.default_rng(0).normal(size=(pencil.n, 3)).astype(pencil.dtype)
    # Sums of a thousand products of about 10 eV.
    np.testing.assert_allclose(pencil.apply_hamiltonian(x), h @ x, atol=1e-11)
    np.testing.assert_allclose(pencil.apply_overlap(x), s @ x, atol=1e-12)
    np.testing.assert_allclose(
        pencil.shifted(-3.0).toarray(), np.triu(h + 3.0 * s), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("name", ENGINES_HERE)
def test_inertia_and_solutions(case, name):
    pencil, h, s, eigenvalues = case
    engine = make_engine(name, 4 * GIB)
    rhs = np.random.default_rng(1).normal(size=(pencil.n, 5)).astype(pencil.dtype)
    # In gaps of 1e-4 eV at least: rounding is far smaller.
    gaps = np.flatnonzero(np.diff(eigenvalues) > 1e-4)
    for index in gaps[:: len(gaps) // 6]:
        sigma = 0.5 * (eigenvalues[index] + eigenvalues[index + 1])
        assert engine.factorize(pencil.shifted(sigma)) == index + 1
        x = engine.solve(rhs)
        # Backward stable: the residual is rounding of ‖H‖‖x‖.
        residual = (h - sigma * s) @ x - rhs
        assert np.linalg.norm(residual) < 1e-11 * np.linalg.norm(h) * np.linalg.norm(x)
    assert engine.factorize(pencil.upper_overlap()) == 0
    engine.close()


@pytest.mark.parametrize("name", ENGINES_HERE)
def test_inertia_in_single_precision(case, name):
    """Right, where eigenvalues are farther away than rounding of elements of 50 eV, or refused."""
    pencil, _, _, eigenvalues = case
    engine = make_engine(name, 4 * GIB, single=True)
    gaps = np.flatnonzero(np.diff(eigenvalues) > 0.02)
    counted = 0
    for index in gaps[:: max(1, len(gaps) // 4)]:
        sigma = 0.5 * (eigenvalues[index] + eigenvalues[index + 1])
        with contextlib.suppress(UnreliableInertia):
            assert engine.factorize(pencil.shifted(sigma)) == index + 1
            counted += 1
    # SuperLU has no 2×2 pivots
    assert counted > 1 or name == "superlu"
    assert engine.factorize(pencil.upper_overlap()) == 0
    engine.close()


@pytest.mark.parametrize("name", ENGINES_HERE)
def test_memory_is_guarded(case, name):
    pencil = case[0]
    engine = make_engine(name, 10_000)
    with pytest.raises(DataError, match="--memory"):
        engine.factorize(pencil.shifted(0.0))
    # More is enough: the refusal leaves nothing behind.
    engine.memory = 4 * GIB
    engine.factorize(pencil.shifted(0.1))
    engine.close()


@pytest.mark.parametrize("name", ENGINES_HERE)
def test_zero_diagonal_is_right_or_refused(name):
    # Eigenvalues ±1 in each pair: only 2×2 pivots help.
    n = 30
    pairs = scipy.sparse.kron(scipy.sparse.eye(n // 2), [[0.0, 1.0], [1.0, 0.0]])
    rows, columns, values = [*np.arange(n)], [*np.arange(n)], [0.0] * n
    upper = scipy.sparse.triu(pairs, 1).tocoo()
    matrix = scipy.sparse.coo_array(
        (
            np.concatenate([values, upper.data]),
            (np.concatenate([rows, upper.row]), np.concatenate([columns, upper.col])),
        ),
        shape=(n, n),
    ).tocsr()
    matrix.sort_indices()
    matrix = scipy.sparse.csr_array(
        (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)), (n, n)
    )
    engine = make_engine(name, GIB)
    try:
        assert engine.factorize(matrix) == n // 2
    except UnreliableInertia as doubt:
        assert name == "superlu", doubt


def test_real_form_has_each_eigenvalue_twice():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(6, 6)) + 1j * rng.normal(size=(6, 6))
    a += a.conj().T
    both = real_form(scipy.sparse.csr_array(np.triu(a))).toarray()
    both += np.triu(both, 1).T
    expected = np.repeat(np.linalg.eigvalsh(a), 2)
    np.testing.assert_allclose(np.linalg.eigvalsh(both), expected, atol=1e-12)


def test_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(ENGINES, "mumps", "a_module_that_is_not_there")
    with pytest.raises(MissingExtraError, match=r"gh-tools\[mumps\]"):
        make_engine("mumps", GIB)
