"""Bands along paths: analytic values at points of high symmetry, strained cells, errors."""

import json

import ase
import numpy as np
import pytest

from gh_tools.errors import DataError, UsageError
from gh_tools.spectra.bands import band_path, band_structure
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.report import find_structure, write_bands
from gh_tools.store.hamiltonians import HamiltonianReader

CONFIG = SamplingConfig(kpts=(6, 6, 1))


def test_graphene_at_gamma_m_and_k(graphene):
    hamiltonian = graphene(mass=0.4)
    path = band_path(hamiltonian.atoms, "GMKG", 120)
    bands = band_structure(hamiltonian, path, CONFIG)
    assert [name for _, name in bands.special] == ["Γ", "M", "K", "Γ"]
    assert np.all(np.diff(bands.distance) >= 0)
    positions = [np.argmin(np.abs(bands.distance - tick)) for tick, _ in bands.special]
    # |1 + e^{ik₁} + e^{ik₂}| is 3 at Γ, 1 at M, 0 at K.
    expected = np.sqrt(0.4**2 + (2.7 * np.array([3, 1, 0, 3])) ** 2)
    np.testing.assert_allclose(bands.energies[0, positions, 1], expected, atol=1e-9)
    assert bands.gap == pytest.approx(0.8, abs=1e-10)
    assert bands.fermi_level == pytest.approx(0.0, abs=1e-9)
    # Γ-K is 4π/3a, with a the lattice constant.
    length = 4 * np.pi / (3 * 1.42 * np.sqrt(3))
    assert bands.special[3][0] - bands.special[2][0] == pytest.approx(length, abs=1e-6)


def test_default_path_and_strained_cells(graphene):
    atoms = graphene().atoms
    assert band_path(atoms).path == "GMKG"
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ np.diag([1.02, 0.99, 1.0]), scale_atoms=True)
    path = band_path(strained, "GMKG", 30)
    # Whichever of the now different M points is taken, it is half a reciprocal vector.
    middle = path.special_points["M"]
    np.testing.assert_allclose((2 * middle) % 1, 0, atol=1e-9)


def test_unknown_points_and_molecules(graphene):
    with pytest.raises(UsageError, match=r"--path GX: .* lattice: G, M, K"):
        band_path(graphene().atoms, "GX")
    with pytest.raises(UsageError, match="not periodic"):
        band_path(ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]]))


def test_spin_channels_and_files(graphene, tmp_path):
    polarised = graphene(mass=0.4, overlap=0.05, splitting=0.3)
    path = band_path(polarised.atoms, "GMKG", 40)
    bands = band_structure(polarised, path, CONFIG)
    assert bands.energies.shape == (2, 40, 2)
    np.testing.assert_allclose(bands.energies[1] - bands.energies[0], 0.3, atol=1e-10)
    other = band_structure(graphene(mass=0.5, overlap=0.05, splitting=0.3), path, CONFIG)

    facts = write_bands(tmp_path / "b.png", bands, other, "bn", (-4.0, 4.0))
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert facts["band_gap"] == pytest.approx(bands.gap)
    assert facts["band_gap_error"] == pytest.approx(bands.gap - other.gap)
    assert 0 < facts["bands_mae"] < 0.11

    write_bands(tmp_path / "b.json", bands, other, "bn", (-4.0, 4.0))
    data = json.loads((tmp_path / "b.json").read_text())
    np.testing.assert_allclose(
        data["energies"], bands.energies - bands.fermi_level, rtol=0, atol=1e-12
    )
    assert data["structure"] == "bn" and data["special"][0] == {"distance": 0.0, "name": "Γ"}
    assert data["reference"]["gap"] == other.gap

    paired = band_structure(graphene(mass=0.5), path, CONFIG)
    with pytest.raises(DataError, match="spin"):
        write_bands(tmp_path / "c.png", bands, paired, "bn", (-4.0, 4.0))
    assert not (tmp_path / "c.png").exists()


def test_structures_by_name_and_index(graphene, write_hamiltonians, tmp_path):
    reader = HamiltonianReader(
        write_hamiltonians(tmp_path / "x.hamiltonians.zarr", [graphene(), graphene((2, 1, 1))])
    )
    assert find_structure(reader, "s1") == find_structure(reader, "1") == 1
    for wrong in ("2", "-1", "s9"):
        with pytest.raises(UsageError, match="s0, s1"):
            find_structure(reader, wrong)
