"""Uncertainties of spectra from the members of an ensemble, against members that are solved by themselves."""

from dataclasses import replace

import numpy as np
import pytest

from gh_tools.orbitals.blocks import OnsiteBlocks
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import energy_grid, projected_dos
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.kpoints import monkhorst_pack
from gh_tools.spectra.members import spectra_of_members
from gh_tools.spectra.perturbation import differences, first_order
from gh_tools.spectra.scalars import UNCERTAIN, UNCERTAINTY
from gh_tools.spectra.sites import find_sites
from gh_tools.spectra.spectra import read_spectra
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.spectra.store import SpectraWriter
from gh_tools.spectra.unfolded_bands import unfolded_bands
from gh_tools.spectra.unfolded_report import write_unfolded
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures
from tests.formats.sample import sample

KPTS = (4, 4, 1)
CONFIG = DosConfig(kpts=KPTS, window=(-12, 12), points=400, width=0.1, carrier_window=(0.0, 1.0))


def ensemble(hamiltonian, count, size, seed=0, shifts=()):
    """Return it with members that differ by random Hermitian matrices, or by multiples of S; their sum is zero."""
    random = np.random.default_rng(seed)

    def blocks(own):
        matrix = own.hamiltonian if own.hamiltonian.ndim == 4 else own.hamiltonian[None]
        change = size * random.normal(size=(count, *matrix.shape))
        if isinstance(own, OnsiteBlocks):
            change += change.swapaxes(-1, -2)
        for member, shift in enumerate(shifts):
            change[member] = shift * own.overlap
        return replace(own, members=change - change.mean(axis=0))

    return replace(
        hamiltonian,
        onsite={z: blocks(own) for z, own in hamiltonian.onsite.items()},
        pairs={pair: blocks(own) for pair, own in hamiltonian.pairs.items()},
    )


def exact_members(hamiltonian):
    """Return the Hamiltonian of each member by itself."""

    def moved(own, difference):
        return replace(own, hamiltonian=own.hamiltonian + difference.hamiltonian, members=None)

    return [
        replace(
            hamiltonian,
            onsite={z: moved(hamiltonian.onsite[z], d) for z, d in one.onsite.items()},
            pairs={pair: moved(hamiltonian.pairs[pair], d) for pair, d in one.pairs.items()},
        )
        for one in differences(hamiltonian)
    ]


@pytest.mark.parametrize("spins", [1, 2])
def test_eigenvalues_are_moved_as_far_as_the_first_order_goes(spins):
    kpoints = monkhorst_pack((2, 1, 2))
    missed = []
    for size in (1e-3, 5e-4):
        whole = ensemble(sample(spins), 3, size)
        found = solve(whole, kpoints, with_members=True)
        members = spectra_of_members(found, 0.0, {})
        assert len(members) == 3
        missed.append(0.0)
        for own, member in zip(exact_members(whole), members, strict=True):
            exact = solve(own, kpoints, projected=False).energies
            assert np.abs(exact - found.energies).max() > size
            missed[-1] = max(missed[-1], float(np.abs(member.energies - exact).max()))
    # What is left is of the second order: half the difference leaves a quarter.
    assert missed[1] < 0.3 * missed[0]


def test_a_multiplet_is_split_as_it_is_by_the_perturbation(chain):
    """States at ±k of a ring are degenerate; any combination of them is an eigenvector."""
    whole = ensemble(chain(8), 2, 1e-5, seed=3)
    kpoints = monkhorst_pack((1, 1, 1))
    members = spectra_of_members(solve(whole, kpoints, with_members=True), 0.0, {})
    for own, member in zip(exact_members(whole), members, strict=True):
        exact = solve(own, kpoints, projected=False).energies
        assert np.ptp(exact[0, 0, 1:3]) > 1e-6
        np.testing.assert_allclose(member.energies, exact, atol=1e-9)


@pytest.mark.parametrize("solver", ["dense", "slices", "kpm"])
def test_numbers_and_densities_vary_as_those_of_the_members(graphene, solver):
    whole = ensemble(graphene((3, 2, 1), mass=1.0, overlap=0.1), 4, 2e-4)
    found = compute_spectrum(whole, CONFIG, solver, 2**30)
    electrons = whole.scalars["n_electrons"]
    energy = energy_grid(CONFIG.window, CONFIG.points)
    numbers, densities = [], []
    for own in exact_members(whole):
        eigenvalues = solve(own, monkhorst_pack(KPTS))
        edges = refined_edges(own, eigenvalues, electrons)
        fermi = fermi_level(eigenvalues, electrons)
        numbers.append([fermi, edges.gap, edges.valence, edges.conduction])
        densities.append(projected_dos(eigenvalues, energy + fermi, CONFIG.width).sum(axis=0))
    names = ("fermi_level", "band_gap", "valence_band_maximum", "conduction_band_minimum")
    deviations = [found.scalars[name + UNCERTAINTY] for name in names]
    # First order: δ² over the distances of eigenvalues, relative to δ.
    np.testing.assert_allclose(deviations, np.std(numbers, axis=0, ddof=1), rtol=0.02)
    assert {name for name in UNCERTAIN if name + UNCERTAINTY in found.scalars} == set(UNCERTAIN)
    if solver != "kpm":
        deviation = np.std(densities, axis=0, ddof=1)
        np.testing.assert_allclose(found.deviation, deviation, atol=0.02 * deviation.max())


def test_a_shift_of_all_eigenvalues_widens_no_gap(graphene):
    shifts = np.array([-0.2, 0.05, 0.15])
    whole = ensemble(graphene(mass=1.0, overlap=0.1), 3, 0.0, shifts=shifts)
    numbers = compute_spectrum(whole, CONFIG).scalars
    deviation = float(np.std(shifts, ddof=1))
    for name in ("fermi_level", "valence_band_maximum", "conduction_band_minimum"):
        assert numbers[name + UNCERTAINTY] == pytest.approx(deviation, rel=1e-9)
    for name in ("band_gap", "carriers", "carriers_sharp"):
        assert numbers[name + UNCERTAINTY] == pytest.approx(0.0, abs=1e-9)
    whole = replace(whole, calibration={"shift": 3.0, "eigenvalues": 7.0})
    numbers = compute_spectrum(whole, CONFIG).scalars
    assert numbers["fermi_level" + UNCERTAINTY] == pytest.approx(3 * deviation, rel=1e-9)
    assert numbers["band_gap" + UNCERTAINTY] == pytest.approx(0.0, abs=1e-9)


def test_bands_carry_them(graphene):
    whole = ensemble(graphene(mass=1.0, overlap=0.1), 4, 1e-3)
    bands = band_structure(whole, band_path(whole.atoms, points=12), CONFIG)
    assert bands.energies_uncertainty.shape == bands.energies.shape
    assert (bands.energies_uncertainty >= 0).all()
    numbers = compute_spectrum(whole, CONFIG).scalars
    for name, value in bands.uncertainties.items():
        # Both find the same edges, as far as a search between k-points ends at the same place.
        assert value == pytest.approx(numbers[name + UNCERTAINTY], rel=1e-4)
    assert set(bands.to_json()["uncertainties"]) == set(bands.uncertainties)
    single = band_structure(graphene(mass=1.0), band_path(whole.atoms, points=12), CONFIG)
    assert single.energies_uncertainty is None
    assert single.uncertainties == {}


def test_they_travel_in_stores(graphene, write_hamiltonians, tmp_path):
    """Members of Hamiltonians, and the columns of spectra, of which one structure has none."""
    from gh_tools.store.hamiltonians import HamiltonianReader

    whole = ensemble(graphene(mass=1.0, overlap=0.1), 4, 1e-3)
    store = write_hamiltonians(tmp_path / "h.hamiltonians.zarr", [whole])
    read = HamiltonianReader(store).read(0)
    for key, blocks in read.groups():
        own = whole.onsite[key] if isinstance(key, int) else whole.pairs[key]
        np.testing.assert_array_equal(blocks.members, own.members)
    structures = Structures([whole.atoms] * 2, ["a", "b"], {})
    path = tmp_path / "s.spectra.zarr"
    writer = SpectraWriter(path, structures, CONFIG, Provenance("gh-dos"))
    first = compute_spectrum(whole, CONFIG)
    writer.write(0, first)
    writer.write(1, compute_spectrum(graphene(mass=1.0, overlap=0.1), CONFIG))
    writer.publish()
    spectra = read_spectra(path)
    gaps = spectra.scalars["band_gap" + UNCERTAINTY]
    assert gaps[0] == first.scalars["band_gap" + UNCERTAINTY]
    assert np.isnan(gaps[1])


def test_unfolded_bands_have_the_uncertainties_of_bands(graphene, tmp_path):
    whole = ensemble(graphene((2, 1, 1), mass=1.0), 3, 0.05)
    path = band_path(whole.atoms, "GM", 3)
    config = DosConfig(kpts=(2, 4, 1))
    expected = band_structure(whole, path, config)
    found = unfolded_bands(whole, path, find_sites(whole.atoms, np.diag([2, 1, 1])), config)
    assert found.energies_uncertainty is not None and found.energies_uncertainty.min() > 1e-3
    np.testing.assert_allclose(found.energies_uncertainty, expected.energies_uncertainty, atol=1e-9)
    assert found.uncertainties == pytest.approx(dict(expected.uncertainties))
    facts = write_unfolded(tmp_path / "x.csv", found, None, "x")
    assert facts["band_gap_uncertainty"] == found.uncertainties["band_gap"]
    header, first, *_ = (tmp_path / "x.csv").read_text().splitlines()
    assert header.endswith(",weight,energy_uncertainty_eV") and len(first.split(",")) == 9


def test_nearly_degenerate_eigenvalues_are_those_of_the_perturbed_matrix():
    """Two that are 5e-5 eV apart and mixed by far more: their first-order changes alone would be zero."""
    energies = np.array([-1.0, 0.0, 5e-5, 1.0])
    change = np.zeros((4, 4))
    change[1, 2] = change[2, 1] = 1e-3
    moved = first_order(change, energies, np.eye(4))
    exact = np.linalg.eigvalsh(np.diag(energies) + change)
    np.testing.assert_allclose(energies + moved, exact, atol=1e-12)
