"""Band edges between grid points: against analytic bands."""

import ase
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import BlochSum, bloch_matrix
from gh_tools.spectra.band_edges import refined_edges, refined_edges_and_gap, refined_gap
from gh_tools.spectra.band_extrema import HBAR2_PER_MASS, Dispersion
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.spectra.spectrum import compute_spectrum


def refine(hamiltonian, grid, occupied):
    kpoints = monkhorst_pack(grid)
    eigenvalues = solve(hamiltonian, kpoints, projected=False)
    return refined_gap(hamiltonian, eigenvalues, occupied), eigenvalues.energies


@pytest.mark.parametrize("grid", [(4, 4, 1), (5, 5, 1), (6, 6, 1), (7, 4, 1)])
def test_every_grid_gives_the_gap_of_gapped_graphene(graphene, grid):
    """ε = ±√(m² + t²|f(k)|²): the gap 2m is at K, with masses of ħ² 4m / (9 t² d²)."""
    mass, hopping = 0.4, -2.7
    found, energies = refine(graphene(mass=mass, hopping=hopping), grid, (1,))
    if grid[0] % 3:
        assert energies[0, :, 1].min() - energies[0, :, 0].max() > 2 * mass + 0.05
    assert found.gap == pytest.approx(2 * mass, abs=1e-5)
    assert found.direct == pytest.approx(2 * mass, abs=1e-5)
    assert found.is_direct
    expected = HBAR2_PER_MASS * 4 * mass / (9 * hopping**2 * 1.42**2)
    for edge in (found.valence, found.conduction):
        # K is (1/3, 2/3) or (2/3, 1/3) where the cell vectors are 60° apart.
        assert sorted(np.round(edge.kpoint[:2] % 1, 3)) == pytest.approx([1 / 3, 2 / 3], abs=2e-3)
        np.testing.assert_allclose(edge.masses, expected, rtol=1e-3)
        assert edge.degeneracy == 1


def test_supercells_and_spins_have_the_same_gap(graphene):
    found, _ = refine(graphene((2, 1, 1), mass=0.4), (3, 5, 1), (2,))
    assert found.gap == pytest.approx(0.8, abs=1e-5)
    split, _ = refine(graphene(mass=0.4, splitting=0.2), (4, 4, 1), (1, 1))
    assert split.gap == pytest.approx(0.6, abs=1e-5)
    assert split.direct == pytest.approx(0.8, abs=1e-5)  # between states of one spin
    assert {split.valence.spin, split.conduction.spin} == {0, 1}


def test_an_indirect_gap_with_its_masses(tight_binding):
    """Two chains far from each other, each with ε = ε₀ + 2t(cos θ + cos 2θ): the lowest at cos θ = -1/4."""
    atoms = ase.Atoms("HHe", [[0, 0, 0], [0, 5, 0]], cell=[1, 10, 10], pbc=[True, False, False])
    hamiltonian = tight_binding(atoms, {1: 0.0, 2: 10.0}, 1.0, 2.1)
    found, _ = refine(hamiltonian, (5, 1, 1), (1,))
    eigenvalues = solve(hamiltonian, monkhorst_pack((5, 1, 1)))
    assert not refined_edges(hamiltonian, eigenvalues, 2.0).direct
    assert found.valence.energy == pytest.approx(4.0, abs=1e-5)
    assert found.conduction.energy == pytest.approx(10 - 2.25, abs=1e-5)
    assert found.direct == pytest.approx(10.0, abs=1e-5)
    assert not found.is_direct
    assert abs(np.cos(2 * np.pi * found.conduction.kpoint[0]) + 0.25) < 1e-3
    np.testing.assert_allclose(found.valence.kpoint, 0, atol=1e-3)
    # The edge is found to 5e-3 eV Å of slope, within which the mass changes by a part in a thousand.
    # Second derivatives by κ = θ / 1 Å: -2t (1 + 4) = -10 at the top, -2t (cos θ + 4 cos 2θ) = 7.5 at the bottom.
    np.testing.assert_allclose(found.valence.masses, HBAR2_PER_MASS / 10, rtol=2e-3)
    np.testing.assert_allclose(found.conduction.masses, HBAR2_PER_MASS / 7.5, rtol=2e-3)
    np.testing.assert_allclose(np.abs(found.conduction.axes), [[1, 0, 0]], atol=1e-12)


def test_points_of_a_path_do_not_take_the_place_of_the_grid(tight_binding):
    """ε = ε₀ + 2t(cos θ + cos 2θ + cos 3θ): a shallow valley at the zone's edge, -2 t, and a deep one at 0.21.

    The grid of seven meets neither, and two hundred points of a path lie in the shallow one.
    """
    atoms = ase.Atoms("HHe", [[0, 0, 0], [0, 5, 0]], cell=[1, 10, 10], pbc=[True, False, False])
    hamiltonian = tight_binding(atoms, {1: 0.0, 2: 12.0}, 1.0, 3.1)
    grid = monkhorst_pack((7, 1, 1))
    path = np.linspace([0.45, 0, 0], [0.5, 0, 0], 200)
    kpoints = KPoints(
        np.concatenate([grid.points, path]), np.concatenate([grid.weights, np.zeros(200)])
    )
    theta = np.linspace(0, np.pi, 100_001)
    bottom = 12 + 2 * np.min(np.cos(theta) + np.cos(2 * theta) + np.cos(3 * theta))
    for points in (grid, kpoints):
        eigenvalues = solve(hamiltonian, points, projected=False)
        edges, gap = refined_edges_and_gap(hamiltonian, eigenvalues, 2.0)
        alone = refined_edges(hamiltonian, eigenvalues, 2.0)
        assert edges == alone
        assert edges.kpoints == pytest.approx(alone.kpoints)
        assert edges.valence == pytest.approx(6.0, abs=1e-5)
        assert edges.conduction == pytest.approx(bottom, abs=1e-5)
        assert gap.gap == edges.gap


def test_degenerate_edges_have_no_masses(chain):
    """Two atoms of a chain: the bands touch at the zone's edge."""
    found, _ = refine(chain(2), (5, 1, 1), (1,))
    assert found.gap == pytest.approx(0.0, abs=1e-3)
    assert found.valence.degeneracy == 2
    assert found.valence.masses is None


def test_molecules_keep_their_eigenvalues(tight_binding):
    molecule = ase.Atoms("H2", [[0, 0, 0], [1, 0, 0]])
    found, _ = refine(tight_binding(molecule, {1: 0.0}, -1.0, 1.1), (1, 1, 1), (1,))
    assert found.gap == pytest.approx(2.0)
    assert found.valence.masses.size == 0


def test_gradients_are_the_differences(graphene):
    """With overlap, and at a general k-point of a skewed supercell."""
    hamiltonian = graphene((2, 1, 1), mass=0.3, overlap=0.1)
    bands, k, step = Dispersion(hamiltonian), np.array([0.13, -0.21, 0.0]), 1e-4
    for band in range(4):
        _, gradient = bands.band(k, 0, band)
        expected = [
            (bands.energies(k + d, 0)[band] - bands.energies(k - d, 0)[band]) / (2 * step)
            for d in (bands.change * step).T
        ]
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
    sums = BlochSum(hamiltonian)
    np.testing.assert_allclose(sums.at(k[None])[0], bloch_matrix(hamiltonian, k), atol=1e-14)


def test_a_spin_without_states_in_the_window_of_slices(tight_binding):
    """Bands of the one spin about -4 and 6 eV, of the other about 4 and 14: slices list those about 5 eV alone."""
    atoms = ase.Atoms("HHe", [[0, 0, 0], [0, 5, 0]], cell=[1, 10, 10], pbc=[True, False, False])
    hamiltonian = tight_binding(atoms, {1: 0.0, 2: 10.0}, 0.3, 1.1, splitting=8.0)
    config = DosConfig(kpts=(5, 1, 1), window=(-1, 1), width=0.01)
    for solver in ("dense", "slices"):
        # From 4 + 2t to 6 + 2t cos 180°
        found = compute_spectrum(hamiltonian, config, solver).scalars["band_gap"]
        assert found == pytest.approx(2 - 4 * 0.3, abs=1e-4)


def test_an_overlap_that_is_none_between_the_k_points_is_refused(tight_binding):
    """S(k) = 1 + 1.2 cos 2πk of a chain is positive at Γ, the only point of the grid, and not at the zone's edge."""
    atoms = ase.Atoms("HHe", [[0, 0, 0], [0, 5, 0]], cell=[1, 10, 10], pbc=[True, False, False])
    hamiltonian = tight_binding(atoms, {1: 0.0, 2: 10.0}, -0.3, 1.1, overlap=0.6)
    with pytest.raises(DataError, match="between the k-points, is not positive definite"):
        refine(hamiltonian, (1, 1, 1), (1,))
