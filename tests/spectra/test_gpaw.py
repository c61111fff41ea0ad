"""Spectra of real labels against what GPAW itself found."""

import numpy as np
import pytest
from scipy.special import expit

from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.store.hamiltonians import HamiltonianReader

SMEARING = 0.1  # eV, GPAW's Fermi-Dirac width in the labels


@pytest.fixture(scope="module")
def labels(tiny_labels):
    reader = HamiltonianReader(tiny_labels)
    assert reader.attributes["label"]["smearing"] == SMEARING
    return [reader.read(index) for index in range(len(reader))]


def test_eigenvalues_and_fermi_level_are_those_of_gpaw(labels):
    for hamiltonian in labels:
        bands = hamiltonian.bands
        kpoints = KPoints(bands.kpoint, bands.weight / bands.weight.sum())
        eigenvalues = solve(hamiltonian, kpoints)
        # Blocks below 1e-7 are cut, GPAW drops radial values below 1e-10: 1e-6 eV in all.
        n_bands = bands.eigenvalue.shape[-1]
        np.testing.assert_allclose(eigenvalues.energies[..., :n_bands], bands.eigenvalue, atol=1e-5)
        electrons = hamiltonian.scalars["n_electrons"]
        expected = hamiltonian.scalars["fermi_level"]
        # GPAW finds its Fermi level to a count of about 1e-8 electrons with some 0.1 to 1 states/eV.
        assert fermi_level(eigenvalues, electrons, SMEARING) == pytest.approx(expected, abs=1e-5)
        held = np.sum(eigenvalues.states * expit((expected - eigenvalues.energies) / SMEARING))
        assert held == pytest.approx(electrons, abs=1e-6)


def test_our_grid_is_that_of_gpaw(labels):
    for hamiltonian in labels:
        bands = hamiltonian.bands
        grid = solve(hamiltonian, monkhorst_pack((3, 3, 1)), projected=False)
        electrons = hamiltonian.scalars["n_electrons"]
        assert fermi_level(grid, electrons, SMEARING) == pytest.approx(
            hamiltonian.scalars["fermi_level"], abs=1e-5
        )
        # Whichever of k and -k was kept, the sum over eigenvalues is the same.
        weights = bands.weight / bands.weight.sum()
        expected = np.sum(2 * weights[None, :, None] * bands.eigenvalue)
        assert bands.eigenvalue.shape[-1] == grid.energies.shape[-1]
        assert np.sum(grid.states * grid.energies) == pytest.approx(expected, abs=1e-4)


def test_monolayer_looks_as_it_should(labels):
    """W 6s5d and Se 4s4p: PBE gives a gap of 1.0 to 1.6 eV, a W-d conduction band, Se below."""
    config = DosConfig(kpts=(6, 6, 1), carriers=("W", "Se"), window=(-10, 10))
    for hamiltonian in labels:
        found = compute_spectrum(hamiltonian, config)
        assert 0.5 < found.scalars["band_gap"] < 1.8
        assert found.scalars["n_electrons"] == 18.0
        assert found.scalars["carriers_sharp"] == 0.0  # nothing within 0.2 eV of midgap
        assert found.eigenvalues.species.tolist() == [34, 74]
        np.testing.assert_allclose(found.eigenvalues.projections.sum(axis=0), 1.0, atol=1e-10)
        energy = np.linspace(*config.window, config.points)
        selenium, tungsten = (
            np.trapezoid(density[(energy > -7) & (energy < -3)]) for density in found.density
        )
        assert selenium > tungsten
        selenium, tungsten = (
            np.trapezoid(density[(energy > 0) & (energy < 2)]) for density in found.density
        )
        assert tungsten > selenium
        bands = band_structure(
            hamiltonian, band_path(hamiltonian.atoms, "GMKG", 40), SamplingConfig(kpts=(6, 6, 1))
        )
        # Both are refined between their k-points.
        assert bands.gap == pytest.approx(found.scalars["band_gap"], abs=1e-4)
