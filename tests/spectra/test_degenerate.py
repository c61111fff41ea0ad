"""Degenerate eigenvalues on window edges and at the Fermi level: rounding decides nothing."""

import ase
import numpy as np
import pytest
from ase.build import bulk

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks
from gh_tools.spectra.config import RESOLUTION, DosConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import band_edges, fermi_level
from gh_tools.spectra.kpoints import monkhorst_pack
from gh_tools.spectra.sparse.factor import available_engines
from gh_tools.spectra.sparse.factor.engine import GIB
from gh_tools.spectra.spectrum import compute_spectrum

GAMMA = DosConfig(kpts=(1, 1, 1), window=(-1.0, 1.0), points=100)


def ring(tight_binding, n, **options):
    """Hückel's ring: ε = -2 cos(2πm/n), each but the outermost twice."""
    angle = np.arange(n) * 2 * np.pi / n
    radius = 0.5 / np.sin(np.pi / n)
    places = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return tight_binding(ase.Atoms(f"H{n}", places), {1: 0.0}, -1.0, 1.01, **options)


def atom_with(energies, electrons, seed):
    """One atom whose block is Q diag(ε) Qᵀ with a random orthogonal Q: rounding splits what is degenerate."""
    n = len(energies)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    h = (q * energies) @ q.T
    basis = Basis({1: ElementBasis(1, (Shell(0, 5.0),) * n, electrons, basis_name="s")})
    block = OnsiteBlocks(np.array([0]), 0.5 * (h + h.T)[None], np.eye(n)[None])
    return Hamiltonian(ase.Atoms("H"), basis, {1: block}, {}, {"n_electrons": electrons})


def everywhere(hamiltonian, config):
    """Return what all solvers and engines find, the dense solver first."""
    found = [compute_spectrum(hamiltonian, config)]
    for engine in available_engines():
        options = config.model_copy(update={"engine": engine})
        found.append(compute_spectrum(hamiltonian, options, "slices", GIB))
    coarse = config.model_copy(update={"width": max(config.width, 0.05)})
    found.append(compute_spectrum(hamiltonian, coarse, "kpm", GIB))
    return [spectrum.scalars for spectrum in found]


@pytest.mark.parametrize(
    ("n", "window", "states"),
    [
        # E_F is the doubly degenerate ε = 0: half of its four states, and those above.
        (4, (0.0, 2.0), 2 + 1),
        (4, (-2.0, 0.0), 1 + 2),
        (8, (0.0, np.sqrt(2)), 2 + 2),
        (12, (-1.0, 1.0), 2 + 4 + 2),
        # Insulators: E_F is in the middle of 2 eV, and both ends are eigenvalues.
        (6, (-1.0, 1.0), 2 + 2),
        (6, (1.0, 2.0), 2 + 1),
    ],
)
def test_rings(tight_binding, n, window, states):
    config = GAMMA.model_copy(update={"carrier_window": window})
    for found in everywhere(ring(tight_binding, n), config):
        assert found["carriers_sharp"] == pytest.approx(states, abs=1e-10)
        assert found["fermi_level"] == pytest.approx(0.0, abs=1e-10)
        assert found["band_gap"] == (0.0 if n % 4 == 0 else pytest.approx(2.0, abs=1e-10))


@pytest.mark.parametrize("window", [(0.0, 0.5), (-0.5, 0.0), (-4.0, 4.0)])
def test_metals_on_symmetric_grids(tight_binding, window):
    # A band of s orbitals on the lattice of aluminium, half filled: E_F is an eigenvalue of many
    # k-points that symmetry makes equal, and so is what lies on the ends.
    atoms = bulk("Al", "fcc", 4.05)
    hamiltonian = tight_binding(atoms, {13: 0.0}, -0.25, 3.0)
    config = GAMMA.model_copy(update={"kpts": (4, 4, 4), "carrier_window": window})
    kpoints = monkhorst_pack((4, 4, 4))
    # ε = -t Σ cos(2π k·R) over the 12 neighbours: multiples of |t| on this grid, to rounding.
    energies = np.round(solve(hamiltonian, kpoints).energies[0, :, 0] * 4) / 4
    order = np.argsort(energies)
    fermi = energies[order][np.searchsorted(np.cumsum(2 * kpoints.weights[order]), 1.0)]
    low, high = (end + fermi for end in window)
    share = 0.5 * (np.sign(high - energies) - np.sign(low - energies))
    for found in everywhere(hamiltonian, config):
        assert found["fermi_level"] == pytest.approx(fermi, abs=1e-10)
        assert found["carriers_sharp"] == pytest.approx(2 * kpoints.weights @ share, abs=1e-10)
        assert found["band_gap"] == 0.0


@pytest.mark.parametrize(
    ("electrons", "fermi", "gap"),
    [
        (2.0, -2.0, 1.0),  # the lowest eigenvalue is full
        (3.0, -1.5, 0.0),  # one electron in five equal eigenvalues
        (5.0, -1.5, 0.0),
        (7.5, -1.5, 0.0),
        (12.0, -0.5, 2.0),
        (13.0, 0.5, 0.0),
    ],
)
def test_open_shells_split_by_rounding(electrons, fermi, gap):
    energies = np.array([-2.5, *[-1.5] * 5, *[0.5] * 3, 2.0])
    for seed in range(5):
        eigenvalues = solve(atom_with(energies, electrons, seed), monkhorst_pack((1, 1, 1)))
        assert np.ptp(eigenvalues.energies[0, 0, 1:6]) > 0  # rounding does split them
        assert fermi_level(eigenvalues, electrons) == pytest.approx(fermi, abs=1e-12)
        edges = band_edges(eigenvalues, electrons)
        assert edges.gap == (0.0 if gap == 0 else pytest.approx(gap, abs=1e-12))
        if gap == 0:
            assert edges.valence == edges.conduction == fermi_level(eigenvalues, electrons)


@pytest.mark.parametrize("smearing", [0.0, 0.01, 0.1])
def test_rounding_moves_the_fermi_level_by_rounding(smearing):
    energies = np.array([-2.5, *[-1.5] * 5, *[0.5] * 3, 2.0])
    for electrons in (2.0, 4.0, 12.0, 15.0, 18.0):
        found = [
            fermi_level(
                solve(atom_with(energies, electrons, seed), monkhorst_pack((1, 1, 1))),
                electrons,
                smearing,
            )
            for seed in range(4)
        ]
        assert np.ptp(found) < 1e-11


def test_smeared_fermi_level_in_a_gap_is_where_electrons_are_as_many_as_holes():
    # g_v exp((ε_v - E)/kT) = g_c exp((E - ε_c)/kT): E = midgap + kT/2 ln(g_v/g_c), with 5 and 3 eigenvalues.
    for electrons_below in (0, 4000):  # the count of a large structure rounds to 1e-12
        energies = np.array([*[-30.0] * electrons_below, *[-0.4] * 5, *[0.4] * 3])
        electrons = 2.0 * (electrons_below + 5)
        eigenvalues = solve(atom_with(np.array([0.0, 1.0]), 1.0, 0), monkhorst_pack((1, 1, 1)))
        eigenvalues = type(eigenvalues)(energies[None, None], eigenvalues.kpoints, np.array([1]))
        for kt in (0.01, 0.02):
            expected = kt / 2 * np.log(5 / 3)
            # Corrections are of the order of kT exp(-gap/2kT) = 4e-11 eV.
            assert fermi_level(eigenvalues, electrons, kt) == pytest.approx(expected, abs=1e-10)


def test_a_gap_that_is_rounding_is_none():
    for gap in (1e-13, 1e-9, 0.9 * RESOLUTION):
        eigenvalues = solve(atom_with(np.array([0.0, gap, 5.0]), 2.0, 1), monkhorst_pack((1, 1, 1)))
        assert band_edges(eigenvalues, 2.0).gap == 0.0
    eigenvalues = solve(atom_with(np.array([0.0, 1e-5, 5.0]), 2.0, 1), monkhorst_pack((1, 1, 1)))
    assert band_edges(eigenvalues, 2.0).gap == pytest.approx(1e-5, abs=1e-12)


@pytest.mark.parametrize("width", [RESOLUTION, 1e-4])
def test_ends_on_eigenvalues_with_narrow_gaussians(tight_binding, width):
    # The window ends on eigenvalues, and Gaussians reach less far than a shift that hits one is moved.
    config = GAMMA.model_copy(update={"width": width, "carrier_window": (-2.0, 2.0)})
    hamiltonian = ring(tight_binding, 8)
    expected = compute_spectrum(hamiltonian, config).scalars
    assert expected["carriers"] == pytest.approx(14.0, abs=1e-7)
    for engine in available_engines():
        options = config.model_copy(update={"engine": engine})
        found = compute_spectrum(hamiltonian, options, "slices", GIB).scalars
        for name in ("carriers", "carriers_sharp"):
            assert found[name] == pytest.approx(14.0, abs=1e-7)


def test_path_points_count_for_the_gap_and_hold_no_electrons(chain):
    from gh_tools.spectra.kpoints import KPoints

    # Two atoms a cell, so that the band of the half-filled chain touches at the zone's end, where the grid
    # has no point but the path has.
    hamiltonian = chain(2)
    points = np.array([[0.0, 0, 0], [1 / 3, 0, 0], [0.5, 0, 0]])
    eigenvalues = solve(
        hamiltonian, KPoints(points, np.array([1 / 3, 2 / 3, 0.0])), projected=False
    )
    assert band_edges(eigenvalues, 2.0).gap == 0.0
    assert fermi_level(eigenvalues, 2.0) == pytest.approx(0.0, abs=1e-12)
    grid = solve(hamiltonian, KPoints(points[:2], np.array([1 / 3, 2 / 3])), projected=False)
    assert band_edges(grid, 2.0).gap == pytest.approx(2.0, abs=1e-12)
