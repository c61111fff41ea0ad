"""The numbers of one structure: Fermi level, gap, carriers and their units."""

import ase
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.orbitals.geometry import periodic_area
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import energy_grid
from gh_tools.spectra.scalars import SCALARS
from gh_tools.spectra.spectrum import compute_spectrum


def test_defaults_are_those_of_the_paper():
    config = DosConfig()
    assert (config.width, config.points, config.carrier_window) == (0.05, 20_000, (0.0, 0.2))


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("width", (0.0, -1.0, 1e-9, 1e300, np.inf, np.nan)),
        ("smearing", (-1.0, 1e300, np.inf, np.nan)),
        ("kpoint_density", (0.0, np.inf, np.nan)),
        ("window", ((1.0, 0.0), (0.0, np.inf), (np.nan, 1.0), (0.0, 1e-9))),
        ("carrier_window", ((1.0, 0.0), (-np.inf, 0.0), (0.0, np.nan), (0.0, 1e-9))),
        ("points", (1, 10**9)),
    ],
)
def test_numbers_that_make_no_sense_are_refused(key, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=key):
            DosConfig(**{key: value})


def test_windows_beyond_all_eigenvalues_hold_nothing(graphene):
    config = DosConfig(kpts=(3, 3, 1), window=(500.0, 600.0), carrier_window=(500.0, 600.0))
    for solver in ("dense", "slices"):
        found = compute_spectrum(graphene(mass=0.4), config, solver, 2**30)
        assert np.all(found.density == 0)
        assert found.scalars["carriers"] == found.scalars["carriers_sharp"] == 0


def test_insulator(graphene):
    hamiltonian = graphene((2, 2, 1), mass=0.4)
    config = DosConfig(kpts=(3, 3, 1), carriers=("B",), carrier_window=(0.3, 0.5))
    found = compute_spectrum(hamiltonian, config)
    numbers = found.scalars
    assert set(numbers) == set(SCALARS)
    assert numbers["n_electrons"] == 8.0
    # 3 × 3 of a 2 × 2 cell is a 6 × 6 grid, which has the K point: the gap is twice the mass.
    assert numbers["band_gap"] == pytest.approx(0.8, abs=1e-11)
    assert numbers["valence_band_maximum"] == pytest.approx(-0.4, abs=1e-11)
    assert numbers["conduction_band_minimum"] == pytest.approx(0.4, abs=1e-11)
    assert numbers["fermi_level"] == pytest.approx(0.0, abs=1e-9)
    # At K and K' the states at +0.4 eV live on boron alone: of 36 k-points 2, times 4 cells and
    # both spins. The window of ±2 widths around them holds erf(√2) of their Gaussians.
    assert numbers["carriers_sharp"] == pytest.approx(2 * 4 * 2 / 36, abs=1e-10)
    assert numbers["carriers"] == pytest.approx(2 * 4 * 2 / 36 * 0.9544997361, abs=1e-6)
    side = 2 * 1.42e-8 * np.sqrt(3)  # cm
    area = side**2 * np.sqrt(3) / 2
    for name in ("carriers", "carriers_sharp"):
        assert numbers[f"{name}_per_area"] == pytest.approx(numbers[name] / area, rel=1e-12)
        volume = area * 10e-8
        assert numbers[f"{name}_per_volume"] == pytest.approx(numbers[name] / volume, rel=1e-12)


def test_carriers_are_the_integral_of_what_is_stored(graphene):
    hamiltonian = graphene((2, 1, 1), mass=0.2, overlap=0.1)
    config = DosConfig(kpts=(4, 8, 1), carriers=("N",), carrier_window=(0.0, 1.0), window=(-10, 10))
    found = compute_spectrum(hamiltonian, config)
    energy = energy_grid(config.window, config.points)
    inside = (energy >= -1e-12) & (energy <= 1.0 + 1e-12)
    nitrogen = found.density[found.eigenvalues.species.tolist().index(7)]
    # 1 meV steps do not hit the window's ends exactly: an error of one step times the density.
    integral = np.trapezoid(nitrogen[inside], energy[inside])
    assert found.scalars["carriers"] == pytest.approx(integral, abs=2e-3)


def test_densities_are_relative_to_the_fermi_level(chain):
    config = DosConfig(kpts=(200, 1, 1), window=(-5, 5), points=2001)
    energy = energy_grid(config.window, config.points)
    for electrons, fermi in [(1.0, 0.0), (0.5, -np.sqrt(2))]:
        found = compute_spectrum(chain(electrons=electrons), config)
        assert found.scalars["fermi_level"] == pytest.approx(fermi, abs=0.05)
        # The band's top has a one-dimensional singularity: the last peak is at 2 - E_F.
        density = found.density.sum(axis=0)
        peak = energy[energy > 0][np.argmax(density[energy > 0])]
        assert peak == pytest.approx(2.0 - fermi, abs=0.08)


def test_spin_channels_count_once_each(graphene):
    config = DosConfig(kpts=(3, 3, 1), window=(-15, 15), points=6001)
    paired, split = (
        compute_spectrum(graphene(mass=0.4, splitting=splitting), config)
        for splitting in (None, 0.2)
    )
    energy = energy_grid(config.window, config.points)
    for found in (paired, split):
        assert np.trapezoid(found.density.sum(axis=0), energy) == pytest.approx(4.0, abs=1e-8)
    # One channel moves up by 0.1 eV and the other down.
    assert split.scalars["band_gap"] == pytest.approx(0.8 - 0.2, abs=1e-11)


def test_label_fermi_level(chain):
    hamiltonian = chain()
    config = DosConfig(kpts=(8, 1, 1), fermi="label")
    with pytest.raises(DataError, match="--fermi count"):
        compute_spectrum(hamiltonian, config)
    hamiltonian.scalars["fermi_level"] = 0.7
    assert compute_spectrum(hamiltonian, config).scalars["fermi_level"] == 0.7


def test_electrons_come_from_the_basis_where_none_are_stored(chain):
    hamiltonian = chain(cells=3)
    hamiltonian.scalars.clear()
    assert compute_spectrum(hamiltonian, DosConfig()).scalars["n_electrons"] == 3.0


def test_area_and_volume_only_where_defined(chain, tight_binding):
    config = DosConfig(kpts=(4, 1, 1))
    numbers = compute_spectrum(chain(), config).scalars
    assert "carriers_per_area" not in numbers
    molecule = ase.Atoms("HHe", positions=[[0, 0, 0], [0, 0, 1]])
    numbers = compute_spectrum(tight_binding(molecule, {1: 0, 2: -1}, -1, 1.5), config).scalars
    assert "carriers_per_area" not in numbers and "carriers_per_volume" not in numbers


@pytest.mark.parametrize(
    ("pbc", "area"), [([1, 1, 0], 6.0), ([1, 0, 1], 8.0), ([1, 1, 1], 6.0), ([0, 0, 1], 0.0)]
)
def test_periodic_area(pbc, area):
    assert periodic_area(ase.Atoms("H", cell=[2, 3, 4], pbc=pbc)) == pytest.approx(area)
