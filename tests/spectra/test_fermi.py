"""Fermi level and band edges of models that can be solved on paper."""

import numpy as np
import pytest
from scipy.special import expit

from gh_tools.errors import DataError
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import band_edges, fermi_level
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack


def eigenvalues_of(*energies: float, spins: int = 1) -> Eigenvalues:
    """A molecule with given eigenvalues."""
    values = np.array(energies).reshape(spins, 1, -1)
    return Eigenvalues(
        values, KPoints(np.zeros((1, 3)), np.ones(1)), np.array([1]), values[None] ** 0
    )


def test_half_filled_chain_has_its_fermi_level_at_the_centre(chain):
    # With 4m points two eigenvalues lie at exactly 0 and are half filled; with 4m + 2 none does.
    for points in (40, 42):
        eigenvalues = solve(chain(), monkhorst_pack((points, 1, 1)))
        assert fermi_level(eigenvalues, 1.0) == pytest.approx(0.0, abs=1e-9)
        assert fermi_level(eigenvalues, 1.0, smearing=0.1) == pytest.approx(0.0, abs=1e-9)
        assert band_edges(eigenvalues, 1.0).gap == 0.0


def test_quarter_filled_chain(chain):
    # Half of the eigenvalues below E_F hold one electron in two: k_F = π/4a, E_F = -2|t| cos(π/4).
    eigenvalues = solve(chain(), monkhorst_pack((4000, 1, 1)))
    # Between points the band is resolved to 2|t| · 2π/4000.
    assert fermi_level(eigenvalues, 0.5) == pytest.approx(-np.sqrt(2), abs=4e-3)


def test_mass_opens_the_gap_of_graphene(graphene):
    for supercell, grid in [((1, 1, 1), (6, 6, 1)), ((3, 3, 1), (2, 2, 1))]:
        hamiltonian = graphene(supercell, mass=0.4)
        electrons = hamiltonian.scalars["n_electrons"]
        eigenvalues = solve(hamiltonian, monkhorst_pack(grid))
        edges = band_edges(eigenvalues, electrons)
        assert edges.valence == pytest.approx(-0.4, abs=1e-11)
        assert edges.conduction == pytest.approx(0.4, abs=1e-11)
        assert edges.gap == pytest.approx(0.8, abs=1e-11)
        assert fermi_level(eigenvalues, electrons) == pytest.approx(0.0, abs=1e-9)
        # 0.05 eV of smearing is small against 0.8 eV: midgap still.
        assert fermi_level(eigenvalues, electrons, 0.05) == pytest.approx(0.0, abs=1e-6)


def test_overlapping_bands_are_a_metal():
    energies = np.array([[[-1.0, 1.5], [0.2, 0.5]]])
    kpoints = KPoints(np.array([[0, 0, 0], [0.5, 0, 0]]), np.array([0.5, 0.5]))
    # One band each: k = 0 holds -1.0, k = 1/2 holds 0.2; the gap is indirect, 0.5 - 0.2.
    insulator = Eigenvalues(energies, kpoints, np.array([1]))
    assert band_edges(insulator, 2.0).gap == pytest.approx(0.3, abs=1e-9)
    energies = np.array([[[-1.0, 0.1], [0.2, 0.5]]])  # the second band dips below the first's top
    metal = Eigenvalues(energies, kpoints, np.array([1]))
    edges = band_edges(metal, 2.0)
    assert edges.gap == 0.0
    assert edges.valence == edges.conduction == fermi_level(metal, 2.0)


def test_partly_filled_eigenvalue_is_the_fermi_level():
    eigenvalues = eigenvalues_of(-2.0, -1.0, 1.0)
    assert fermi_level(eigenvalues, 3.0) == pytest.approx(-1.0, abs=1e-9)
    assert band_edges(eigenvalues, 3.0).gap == 0.0


def test_spin_channels_fill_singly():
    eigenvalues = eigenvalues_of(-2.0, 0.0, -1.0, 1.0, spins=2)
    assert fermi_level(eigenvalues, 3.0) == pytest.approx(0.5, abs=1e-9)
    edges = band_edges(eigenvalues, 3.0)
    assert (edges.valence, edges.conduction, edges.gap) == (0.0, 1.0, 1.0)


def test_smeared_eigenvalue_by_hand():
    # 2 [f(0) + f(1)] = 1 at kT = 0.5, with x = exp(E_F / kT), a = exp(1 / kT):
    # x/(x + 1) + x/(x + a) = 1/2 gives 3x² + (1 + a)x - a = 0.
    a = np.exp(2.0)
    x = (-(1 + a) + np.sqrt((1 + a) ** 2 + 12 * a)) / 6
    eigenvalues = eigenvalues_of(0.0, 1.0)
    fermi = fermi_level(eigenvalues, 1.0, smearing=0.5)
    assert fermi == pytest.approx(0.5 * np.log(x), abs=1e-7)
    assert 2 * expit((fermi - eigenvalues.energies) / 0.5).sum() == pytest.approx(1.0, abs=1e-8)


def test_gap_is_that_of_ase(graphene):
    from ase.dft.bandgap import bandgap

    hamiltonian = graphene((2, 1, 1), mass=0.2, overlap=0.1)
    kpoints = monkhorst_pack((3, 5, 1))
    eigenvalues = solve(hamiltonian, kpoints)
    edges = band_edges(eigenvalues, 4.0)
    gap, _, _ = bandgap(
        eigenvalues=eigenvalues.energies, efermi=fermi_level(eigenvalues, 4.0), kpts=kpoints.points
    )
    assert edges.gap == pytest.approx(gap, abs=1e-9)


@pytest.mark.parametrize("electrons", [0.0, 6.0, 7.0])
def test_count_that_no_filling_gives_is_an_error(electrons):
    with pytest.raises(DataError, match="room for 6 electrons"):
        fermi_level(eigenvalues_of(-1.0, 0.0, 1.0), electrons)


def test_units_do_not_move_with_the_energy_zero(chain):
    eigenvalues = solve(chain(), monkhorst_pack((7, 1, 1)))
    shifted = Eigenvalues(eigenvalues.energies + 137.0, eigenvalues.kpoints, eigenvalues.species)
    assert fermi_level(shifted, 1.0) - fermi_level(eigenvalues, 1.0) == pytest.approx(
        137.0, abs=1e-9
    )
