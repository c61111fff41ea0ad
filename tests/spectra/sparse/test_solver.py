"""Fermi levels, densities and carriers by slices and by polynomials against dense solutions."""

import numpy as np
import pytest
from scipy.special import ndtr

from gh_tools.errors import DataError
from gh_tools.spectra.choice import DENSE_LIMIT, choose_solver, dense_bytes
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.spectra.projection import apply_root, dense_root
from gh_tools.spectra.sparse.factor import available_engines, make_engine
from gh_tools.spectra.sparse.kpm import kernel_polynomial_dos
from gh_tools.spectra.sparse.shift_invert import ShiftInvert
from gh_tools.spectra.sparse.solver import SlicedSolver
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.units import GIB

GAMMA = DosConfig(kpts=(1, 1, 1), window=(-1.0, 1.0), points=400)


def compare(hamiltonian, config, solver="slices"):
    expected = compute_spectrum(hamiltonian, config)
    found = compute_spectrum(hamiltonian, config, solver, 8 * GIB)
    for name, value in expected.scalars.items():
        # Eigenvalues agree to 1e-11 eV, the Fermi level in a gap to how sharply its ends are found.
        assert found.scalars[name] == pytest.approx(value, rel=1e-8, abs=1e-8), name
    # One eigenvalue moved by 1e-11 eV changes a Gaussian of 0.05 eV by 1e-8 states/eV at most.
    np.testing.assert_allclose(found.density, expected.density, rtol=1e-8, atol=1e-7)
    return expected, found


@pytest.mark.parametrize("engine", available_engines())
def test_sheet(sheet, engine):
    expected, found = compare(sheet, GAMMA.model_copy(update={"engine": engine}))
    assert found.certificate.solver == "slices" and found.certificate.engine == engine
    assert found.certificate.residual < 1e-8
    assert found.certificate.error < 1e-8
    low, high = found.certificate.window
    dense = expected.eigenvalues.energies
    assert found.certificate.eigenvalues == np.sum((dense > low) & (dense < high))
    assert found.eigenvalues.below[0, 0] == np.sum(dense < low)


@pytest.mark.parametrize(
    "options",
    [
        {"kpts": (3, 1, 1)},
        {"kpts": (2, 1, 1), "smearing": 0.02},
        {"projection": "lowdin"},
        {"carriers": ("Se",), "carrier_window": (-0.3, -0.1)},
    ],
    ids=["k-points", "smeared", "lowdin", "below"],
)
def test_small_sheet_with(wse2_sheet, options):
    compare(wse2_sheet(3), GAMMA.model_copy(update=options))


@pytest.mark.parametrize("electrons", [1.0, 0.83, 1.1])
def test_metal_and_insulator_with_spins(graphene, electrons):
    hamiltonian = graphene((3, 3, 1), mass=0.5, overlap=0.1, splitting=0.3, electrons=electrons)
    # In a metal E_F is an eigenvalue, and the window begins on it.
    options = {"kpts": (3, 1, 1), "carriers": ("B",), "carrier_window": (0.0, 0.61)}
    compare(hamiltonian, GAMMA.model_copy(update=options))


def test_fermi_level_of_the_label(graphene):
    hamiltonian = graphene((3, 3, 1), mass=0.5, overlap=0.1)
    hamiltonian.scalars["fermi_level"] = 0.35
    _, found = compare(hamiltonian, GAMMA.model_copy(update={"fermi": "label"}))
    assert found.scalars["fermi_level"] == 0.35


@pytest.mark.parametrize("wrong", [-40, -3, 3, 40])
def test_wrong_counts_of_single_precision_change_nothing(sheet, monkeypatch, wrong):
    """They are guesses: the exact count that follows tells, and the search begins anew with exact ones."""
    monkeypatch.setattr(
        ShiftInvert, "rough_inertia", lambda self, sigma: self.inertia(sigma).below + wrong
    )
    compare(sheet, GAMMA)


def test_single_precision_that_is_too_rough_once_is_not_tried_again(sheet, monkeypatch):
    """PARDISO has single precision; where only MUMPS or SuperLU are, all counts are exact and there is nothing to test."""
    monkeypatch.setattr("gh_tools.spectra.sparse.shift_invert.ROUGH", 0.0)
    solver = SlicedSolver(sheet, monkhorst_pack((1, 1, 1)), memory=GIB)
    if not (rough := make_engine(None, GIB, single=True)).single:
        pytest.skip("no engine here factorises in single precision")
    tried = []
    whole = type(rough).factorize
    monkeypatch.setattr(
        type(rough),
        "factorize",
        lambda self, matrix: tried.append(self.single) or whole(self, matrix),
    )
    slicer = solver._slicer(solver.channels[0])
    dense = solve(sheet, monkhorst_pack((1, 1, 1)), projected=False).energies
    for shift in (-10.0, -5.0, 0.0):
        assert slicer.rough_inertia(shift) == np.sum(dense < shift)
    # S, whose factors have a bound of their own, and the first count.
    assert sum(tried) == 2 and len(tried) == 5


def test_an_overlap_that_single_precision_cannot_decide(tight_binding):
    """Its smallest eigenvalue is 1e-6: single precision says nothing, double does; the reverse sign is refused."""
    import ase

    atoms = ase.Atoms("HLi", positions=[[0, 0, 0], [1, 0, 0]])
    for s in (1 - 1e-6, 1 + 1e-6):
        solver = SlicedSolver(
            tight_binding(atoms, {1: -5.0, 3: -1.0}, -2.0, 1.5, s),
            monkhorst_pack((1, 1, 1)),
            memory=GIB,
        )
        if s < 1:
            solver.pencil(solver.channels[0])
            assert solver.smallest_overlap == pytest.approx(1e-6, rel=0.06)
        else:
            with pytest.raises(DataError, match="not positive definite"):
                solver.pencil(solver.channels[0])


def test_too_many_electrons(graphene):
    hamiltonian = graphene(electrons=3.0)
    with pytest.raises(DataError, match="room for 4 electrons"):
        compute_spectrum(hamiltonian, GAMMA, "slices", GIB)


def test_root_by_polynomials_is_the_root(sheet):
    from gh_tools.orbitals.bloch import bloch_matrix

    overlap = bloch_matrix(sheet, np.zeros(3), "overlap")
    value = np.linalg.eigvalsh(overlap)
    x = np.random.default_rng(0).normal(size=(len(overlap), 3))
    by_polynomials = apply_root(lambda y: overlap @ y, (value[0], value[-1]), x)
    np.testing.assert_allclose(by_polynomials, dense_root(overlap) @ x, atol=1e-9)


def test_lowdin_of_a_dimer_is_that_of_its_symmetric_orthogonalisation(tight_binding):
    import ase

    atoms = ase.Atoms("HLi", positions=[[0, 0, 0], [1, 0, 0]])
    s, h = 0.3, np.array([[-5.0, -2.0], [-2.0, -1.0]])
    hamiltonian = tight_binding(atoms, {1: -5.0, 3: -1.0}, -2.0, 1.5, s)
    eigenvalues = solve(hamiltonian, monkhorst_pack((1, 1, 1)), projection="lowdin")
    # S^-½ of [[1, s], [s, 1]] on paper: (1/√(1+s) ± 1/√(1-s)) / 2.
    same, other = (0.5 * (1 / np.sqrt(1 + s) + sign / np.sqrt(1 - s)) for sign in (1, -1))
    inverse_root = np.array([[same, other], [other, same]])
    energy, vector = np.linalg.eigh(inverse_root @ h @ inverse_root)
    np.testing.assert_allclose(eigenvalues.energies[0, 0], energy, atol=1e-12)
    np.testing.assert_allclose(eigenvalues.projections[:, 0, 0], vector**2, atol=1e-12)


def test_polynomials_agree_with_dense_within_their_error(sheet):
    config = DosConfig(kpts=(1, 1, 1), window=(-8.0, 20.0), points=200, width=0.3, solver="kpm")
    expected = compute_spectrum(sheet, config)
    found = compute_spectrum(sheet, config, "kpm", 4 * GIB)
    assert found.certificate.solver == "kpm"
    assert found.scalars["carriers"] == pytest.approx(expected.scalars["carriers"], rel=1e-8)
    difference = (found.density - expected.density).sum(axis=0) / found.deviation
    # Errors at energies a width apart are nearly independent, Student-distributed with 7 degrees.
    assert np.sqrt(np.mean(difference**2)) < 2.0
    assert np.all(found.deviation < 0.5 * expected.density.sum(axis=0).max())


@pytest.mark.parametrize("width", [0.1, 0.003])
def test_polynomials_are_exact_for_a_diagonal_hamiltonian(tight_binding, width):
    import ase

    # Without hopping or overlap z_μ (f(H) z)_μ is f(ε_μ): no scatter, and the series itself is seen.
    atoms = ase.Atoms("H3Li2", positions=np.arange(15).reshape(5, 3) * 4.0)
    hamiltonian = tight_binding(atoms, {1: -5.0, 3: 2.0}, 0.0, 1.5)
    solver = SlicedSolver(hamiltonian, KPoints(np.zeros((1, 3)), np.ones(1)), memory=GIB)
    energy = np.linspace(-6, 3, 300)
    density, deviation = kernel_polynomial_dos(solver, energy, width, probes=2)
    edges = np.concatenate([energy[:1], (energy[1:] + energy[:-1]) / 2, energy[-1:]])
    for row, eigenvalue, count in zip(density, (-5.0, 2.0), (3, 2), strict=True):
        average = np.diff(ndtr((edges - eigenvalue) / width)) / np.diff(edges)
        np.testing.assert_allclose(row, 2 * count * average, atol=1e-8)
        assert np.trapezoid(row, energy) == pytest.approx(2 * count, abs=1e-9)
    np.testing.assert_allclose(deviation, 0.0, atol=1e-8)


def test_polynomials_hold_all_states_however_narrow(graphene):
    # The grid holds the whole spectrum, so that of the series the first term alone is left: no scatter.
    hamiltonian = graphene((3, 3, 1), mass=0.5, overlap=0.1)
    solver = SlicedSolver(hamiltonian, KPoints(np.zeros((1, 3)), np.ones(1)), memory=GIB)
    energy = np.linspace(-20, 40, 100)  # spaced by 0.6 eV
    density, _ = kernel_polynomial_dos(solver, energy, 0.05, probes=2)
    assert np.trapezoid(density.sum(axis=0), energy) == pytest.approx(36.0, abs=1e-6)


def test_polynomials_of_eigenvalues_that_are_all_the_same(tight_binding):
    import ase

    atoms = ase.Atoms("H5", positions=np.arange(15).reshape(5, 3) * 4.0)
    solver = SlicedSolver(
        tight_binding(atoms, {1: -5.0}, 0.0, 1.5), KPoints(np.zeros((1, 3)), np.ones(1)), memory=GIB
    )
    energy = np.linspace(-6, -4, 50)
    density, _ = kernel_polynomial_dos(solver, energy, 0.05, probes=2)
    assert np.trapezoid(density[0], energy) == pytest.approx(10, abs=1e-8)


def test_too_many_polynomials_are_refused(graphene):
    solver = SlicedSolver(graphene(), KPoints(np.zeros((1, 3)), np.ones(1)), memory=GIB)
    with pytest.raises(DataError, match=r"--width 1e-06: needs \d+ polynomials .* --solver slices"):
        kernel_polynomial_dos(solver, np.linspace(-1, 1, 50), 1e-6, probes=2)


def test_solver_is_chosen_by_size_and_memory():
    assert choose_solver("auto", DENSE_LIMIT, True, 20 * GIB) == "dense"
    assert choose_solver("auto", DENSE_LIMIT + 1, True, 20 * GIB) == "slices"
    assert choose_solver("auto", DENSE_LIMIT, True, dense_bytes(DENSE_LIMIT, True) - 1) == "slices"
    assert choose_solver("kpm", 10, True, GIB) == "kpm"
    with pytest.raises(DataError, match=r"--solver slices.*--memory"):
        choose_solver("dense", 40_000, True, 20 * GIB)


def test_kpm_has_no_lowdin():
    with pytest.raises(ValueError, match="Mulliken"):
        DosConfig(solver="kpm", projection="lowdin")
