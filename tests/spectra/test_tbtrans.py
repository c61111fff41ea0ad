"""Files for TBtrans, read back by sisl: T(E) of its own self-energies against theory and gh-transport."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.pairs import wrapped
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.repeat import rearranged, repeated_along
from gh_tools.spectra.tbtrans import tbtrans_files, write_tbtrans
from gh_tools.spectra.transport import kpoints_across, transmission
from tests.spectra.tbtrans_reader import as_tbtrans

sisl = pytest.importorskip("sisl")
GAMMA = KPoints(np.zeros((1, 3)), np.ones(1))


def test_a_chain_and_a_barrier(chain, with_onsite, tmp_path):
    lead, barrier = chain(1, hopping=-1.5), 1.2
    energy = np.linspace(-3.51, 3.49, 29)
    velocity = 4 * 1.5**2 - energy**2  # squared
    for step in (0, barrier):
        device = with_onsite(chain(7, hopping=-1.5), [0, 0, 0, step, 0, 0, 0])
        path = tmp_path / f"chain-{step}.fdf"
        write_tbtrans(path, device, lead, lead, 0, energy, (1, 1, 1))
        found, values = as_tbtrans(path)
        assert_allclose(found, energy, atol=1e-9)
        theory = np.where(velocity > 0, velocity / (velocity + step**2), 0)
        # The broadening absorbs most at the edges of the band.
        assert_allclose(values, theory, atol=1e-4)
        own = transmission(device, lead, lead, 0, energy, GAMMA)
        assert_allclose(values, own.conductance, atol=1e-6)


def test_energies_count_from_the_left_lead_whatever_the_zeros_of_the_stores(
    chain, with_onsite, tmp_path
):
    left, right = with_onsite(chain(1), [5.0]), with_onsite(chain(1), [-3.0])
    device = with_onsite(chain(6), [0.4, 0.4, 0.4, 1.1, 1.1, 1.1])
    energy = np.linspace(-2.53, 2.97, 23)
    facts = write_tbtrans(tmp_path / "x.fdf", device, left, right, 0, energy, (1, 1, 1))
    assert_allclose(facts["shifts"], [-4.6, 4.1], atol=1e-12)
    assert facts["fermi_level"] == pytest.approx(0.4)
    own = transmission(device, left, right, 0, energy, GAMMA)
    assert own.conductance.max() > 0.9
    assert_allclose(as_tbtrans(tmp_path / "x.fdf")[1], own.conductance, atol=1e-6)
    assert sisl.get_sile(str(tmp_path / "x.left.TSHS")).read_fermi_level() == 0


def test_graphene_with_its_atoms_in_any_order_and_cell(tight_binding, graphene, tmp_path):
    """Perfect, T is the number of bands at E; with an atom's energy raised, that of gh-transport."""
    sheet = graphene((1, 2, 1), overlap=0.1)
    device = repeated_along(sheet, 0, 4)
    moved = device.atoms.copy()
    # Half of the atoms pass the end of the cell across, and the first ones that along the axis, by rounding.
    moved.positions += 0.6 * sheet.atoms.cell.array[1] + [-0.005, 0, 0.4]
    other = tight_binding(wrapped(moved), {5: 0.0, 7: 0.0}, -2.7, 1.5, overlap=0.1)
    order = np.random.default_rng(0).permutation(16)
    other = rearranged(other, order, np.zeros((16, 3), int))
    # Atoms of one row of the lead stand in another cell than those of the device.
    beside = rearranged(sheet, np.arange(4), np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]]))
    energy = np.linspace(-4.95, 4.05, 6)
    write_tbtrans(tmp_path / "sheet.fdf", other, beside, beside, 0, energy, (7, 3, 3))
    grid = kpoints_across(other, 0, (7, 3, 3))
    assert len(grid) == 2
    own = transmission(other, beside, beside, 0, energy, grid)
    _, values = as_tbtrans(tmp_path / "sheet.fdf")
    assert_allclose(values, own.conductance, atol=1e-6)
    # E = ±t|f| / (1 ± s|f|): a channel wherever |f(k)| passes E along the axis; of two cells across.
    along = np.exp(2j * np.pi * np.arange(4001) / 4000)
    e = energy + own.fermi_level
    size = np.abs(e / (2.7 + 0.1 * e))
    modes = np.zeros(len(energy))
    for m in range(6):
        across = np.exp(2j * np.pi * m / 6)
        above = np.abs(1 + along[:, None] + across) > size
        modes += (above[1:] != above[:-1]).sum(axis=0) / 2 / 3
    assert_allclose(values, modes, atol=1e-4)
    middle = np.argmin(np.abs(other.atoms.get_scaled_positions()[other.onsite[5].atom, 0] - 0.5))
    other.onsite[5].hamiltonian[middle] += 5.0
    write_tbtrans(tmp_path / "raised.fdf", other, beside, beside, 0, energy, (7, 3, 3))
    own = transmission(other, beside, beside, 0, energy, grid)
    assert np.all(own.conductance < modes)
    assert np.max(modes - own.conductance) > 0.1
    assert_allclose(as_tbtrans(tmp_path / "raised.fdf")[1], own.conductance, atol=1e-6)


def test_leads_of_several_cells_along_any_vector(tight_binding, graphene, tmp_path):
    """Neighbours of three shells along b, in a device that has vacuum there."""
    sheet = tight_binding(
        graphene(mass=0.3).atoms, {5: 0.3, 7: -0.3}, -0.8, 3.9, overlap=0.06, electrons=1.0
    )
    device = repeated_along(sheet, 1, 6)
    device.atoms.pbc = [True, False, False]
    energy = np.linspace(-1.1, 1.7, 3)
    grid = kpoints_across(device, 1, (3, 9, 9))
    facts = write_tbtrans(tmp_path / "x.fdf", device, sheet, sheet, 1, energy, (3, 9, 9))
    own = transmission(device, sheet, sheet, 1, energy, grid)
    assert facts["fermi_level"] == own.fermi_level
    assert own.conductance.max() > 0.5
    assert_allclose(as_tbtrans(tmp_path / "x.fdf")[1], own.conductance, atol=1e-6)


def test_spins_have_channels_of_their_own(tight_binding, chain, tmp_path):
    lead = tight_binding(chain(1).atoms, {1: 0.0}, -1.0, 1.2, splitting=0.8)
    device = tight_binding(chain(5).atoms, {1: 0.0}, -1.0, 1.2, splitting=0.8)
    device.onsite[1].hamiltonian[1, 2] += 0.7
    lead.onsite[1].hamiltonian[1] -= 2.0
    energy = np.linspace(-2.1, 2.1, 5)
    write_tbtrans(tmp_path / "x.fdf", device, lead, lead, 0, energy, (1, 1, 1))
    own = transmission(device, lead, lead, 0, energy, GAMMA)
    assert np.abs(own.transmission[0] - own.transmission[1]).max() > 0.1
    for spin in (0, 1):
        assert_allclose(as_tbtrans(tmp_path / "x.fdf", spin)[1], own.transmission[spin], atol=1e-6)


def test_what_tbtrans_could_not_run_is_refused(chain, tmp_path):
    energy, path = np.array([0.0, 1.0]), tmp_path / "x.fdf"
    with pytest.raises(DataError, match="expects others between them"):
        write_tbtrans(path, chain(2), chain(1), chain(1), 0, energy, (1, 1, 1))
    with pytest.raises(DataError, match="TBtrans has no spinors"):
        spinors = replace(chain(1), spinor=True)
        write_tbtrans(path, replace(chain(3), spinor=True), spinors, spinors, 0, energy, (1, 1, 1))
    with pytest.raises(UsageError, match="name another --output"):
        tbtrans_files(tmp_path / "my device.fdf")
    assert not list(tmp_path.iterdir())
