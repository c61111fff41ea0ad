"""Transmission against theory: a chain with a barrier, ribbons of graphene, and channels counted from bands."""

from dataclasses import replace

import ase
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from ase.build import graphene_nanoribbon
from numpy.testing import assert_allclose

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.spectra.device_blocks import LeadBlocks, write_blocks
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.repeat import repeated_along
from gh_tools.spectra.tbtrans import write_tbtrans
from gh_tools.spectra.transport import ballistic, kpoints_across, transmission
from tests.spectra.tbtrans_reader import as_tbtrans

pytest.importorskip("sisl")
GAMMA = KPoints(np.zeros((1, 3)), np.ones(1))


def channels(lead, axis, energies, k=(0.0, 0.0, 0.0)):
    """Count right-moving bands of a lead at energies: how often bands cross them, over two."""
    points = np.linspace(0, 1, 1501)
    bands = []
    for point in points:
        where = np.array(k, dtype=float)
        where[axis] = point
        matrices = (bloch_matrix(lead, where, field) for field in ("hamiltonian", "overlap"))
        bands.append(scipy.linalg.eigh(*matrices, eigvals_only=True))
    bands = np.array(bands)
    below = bands[:, :, None] < energies
    return (below[1:] != below[:-1]).sum(axis=(0, 1)) / 2


def test_a_barrier_in_a_chain(chain, with_onsite):
    lead, barrier = chain(1, hopping=-1.5), 1.2
    device = with_onsite(chain(7, hopping=-1.5), [0, 0, 0, barrier, 0, 0, 0])
    energy = np.linspace(-3.5, 3.5, 29)
    found = transmission(device, lead, lead, 0, energy, GAMMA)
    # 2 t sin k is the velocity: T = 1 / (1 + (U / 2 t sin k)²).
    velocity = np.maximum(4 * 1.5**2 - energy**2, 0)
    assert_allclose(found.conductance, velocity / (velocity + barrier**2), atol=5e-5)
    assert [contact.shift for contact in found.contacts] == [0, 0]
    assert found.fermi_level == pytest.approx(0, abs=1e-9)


def test_a_step_between_two_leads(chain, with_onsite):
    left, right = chain(1), with_onsite(chain(1), [0.7])
    device = with_onsite(chain(6), [0, 0, 0, 0.7, 0.7, 0.7])
    energy = np.linspace(-2.53, 2.97, 23)
    found = transmission(device, left, right, 0, energy, GAMMA)
    waves = [np.arccos(((energy - u) / -2).astype(complex)) for u in (0, 0.7)]
    speeds = [np.sin(w.real) * (abs(w.imag) < 1e-12) for w in waves]
    # Matching of plane waves at the step: T = 4 v v' / |t e^{ik} + ...|² = 4 v v' / ((v + v')² + (u / 2t)²) with v = sin k.
    expected = 4 * speeds[0] * speeds[1] / ((speeds[0] + speeds[1]) ** 2 + (0.35) ** 2)
    assert_allclose(found.conductance, expected, atol=2e-5)
    # Leads of their own zero of energy are shifted to that of the device.
    moved = transmission(
        device, with_onsite(left, [5.0]), with_onsite(right, [-3.0]), 0, energy, GAMMA
    )
    assert_allclose([c.shift for c in moved.contacts], [-5, 3.7], atol=1e-12)
    assert_allclose(moved.conductance, found.conductance, atol=1e-9)


def test_ribbons_of_graphene_have_whole_channels(tight_binding):
    for kind, width in (("zigzag", 3), ("armchair", 5), ("armchair", 4)):
        sheet = graphene_nanoribbon(width, 1, type=kind, saturated=False, vacuum=5)
        sheet.pbc = [False, False, True]
        ribbon = tight_binding(sheet, {6: 0.0}, -2.7, 1.5)
        energy = np.array([-6.1, -3.3, -1.9, -0.4, 0.03, 0.9, 2.2, 4.4, 7.9])
        found = ballistic(ribbon, 2, energy, GAMMA)
        # The broadening of 1e-6 eV absorbs some 1e-5 of each of up to five channels.
        assert_allclose(found.conductance, channels(ribbon, 2, energy), atol=1e-4)
        if kind == "zigzag":
            assert_allclose(found.conductance[4], 1, atol=2e-5)  # of the edges' states
    # Eight rows of dimers, as any 3 m + 2, have no gap: Son, Cohen and Louie, PRL 97, 216803 (2006).
    assert_allclose(found.conductance[4], 1, atol=2e-5)


def test_overlap_reach_and_k_across(tight_binding, graphene):
    # Neighbours of three shells, so that a principal layer has several cells, with overlap.
    layer = graphene(mass=0.3).atoms
    sheet = tight_binding(layer, {5: 0.3, 7: -0.3}, -0.8, 3.9, overlap=0.06)
    energy = np.array([-3.0, -1.1, 0.35, 0.9, 1.7])
    grid = kpoints_across(sheet, 0, (9, 3, 9))
    assert_allclose(grid.points[:, [0, 2]], 0)
    found = ballistic(sheet, 0, energy, grid)
    expected = sum(
        w * channels(sheet, 0, energy + found.fermi_level, k)
        for k, w in zip(grid.points, grid.weights, strict=True)
    )
    assert_allclose(found.conductance, expected, atol=1e-4)


def test_leads_are_found_wherever_their_atoms_are_wrapped(tight_binding, graphene):
    sheet = tight_binding(graphene(mass=0.3).atoms, {5: 0.3, 7: -0.3}, -2.0, 1.5)
    device = repeated_along(sheet, 0, 4)
    moved = device.atoms.copy()
    moved.positions += [0, 1.3, 0.4]
    moved.positions[1] += sheet.atoms.cell.array[1]
    from gh_tools.orbitals.pairs import wrapped

    other = tight_binding(wrapped(moved), {5: 0.3, 7: -0.3}, -2.0, 1.5)
    grid = KPoints(np.array([[0.0, 0.17, 0.0]]), np.ones(1))
    energy = np.array([-2.0, 1.1, 3.0])
    expected = transmission(device, sheet, sheet, 0, energy, grid).conductance
    assert_allclose(
        transmission(other, sheet, sheet, 0, energy, grid).conductance, expected, atol=1e-6
    )


def test_repeated_cells_have_the_bands_of_one(graphene):
    sheet = graphene(mass=0.4, overlap=0.1)
    large = repeated_along(sheet, 1, 3)
    for k in ([0.1, 0.3, 0.0], [0.0, 0.0, 0.0]):
        found = scipy.linalg.eigh(
            *(bloch_matrix(large, np.array(k), f) for f in ("hamiltonian", "overlap")),
            eigvals_only=True,
        )
        folded = [[k[0], (k[1] + n) / 3, 0.0] for n in range(3)]
        expected = np.concatenate(
            [
                scipy.linalg.eigh(
                    *(bloch_matrix(sheet, np.array(q), f) for f in ("hamiltonian", "overlap")),
                    eigvals_only=True,
                )
                for q in folded
            ]
        )
        assert_allclose(found, np.sort(expected), atol=1e-10)


def test_leads_that_do_not_fit_are_refused(chain):
    energy = np.array([0.0])
    lead, device = chain(1), chain(6)
    stretched = device.atoms.copy()
    stretched.positions[0] += [0.4, 0, 0]
    with pytest.raises(DataError, match="does not begin with 1 cells of the left lead"):
        transmission(replace(device, atoms=stretched), chain(2), lead, 0, energy, GAMMA)
    wide = chain(1)
    wide.atoms = ase.Atoms("H", cell=[1, 9, 10], pbc=[True, True, False])
    square = chain(6)
    square.atoms = square.atoms.copy()
    square.atoms.pbc = [True, True, False]
    with pytest.raises(DataError, match="repeat it to the device's width"):
        transmission(square, wide, wide, 0, energy, GAMMA)


def doubled(hamiltonian, angle=0.0):
    """Return spinors without a coupling, the second of each pair's rotated by an angle about y."""
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    rotation = np.array([[c, -s], [s, c]])

    def double(one, matrix):
        return replace(
            one,
            hamiltonian=np.kron(matrix, one.hamiltonian).astype(complex),
            overlap=np.kron(np.eye(2), one.overlap),
        )

    return replace(
        hamiltonian,
        onsite={z: double(one, np.eye(2)) for z, one in hamiltonian.onsite.items()},
        pairs={pair: double(one, rotation) for pair, one in hamiltonian.pairs.items()},
        spinor=True,
    )


def test_spinors_count_both_spins(chain, with_onsite):
    """A hopping that rotates the spin alike everywhere changes the spin's axis along the chain, and no transmission."""
    lead = chain(1, hopping=-1.5)
    device = with_onsite(chain(7, hopping=-1.5), [0, 0, 0, 1.2, 0, 0, 0])
    energy = np.linspace(-3.3, 3.4, 6)
    paired = transmission(device, lead, lead, 0, energy, GAMMA)
    for angle in (0.0, 0.7):
        device2, lead2 = doubled(device, angle), doubled(lead, angle)
        found = transmission(device2, lead2, lead2, 0, energy, GAMMA)
        assert_allclose(found.transmission[0], 2 * paired.transmission[0], atol=5e-5)
        assert_allclose(found.conductance, paired.conductance, atol=5e-5)
    with pytest.raises(DataError, match="expected spinors in the device and in both leads"):
        transmission(device2, lead, lead, 0, energy, GAMMA)
    assert len(kpoints_across(doubled(chain(1)), 1, (4, 1, 1))) == 4


def test_a_large_device_is_solved_by_sparse_matrices(chain, with_onsite):
    """Two barriers far apart: T = |t₁ t₂ / (1 - r₁ r₂ exp(2ikd))|² of the amplitudes of each."""
    n, barrier, first, second = 1200, 0.8, 100, 1100
    onsite = np.zeros(n)
    onsite[[first, second]] = barrier
    energy = np.array([-1.31, -0.4, 0.2, 1.1])
    found = transmission(with_onsite(chain(n), onsite), chain(1), chain(1), 0, energy, GAMMA)
    k = np.arccos(-energy / 2)
    t = 1 / (1 + 1j * barrier / (2 * np.sin(k)))
    expected = np.abs(t**2 / (1 - (t - 1) ** 2 * np.exp(2j * k * (second - first)))) ** 2
    # 1e-6 eV of broadening over 1000 cells and back.
    assert_allclose(found.conductance, expected, atol=3e-3)


def test_blocks_are_enough_for_another_program(tight_binding, graphene, tmp_path):
    """Of a barrier in a ribbon with overlap: T(E) from the file, with leads that are many cells in the place of self-energies."""
    lead = graphene((1, 2, 1), overlap=0.1)
    device = repeated_along(lead, 0, 6)
    device.onsite[5].hamiltonian[5] += 1.0
    kpoints = kpoints_across(device, 0, (1, 3, 1))
    energy = np.array([0.9, 1.7])
    expected = transmission(device, lead, lead, 0, energy, kpoints)
    write_blocks(tmp_path / "x.npz", device, lead, lead, 0, kpoints)
    blocks = np.load(tmp_path / "x.npz")
    assert float(blocks["fermi_level"]) == pytest.approx(expected.fermi_level)
    total = np.zeros(len(energy))
    for index, weight in enumerate(blocks["weight"]):
        h, s = (
            scipy.sparse.csr_array(
                tuple(blocks[f"0/{index}/{name}.{part}"] for part in ("data", "indices", "indptr"))
            ).toarray()
            for name in "hs"
        )
        for place, e in enumerate(energy + expected.fermi_level):
            z = e + 1e-6j
            matrix, gammas, ends = z * s - h, [], []
            for side in ("left", "right"):
                of = {name: blocks[f"0/{index}/{side}/{name}"] for name in LeadBlocks._fields}
                out = z * of["s_next"] - of["h_next"]
                back = z * of["s_next"].conj().T - of["h_next"].conj().T
                there, here = (back, out) if side == "left" else (out, back)
                # Decimation: each step doubles the length of the lead.
                bulk = surface = z * of["s"] - of["h"]
                alpha, beta = there, here
                for _ in range(40):
                    inverse = np.linalg.inv(bulk)
                    surface = surface - alpha @ inverse @ beta
                    bulk = bulk - alpha @ inverse @ beta - beta @ inverse @ alpha
                    alpha, beta = alpha @ inverse @ alpha, beta @ inverse @ beta
                sigma = there @ np.linalg.solve(surface, here)
                matrix[np.ix_(of["orbitals"], of["orbitals"])] -= sigma
                gammas.append(1j * (sigma - sigma.conj().T))
                ends.append(of["orbitals"])
            green = np.linalg.inv(matrix)[np.ix_(*ends)]
            total[place] += weight * np.trace(gammas[0] @ green @ gammas[1] @ green.conj().T).real
    assert_allclose(total, expected.transmission[0], atol=1e-4)
    assert total.min() > 0.05


def test_devices_of_real_labels(tmp_path):
    """A wire of carbon by GPAW, device and lead each with a self-consistent run of its own; then with an atom displaced."""
    import gh_tools as gh

    # 8 points of the grid in a cell of 2.6 Å, in the device as well.
    settings = {"h": 0.325, "vacuum": 4.0, "smearing": 0.2}
    cell = ase.Atoms("C2", [[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 0, 0], pbc=[True, False, False])
    lead = gh.label(cell, kpts=(24, 1, 1), **settings).blocks
    wire = gh.label(cell * (8, 1, 1), kpts=(3, 1, 1), **settings).blocks
    energy = np.array([-9.3, -3.6, -1.9, 0.0, 1.1, 2.7])
    found = transmission(wire, lead, lead, 0, energy, GAMMA)
    # GPAW's is that of a smearing of 0.2 eV.
    assert found.fermi_level == pytest.approx(lead.scalars["fermi_level"], abs=0.05)
    whole = channels(lead, 0, energy + found.fermi_level)
    assert set(whole) == {0, 2}  # between the bands of σ and π, and two of π
    # The two runs agree within some meV, which reflects a part of order (meV / eV)² of each channel.
    assert max(abs(contact.shift) for contact in found.contacts) < 0.01
    assert_allclose(found.conductance, whole, atol=1e-3)
    bent = cell * (8, 1, 1)
    bent.positions[7, 1] += 0.5
    device = gh.label(bent, kpts=(3, 1, 1), **settings).blocks
    scattered = transmission(device, lead, lead, 0, energy, GAMMA)
    some = whole > 0
    assert_allclose(scattered.conductance[~some], 0, atol=1e-3)
    assert np.all(scattered.conductance[some] < whole[some] - 0.01)
    assert np.all(scattered.conductance[some] > 0.1)
    even = np.linspace(-3.6, 2.7, 4)
    write_tbtrans(tmp_path / "bent.fdf", device, lead, lead, 0, even, (1, 1, 1))
    again = transmission(device, lead, lead, 0, even, GAMMA)
    assert_allclose(as_tbtrans(tmp_path / "bent.fdf")[1], again.conductance, atol=1e-6)
