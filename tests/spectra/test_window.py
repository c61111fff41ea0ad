"""Default windows hold all valence states; pictures and tables count from the zero that was asked for."""

import numpy as np
import pytest

from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.bands_report import write_bands
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.dos import energy_grid
from gh_tools.spectra.plot import names_of, zero_of_spectra
from gh_tools.spectra.plot_bands import zero_of_bands
from gh_tools.spectra.report import records
from gh_tools.spectra.run import make_spectra, reference_spectra
from gh_tools.spectra.spectra import read_spectra
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.spectra.window import USUAL, whole_window
from gh_tools.store.provenance import Provenance, origin_of

MADE = Provenance("gh-dos")


def test_states_of_any_depth_are_in_the_default_window(graphene):
    for mass in (0.4, 30.0, 70.0):
        config = whole_window(DosConfig(kpts=(3, 3, 1)), [graphene(mass=mass)])
        # The gap of 2 mass has the Fermi level in its middle, and bands are 6 eV wide with the hopping of -2.7.
        assert config.window[0] <= -mass - 0.1 and config.window[1] == USUAL[1]
        assert config.window[0] == np.floor(config.window[0])
        found = compute_spectrum(graphene(mass=mass), DosConfig(kpts=(3, 3, 1)))
        energy = energy_grid(config.window, config.points)
        filled = energy <= 0
        held = np.trapezoid(found.density.sum(axis=0)[filled], energy[filled])
        assert held == pytest.approx(2.0, abs=1e-3)
    # Where nothing lies deep, the window is the usual one.
    assert whole_window(DosConfig(), [graphene(hopping=-1.0)]).window == USUAL
    assert whole_window(DosConfig(window=(-1, 1)), [graphene(mass=30.0)]).window == (-1, 1)


def test_one_axis_for_all_structures_and_the_reference(graphene, write_hamiltonians, tmp_path):
    source = write_hamiltonians(
        tmp_path / "x.hamiltonians.zarr", [graphene(mass=0.4), graphene((2, 1, 1), mass=30.0)]
    )
    config = DosConfig(kpts=(2, 2, 1), points=300)
    make_spectra(source, tmp_path / "x.spectra.zarr", config, MADE)
    spectra = read_spectra(tmp_path / "x.spectra.zarr")
    assert spectra.energy[0] < -32 and spectra.energy[-1] == 10
    held = np.trapezoid(spectra.total, spectra.energy, axis=1)
    assert held[0] == pytest.approx(4.0, abs=0.05)
    _, known = reference_spectra(source, spectra, config)
    np.testing.assert_array_equal(known.total, spectra.total)

    # A resumed run keeps the window that the first one chose.
    again = make_spectra(source, tmp_path / "x.spectra.zarr", config, MADE, resume=True)
    assert again == (tmp_path / "x.spectra.zarr", [])


def test_a_record_a_structure(graphene, chain, write_hamiltonians, tmp_path):
    source = write_hamiltonians(tmp_path / "x.hamiltonians.zarr", [graphene(mass=0.4), graphene()])
    make_spectra(source, tmp_path / "x.spectra.zarr", DosConfig(kpts=(6, 6, 1), points=50), MADE)
    spectra = read_spectra(tmp_path / "x.spectra.zarr")
    first, second = records(spectra)
    assert (first["name"], first["gap_kind"]) == ("s0", "direct")
    assert first["band_gap"] == pytest.approx(0.8, abs=1e-9)
    assert (second["gap_kind"], second["gap_is_direct"]) == ("metal", None)
    assert zero_of_spectra([spectra], "auto") == "fermi"
    assert zero_of_spectra([spectra.select([0])], "auto") == "valence"


def test_bands_count_from_the_valence_band_of_insulators(graphene, tmp_path):
    path, config = band_path(graphene().atoms, "GMKG", 60), SamplingConfig(kpts=(6, 6, 1))
    bands = band_structure(graphene(mass=0.4), path, config)
    other = band_structure(graphene(mass=0.5), path, config)
    metal = band_structure(graphene(), path, config)
    assert (zero_of_bands([bands], "auto"), zero_of_bands([bands, metal], "auto")) == (
        "valence",
        "fermi",
    )
    assert bands.valence == pytest.approx(-0.4, abs=1e-6) and bands.direct
    low, high = bands.window("valence")
    assert low < bands.energies.min() - bands.valence
    assert high == pytest.approx(0.8 + 5, abs=1e-6)

    facts = write_bands(tmp_path / "b.png", bands, other, "bn", names=("predicted", "DFT"))
    assert facts["zero"] == "valence" and facts["gap_kind"] == "direct"
    # From the valence band's top, that band is right at K and the other one off by the gap.
    assert facts["bands_largest"] == pytest.approx(0.2, abs=1e-3)
    assert facts["band_gap_error"] == pytest.approx(-0.2, abs=1e-6)
    centred = write_bands(tmp_path / "c.png", bands, other, "bn", zero="fermi")
    assert centred["bands_largest"] == pytest.approx(0.1, abs=1e-3)
    write_bands(tmp_path / "m.png", metal, None, "graphene " * 30)


def test_the_gap_of_the_path_is_not_that_of_the_zone(graphene):
    # The path from Γ to M misses K, where the gap is.
    bands = band_structure(
        graphene(mass=0.4), band_path(graphene().atoms, "GM", 40), SamplingConfig(kpts=(6, 6, 1))
    )
    assert bands.gap == pytest.approx(0.8, abs=1e-6)
    # At M the bands are apart by twice the root of mass² + hopping².
    hopping = np.sqrt((bands.path_gap / 2) ** 2 - 0.4**2)
    assert hopping == pytest.approx(2.7, abs=1e-6)


def test_sides_are_called_by_their_origin():
    history = [{"program": p} for p in ("gh-label", "gh-train", "gh-infer", "gh-dos")]
    assert origin_of(history) == "predicted" and origin_of(history[:2]) == "DFT"
    assert origin_of([]) == ""
    assert names_of("predicted", "DFT") == ("predicted", "DFT")
    assert names_of("DFT", "DFT") == ("DFT", "reference")
    assert names_of("", None) == ("compared", "reference")
