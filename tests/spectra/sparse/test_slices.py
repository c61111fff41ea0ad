"""Slices of a spectrum against dense eigenvalues, and that no incomplete window is a result."""

import numpy as np
import pytest
import scipy.linalg

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.spectra.kpoints import monkhorst_pack
from gh_tools.spectra.projection import mulliken, species_members
from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.factor import available_engines, make_engine
from gh_tools.spectra.sparse.lanczos import BlockLanczos
from gh_tools.spectra.sparse.pencil import make_pencil, model_eigenvalues
from gh_tools.spectra.sparse.slices import Slicer
from gh_tools.spectra.sparse.solver import SlicedSolver
from gh_tools.store.parts import Parts, Pieces
from gh_tools.units import GIB

# Eigenvalues by Lanczos are exact to the square of residuals of 1e-11 eV; dense ones to rounding of ‖H‖.
EXACT = 1e-11


def slicer_of(hamiltonian, k=(0.0, 0.0, 0.0), engine=None, **options):
    pencil = make_pencil(hamiltonian, np.array(k))
    counts = hamiltonian.basis.n_orbitals(hamiltonian.atoms.numbers)
    owner = np.repeat(np.arange(len(counts)), counts)
    eigenvalues = model_eigenvalues(pencil, owner, hamiltonian.atoms.positions)
    members = species_members(hamiltonian)[1]
    return Slicer(
        pencil,
        make_engine(engine, 4 * GIB),
        lambda x, sx, energies: members @ mulliken(x, sx),
        CountModel(eigenvalues, np.ones(len(eigenvalues))),
        **options,
    )


def pieces_in(folder):
    (folder / "run.json").write_text('{"token": "run"}')
    (folder / "parts").mkdir(exist_ok=True)
    return Pieces(Parts(folder / "parts", "run"), 0)


def dense(hamiltonian, k=(0.0, 0.0, 0.0)):
    h, s = (bloch_matrix(hamiltonian, np.array(k), f) for f in ("hamiltonian", "overlap"))
    return scipy.linalg.eigh(h, s, eigvals_only=True)


@pytest.mark.parametrize("engine", available_engines())
@pytest.mark.parametrize("k", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.3, 0.1, 0.0)])
def test_window_is_complete_and_exact(sheet, engine, k):
    expected = dense(sheet, k)
    slicer = slicer_of(sheet, k, engine)
    found, first, last = slicer.eigenvalues(-11.0, -9.0)
    inside = expected[(expected > first.shift) & (expected < last.shift)]
    assert len(inside) > 50
    np.testing.assert_allclose(found.energies, inside, rtol=0, atol=EXACT)
    assert first.below == np.sum(expected < first.shift)
    assert last.below - first.below == len(inside)
    np.testing.assert_allclose(found.projections.sum(axis=0), 1.0, atol=1e-9)
    assert found.residual < 1e-9


def test_many_slices_are_one_window(sheet, monkeypatch):
    monkeypatch.setattr("gh_tools.spectra.sparse.slices.slice_size", lambda *_: 40)
    expected = dense(sheet)
    found, first, last = slicer_of(sheet).eigenvalues(expected[0] - 1.0, -9.0)
    assert (first.below, last.below) == (0, np.sum(expected < last.shift))
    np.testing.assert_allclose(found.energies, expected[expected < last.shift], rtol=0, atol=EXACT)


def test_interrupted_march_goes_on_behind_the_last_slice(sheet, monkeypatch, tmp_path):
    monkeypatch.setattr("gh_tools.spectra.sparse.slices.slice_size", lambda *_: 40)
    window = (-11.5, -8.5)
    expected = slicer_of(sheet).eigenvalues(*window)[0]
    whole, taken, most = Slicer._step, [], 1

    def step(self, start, *rest):
        if len(taken) == most:
            raise KeyboardInterrupt
        taken.append(start)
        return whole(self, start, *rest)

    monkeypatch.setattr(Slicer, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        slicer_of(sheet).eigenvalues(*window, kept=pieces_in(tmp_path))
    before, taken, most = taken, [], 10
    found, first, last = slicer_of(sheet).eigenvalues(*window, kept=pieces_in(tmp_path))
    assert 0 < len(taken) < 3 and min(taken).shift > max(before).shift
    np.testing.assert_array_equal(found.energies, expected.energies)
    np.testing.assert_array_equal(found.projections, expected.projections)
    assert last.below - first.below == len(found.energies)
    # Of another window nothing is taken.
    other, *_ = slicer_of(sheet).eigenvalues(-11.0, -10.0, kept=pieces_in(tmp_path))
    inside = expected.energies[(expected.energies > -11.0) & (expected.energies < -10.0)]
    np.testing.assert_allclose(other.energies, inside, rtol=0, atol=EXACT)


def test_eigenvalue_that_hides_above_a_shift_is_found_from_the_next(sheet, monkeypatch):
    monkeypatch.setattr("gh_tools.spectra.sparse.slices.slice_size", lambda *_: 40)
    expected = slicer_of(sheet).eigenvalues(-11.5, -8.5)[0]
    whole, hidden = BlockLanczos.ritz, []

    def hiding(self):
        theta, vectors, residual = whole(self)
        if len(hidden) > 10:
            return theta, vectors, residual
        hidden.append(np.argmax(theta))  # the eigenvalue next above the shift
        keep = np.arange(len(theta)) != hidden[-1]
        return theta[keep], vectors[:, keep], residual[keep]

    monkeypatch.setattr(BlockLanczos, "ritz", hiding)
    found = slicer_of(sheet).eigenvalues(-11.5, -8.5)[0]
    np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=EXACT)


def test_two_windows_agree_where_they_overlap(sheet):
    one = slicer_of(sheet).eigenvalues(-11.0, -9.5)[0].energies
    other = slicer_of(sheet).eigenvalues(-10.5, -9.0)[0].energies
    shared = one[one > -10.5 + 1e-3], other[other < -9.5 - 1e-3]
    assert len(shared[0]) > 10
    np.testing.assert_allclose(
        shared[0][shared[0] < -9.5 - 1e-3], shared[1][shared[1] > -10.5 + 1e-3], atol=EXACT
    )


def test_degenerate_eigenvalues_are_all_found(graphene):
    # Eigenvalues of a perfect supercell come in sixes and twelves; ±t are 36-fold.
    hamiltonian = graphene((12, 12, 1), mass=0.0)
    expected = dense(hamiltonian)
    found, first, last = slicer_of(hamiltonian).eigenvalues(-3.0, 0.9)
    inside = expected[(expected > first.shift) & (expected < last.shift)]
    assert np.sum(abs(inside + 2.7) < 1e-9) > 30
    np.testing.assert_allclose(found.energies, inside, rtol=0, atol=EXACT)


def test_shift_on_an_eigenvalue_is_moved(graphene):
    # The Dirac point: four eigenvalues at 0 exactly, and H has nothing else on its diagonal.
    hamiltonian = graphene((3, 3, 1), mass=0.0)
    found, first, last = slicer_of(hamiltonian).eigenvalues(0.0, 3.0)
    expected = dense(hamiltonian)
    inside = expected[(expected > first.shift) & (expected < last.shift)]
    assert 0.0 < first.shift < 1e-3
    np.testing.assert_allclose(found.energies, inside, rtol=0, atol=EXACT)


def test_too_small_a_basis_is_an_error(sheet):
    slicer = slicer_of(sheet, max_vectors=16)
    with pytest.raises(DataError, match="not complete"):
        slicer.eigenvalues(-11.0, -9.0)


def test_lanczos_that_hides_an_eigenvalue_is_caught(sheet, monkeypatch):
    whole = BlockLanczos.ritz

    def hiding(self):
        theta, vectors, residual = whole(self)
        keep = np.arange(len(theta)) != np.argmax(abs(theta))  # the eigenvalue next to the shift
        return theta[keep], vectors[:, keep], residual[keep]

    monkeypatch.setattr(BlockLanczos, "ritz", hiding)
    with pytest.raises(DataError, match="inertia counts"):
        slicer_of(sheet).eigenvalues(-10.6, -10.4)


def test_lanczos_that_claims_convergence_is_caught(sheet, monkeypatch):
    whole = BlockLanczos.ritz

    def lying(self):
        theta, vectors, residual = whole(self)
        return theta, vectors, 0 * residual

    monkeypatch.setattr(BlockLanczos, "ritz", lying)
    with pytest.raises(DataError, match=r"residual|inertia counts"):
        slicer_of(sheet).eigenvalues(-11.0, -9.0)


def test_factors_of_another_matrix_are_caught(sheet, monkeypatch):
    slicer = slicer_of(sheet)
    right = slicer.engine.factorize
    monkeypatch.setattr(slicer.engine, "factorize", lambda upper: right(1.001 * upper))
    with pytest.raises(DataError, match="trusted"):
        slicer.inertia(-10.0)


def test_overlap_that_is_not_positive_is_an_error(graphene):
    # S = 1 ± 3 · 0.4 at Γ.
    hamiltonian = graphene((2, 2, 1), mass=0.3, overlap=0.4)
    solver = SlicedSolver(hamiltonian, monkhorst_pack((1, 1, 1)), memory=GIB)
    with pytest.raises(DataError, match="not positive definite"):
        solver.find_fermi_level(8.0)


def test_guesses_close_in_on_a_count():
    truth = np.sort(np.random.default_rng(0).normal(size=1000))
    model = CountModel(truth * 1.3 + 0.4, np.ones(1000))
    for _ in range(6):
        guess = model.guess(300.5)
        model.known[guess] = int(np.sum(truth < guess))
    assert min(abs(n - 300.5) for n in model.known.values()) < 2
    # In a gap of the model: its middle.
    assert CountModel(np.array([0.0, 1.0, 3.0, 4.0]), np.ones(4)).guess(2.0) == 2.0
