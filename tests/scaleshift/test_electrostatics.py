"""Potentials of Gaussian charges against series and closed forms."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from ase.units import Bohr, Hartree
from scipy.special import erf, erfc

from gh_tools.errors import DataError
from gh_tools.scaleshift.electrostatics import electrostatic_potential

COULOMB = Hartree * Bohr  # eV Å


def of_itself(width: float) -> float:
    return COULOMB * np.sqrt(2 / np.pi) / width


def test_rock_salt_has_its_madelung_constant():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    charges = np.where(atoms.numbers == 11, 1.0, -1.0)[None]
    expected = charges[0] * (of_itself(0.3) - 1.7475645946 * COULOMB / 2.8)
    # Waves that are left out are 1e-5 eV at σ = 0.7, and in proportion to 1/σ.
    np.testing.assert_allclose(
        electrostatic_potential(atoms, charges, 0.3, 0.0)[0], expected, atol=5e-5
    )


def test_a_charged_lattice_has_wigners_energy_and_counts_from_its_mean():
    """A simple cubic lattice of point charges in a background: -2.837297 e²/L (Wigner); Gaussians add their second moment."""
    length, width = 4.0, 0.4
    atoms = ase.Atoms("H", cell=[length] * 3, pbc=True)
    expected = of_itself(width) - COULOMB * 2.8372974795 / length
    # Taken over the cell, the mean of erf(r/√2σ)/r is less than that of 1/r by this much.
    expected += 2 * np.pi * COULOMB * width**2 / length**3
    found = electrostatic_potential(atoms, np.ones((1, 1)), width, 0.0)
    assert found == pytest.approx(expected, abs=5e-5)


def test_a_molecule_has_the_potential_of_its_charges():
    """But for its images beyond the faces of the box: a dipole of 0.3 e Å, 12 Å and more away, six of them the nearest."""
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 1.5]])
    charges = np.array([[0.2, -0.2]])
    width = 0.7
    difference = of_itself(width) - COULOMB * erf(1.5 / np.sqrt(2) / width) / 1.5
    found = electrostatic_potential(atoms, charges, width, 0.0)[0]
    # 6 · 0.3 e Å · 1.5 Å / (12 Å)³, in eV
    assert found[0] - found[1] == pytest.approx(0.4 * difference, abs=0.02)
    assert found.sum() == pytest.approx(0.0, abs=1e-4)


def test_sheets_of_charge_are_a_capacitor():
    """Two sheets with zero potential outside: σ_A d/ε₀ shared by the space between the sheets and that to the faces."""
    spacing, distance, vacuum = 0.8, 4.0, 6.0
    atoms = ase.Atoms(
        "HHe", positions=[[0, 0, 0], [0, 0, distance]], cell=[spacing, spacing, 0], pbc=[1, 1, 0]
    )
    found = electrostatic_potential(atoms, np.array([[1.0, -1.0]]), 0.7, 0.0)[0]
    density = 1 / spacing**2
    total = distance + 2 * vacuum
    # Fields E between and E' outside: E - E' = σ_A/ε₀, and no potential from face to face: E d + 2 E' v = 0.
    between = 4 * np.pi * COULOMB * density * 2 * vacuum / total
    smeared = (
        4 * np.pi * COULOMB * density * 0.7 / np.sqrt(2 * np.pi)
    )  # of each Gaussian's own sheet
    corrugation = 0.02  # of a lattice as narrow as the charges are wide
    assert found[0] - found[1] == pytest.approx(between * distance - 2 * smeared, rel=corrugation)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 0)])
def test_potentials_are_of_the_structure_not_of_its_description(pbc):
    """Symmetric between atoms; the same of a supercell, of atoms moved, and of an oblique cell of the same lattice."""
    random = np.random.default_rng(1)
    atoms = ase.Atoms("Si4", cell=[[5.0, 0, 0], [1.0, 6.0, 0], [0, 0, 5.5]], pbc=pbc)
    if not all(pbc):
        atoms.cell[1, 0] = 0.0
    atoms.set_scaled_positions(random.uniform(size=(4, 3)))
    matrix = electrostatic_potential(atoms, np.eye(4))
    if 0 < sum(pbc) < 3:  # each potential is zero on average
        np.testing.assert_allclose(matrix.mean(axis=1), 0.0, atol=1e-9)
        matrix -= matrix.mean(axis=0)
    np.testing.assert_allclose(matrix, matrix.T, atol=2e-6)
    charges = random.normal(size=(1, 4))
    expected = electrostatic_potential(atoms, charges)[0]
    repeats = np.where(pbc, 2, 1)
    large = atoms.repeat(repeats)
    found = electrostatic_potential(large, np.tile(charges, repeats.prod()))[0]
    np.testing.assert_allclose(found, np.tile(expected, repeats.prod()), atol=2e-5)
    moved = atoms.copy()
    moved.positions += random.normal(size=3)
    np.testing.assert_allclose(electrostatic_potential(moved, charges)[0], expected, atol=2e-5)
    if pbc[0] and pbc[1]:
        oblique = atoms.copy()
        oblique.cell[1] += 3 * oblique.cell[0]
        np.testing.assert_allclose(
            electrostatic_potential(oblique, charges)[0], expected, atol=2e-5
        )


def test_boxes_do_not_count_and_cells_beyond_memory_are_refused():
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 1.5]])
    charges = np.array([[0.2, -0.2]])
    expected = electrostatic_potential(atoms, charges)
    atoms.cell = [1e4] * 3
    np.testing.assert_allclose(electrostatic_potential(atoms, charges), expected, atol=1e-9)
    atoms.pbc = True
    with pytest.raises(DataError, match=r"1e\+04 x 1e\+04 x 1e\+04 Å takes .* GiB"):
        electrostatic_potential(atoms, charges)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 0, 0)])
def test_screened_charges_have_the_sum_over_neighbours(pbc):
    """Screened Gaussians added up one by one; of a crystal less their mean, 4π/(κ²Ω) each, of a layer less that over its atoms."""
    random = np.random.default_rng(2)
    atoms = ase.Atoms("Si3", cell=np.diag([4.0, 5.0, 6.0]), pbc=pbc)
    atoms.set_scaled_positions(random.uniform(size=(3, 3)))
    charges, width, screening = random.normal(size=3), 0.5, 1.0
    i, j, distance = neighbor_list("ijd", atoms, 25.0)
    # A Gaussian in ∇²V - κ²V = -4πρ, beyond a few widths: exp(κ²σ²/2) exp(-κr)/r; nearer with complementary error functions.
    scale = np.sqrt(2) * width
    both = [
        np.exp(sign * screening * distance) * erfc(screening * scale / 2 + sign * distance / scale)
        for sign in (1, -1)
    ]
    far = 0.5 * np.exp(0.5 * (screening * width) ** 2) * (both[1] - both[0]) / distance
    itself = np.sqrt(2 / np.pi) / width - screening * np.exp(0.5 * (screening * width) ** 2) * erfc(
        screening * width / np.sqrt(2)
    )
    expected = COULOMB * (np.bincount(i, charges[j] * far, 3) + itself * charges)
    if all(pbc):
        expected -= 4 * np.pi * COULOMB * charges.sum() / screening**2 / atoms.get_volume()
    elif any(pbc):
        expected -= expected.mean()
    found = electrostatic_potential(atoms, charges[None], width, screening)[0]
    # Images of what is not periodic are 12 Å away: exp(-12)/12 e²; waves that are left out 2e-5 eV.
    np.testing.assert_allclose(found, expected, atol=5e-5 if all(pbc) else 2e-3)
