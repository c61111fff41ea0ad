"""Spin–orbit coupling by states without it, against dense solutions; bounds and counts that vouch for it."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from gh_tools.dft.spin_orbit import with_spin_orbit
from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.repeat import repeated_along
from gh_tools.spectra.sparse import solver as solver_module
from gh_tools.spectra.sparse import spin_orbit
from gh_tools.spectra.sparse.pencil import make_pencil
from gh_tools.spectra.sparse.solver import SlicedSolver
from gh_tools.spectra.sparse.spinors import bounding_pencils, make_spinor_pencil, without_spins
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.store.parts import Parts, Pieces
from gh_tools.units import GIB

ANYWHERE = np.array([0.13, 0.27, 0.0])
POINTS = pytest.mark.parametrize(
    "k", [np.zeros(3), np.array([0.5, 0.0, 0.0]), ANYWHERE], ids=["Γ", "M", "anywhere"]
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small structures are treated as large ones are."""
    monkeypatch.setattr(solver_module, "SPINORS_FACTORISED", 0)


def _at(k) -> KPoints:
    return KPoints(np.array([k], dtype=float), np.ones(1))


@pytest.fixture(scope="module")
def spinors(wse2_sheet) -> Hamiltonian:
    """23 atoms, without any symmetry."""
    return with_spin_orbit(wse2_sheet(3))


@pytest.fixture(scope="module")
def crystal(wse2_sheet) -> Hamiltonian:
    """A sheet of two equal halves, in which many states have the same energy."""
    return with_spin_orbit(repeated_along(wse2_sheet(3, rattle=0.0), 0, 2))


@POINTS
def test_products_are_those_of_the_blocks(spinors, k):
    pencil = make_spinor_pencil(spinors, k)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(pencil.n, 3)) + 1j * rng.normal(size=(pencil.n, 3))
    for field, product in (
        ("hamiltonian", pencil.apply_hamiltonian(x)),
        ("overlap", pencil.apply_overlap(x)),
    ):
        expected = bloch_matrix(spinors, k, field) @ x
        np.testing.assert_allclose(product, expected, atol=1e-10)


@POINTS
def test_the_coupling_lies_between_its_bounds(spinors, k):
    """±: both differences have no negative eigenvalue, and the bounds are not far away."""
    h = make_pencil(without_spins(spinors), k)
    upper, lower = (
        _whole(pencil.hamiltonian - h.hamiltonian, h) for pencil in bounding_pencils(spinors, k, h)
    )
    coupling = bloch_matrix(spinors, k) - _of_both_spins(_whole(h.hamiltonian, h), spinors)
    size = np.abs(np.linalg.eigvalsh(coupling)).max()
    for difference in (
        _of_both_spins(upper, spinors) - coupling,
        coupling - _of_both_spins(lower, spinors),
    ):
        value = np.linalg.eigvalsh(difference)
        # Pairs beyond the reach of the blocks are left out of all of them.
        assert value[0] > -1e-6 * size
        assert value[-1] < 10 * size


def _whole(values, pencil) -> np.ndarray:
    upper = pencil._matrix(values).toarray()
    return upper + np.triu(upper, 1).conj().T


def _of_both_spins(matrix: np.ndarray, spinors: Hamiltonian) -> np.ndarray:
    """M ⊗ 1 in the order of spinors: of each atom, orbitals with spin up, then down."""
    result = np.zeros((spinors.n_orbitals,) * 2, matrix.dtype)
    size = spinors.orbitals_of_atoms // 2
    up = np.concatenate(
        [s + np.arange(n) for s, n in zip(spinors.orbital_ptr[:-1], size, strict=True)]
    )
    for rows in (up, up + np.repeat(size, size)):
        result[np.ix_(rows, rows)] = matrix
    return result


@POINTS
@pytest.mark.parametrize("of", ["spinors", "crystal"])
def test_eigenvalues_are_those_of_the_dense_matrix(request, of, k):
    """Windows in the valence states, across the gap, within it, and wider than one part."""
    hamiltonian = request.getfixturevalue(of)
    expected = solve(hamiltonian, _at(k), projected=True)
    energies = expected.energies[0, 0]
    electrons = int(hamiltonian.scalars["n_electrons"])
    top, bottom = energies[electrons - 1], energies[electrons]
    solver = SlicedSolver(hamiltonian, _at(k), memory=GIB)
    near = solver.find_fermi_level(electrons)
    place = electrons - int(near.below[0, 0])
    np.testing.assert_allclose(near.energies[0, 0, place - 1 : place + 1], [top, bottom], atol=1e-8)
    for low, high in (
        (top - 0.7, top - 0.31),
        (top - 0.22, bottom + 0.2),
        (top - 2.4, top - 0.01),
    ):
        found, certificate = solver.eigenvalues(low, high)
        (inside,) = np.nonzero(
            (energies > certificate.window[0]) & (energies < certificate.window[1])
        )
        np.testing.assert_allclose(found.energies[0, 0], energies[inside], atol=1e-9)
        assert found.below[0, 0] == inside[0]
        assert certificate.residual < 1e-8
        # Weights of species: of degenerate states only their sums are defined.
        together = np.abs(energies[inside][:, None] - energies[inside]) < 1e-6
        np.testing.assert_allclose(
            found.projections[:, 0, 0] @ together,
            expected.projections[:, 0, 0, inside] @ together,
            atol=1e-5,
        )


def test_a_window_without_states(spinors):
    energies = solve(spinors, _at(np.zeros(3)), projected=False).energies[0, 0]
    gap = int(np.argmax(np.diff(energies)))
    middle = energies[gap : gap + 2].mean()
    solver = SlicedSolver(spinors, _at(np.zeros(3)), memory=GIB)
    found, certificate = solver.eigenvalues(middle - 0.01, middle + 0.01)
    assert found.energies.size == certificate.eigenvalues == 0
    assert found.below[0, 0] == gap + 1


def test_coupling_that_reaches_farther_takes_more_states(spinors, monkeypatch, caplog):
    """With a tenth of an eV about the window, bounds cannot tell what comes in: more is taken, and nothing is wrong."""
    monkeypatch.setattr(spin_orbit, "_BEYOND", 0.21)
    monkeypatch.setattr(spin_orbit, "_GUARD", 0.01)
    energies = solve(spinors, _at(ANYWHERE), projected=False).energies[0, 0]
    top = energies[int(spinors.scalars["n_electrons"]) - 1]
    solver = SlicedSolver(spinors, _at(ANYWHERE), memory=GIB)
    with caplog.at_level("INFO"):
        found, certificate = solver.eigenvalues(top - 0.9, top + 0.1)
    inside = (energies > certificate.window[0]) & (energies < certificate.window[1])
    np.testing.assert_allclose(found.energies[0, 0], energies[inside], atol=1e-9)
    assert "taking more states" in caplog.text


def test_what_cannot_be_certified_is_refused(spinors, monkeypatch):
    monkeypatch.setattr(spin_orbit, "_BEYOND", 0.21)
    monkeypatch.setattr(spin_orbit, "_TRIALS", 1)
    energies = solve(spinors, _at(ANYWHERE), projected=False).energies[0, 0]
    top = energies[int(spinors.scalars["n_electrons"]) - 1]
    solver = SlicedSolver(spinors, _at(ANYWHERE), memory=GIB)
    with pytest.raises(DataError, match="cannot be certified"):
        solver.eigenvalues(top - 0.9, top + 0.1)


def test_an_eigenvector_that_is_missing_is_noticed(spinors, monkeypatch):
    """The count does not come from the eigenvalues found."""
    original = spin_orbit.Dressed.covers

    def fewer(self, low, high):
        self.energies = np.delete(self.energies, np.searchsorted(self.energies, low, "right"))
        return original(self, low, high)

    top = solve(spinors, _at(np.zeros(3)), projected=False).energies[
        0, 0, int(spinors.scalars["n_electrons"]) - 1
    ]
    solver = SlicedSolver(spinors, _at(np.zeros(3)), memory=GIB)
    solver.eigenvalues(top - 0.5, top - 0.2)
    monkeypatch.setattr(spin_orbit.Dressed, "covers", fewer)
    with pytest.raises(DataError, match="eigenvalues found between"):
        solver.eigenvalues(top - 0.5, top - 0.2)


def test_parts_of_a_window_are_found_after_an_interruption(spinors, tmp_path, monkeypatch):
    config = DosConfig(kpts=(1, 1, 1), window=(-3.0, 1.0), points=300)
    whole = compute_spectrum(spinors, config, "slices", GIB)
    (tmp_path / "run.json").write_text('{"token": "run"}')
    (tmp_path / "parts").mkdir()
    kept = Pieces(Parts(tmp_path / "parts", "run"), 0)
    original, calls = spin_orbit.SpinOrbitSlicer._window, []

    def third_fails(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(spin_orbit.SpinOrbitSlicer, "_window", third_fails)
    with pytest.raises(KeyboardInterrupt):
        compute_spectrum(spinors, config, "slices", GIB, kept=kept)
    calls.append("none fails any more")
    resumed = compute_spectrum(spinors, config, "slices", GIB, kept=kept)
    # Of four parts, two were kept: the third was begun, and with the fourth computed after it.
    assert len(calls) == 3 + 1 + 2
    np.testing.assert_allclose(resumed.density, whole.density, atol=1e-8)
    for name, value in whole.scalars.items():
        assert resumed.scalars[name] == pytest.approx(value, abs=1e-8, rel=1e-8), name


def test_spinors_of_unknown_coupling_are_factorised_themselves(spinors):
    """Of an imported H nothing bounds what acts on spins."""
    foreign = replace(spinors, paw_coupling=False)
    config = DosConfig(kpts=(1, 1, 1), window=(-1.0, 1.0), points=200)
    one, other = (compute_spectrum(h, config, "slices", GIB) for h in (spinors, foreign))
    assert one.certificate.eigenvalues == other.certificate.eigenvalues
    np.testing.assert_allclose(one.density, other.density, atol=1e-8)


def test_a_spinor_pencil_of_real_states_has_partners(spinors):
    """Kramers: without a magnetic field all states at Γ are pairs."""
    h, s = (bloch_matrix(spinors, np.zeros(3), f) for f in ("hamiltonian", "overlap"))
    energies = scipy.linalg.eigh(h, s, eigvals_only=True)
    np.testing.assert_allclose(energies[::2], energies[1::2], atol=1e-9)
    electrons = int(spinors.scalars["n_electrons"])
    solver = SlicedSolver(spinors, _at(np.zeros(3)), memory=GIB)
    found = solver.eigenvalues(energies[electrons - 10] - 1e-3, energies[electrons - 1] + 1e-3)[0]
    assert found.energies.size == 10
    np.testing.assert_allclose(found.energies[0, 0, ::2], found.energies[0, 0, 1::2], atol=1e-12)
