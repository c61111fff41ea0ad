"""Optical spectra against GPAW's dipoles, analytic models, graphene's universal absorption, and the same crystal in larger cells."""

import csv
import json
from dataclasses import replace

import ase
import numpy as np
import pytest
import scipy.linalg
from ase.build import molecule
from numpy.testing import assert_allclose

from gh_tools.errors import UsageError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.spectra.optics.config import OpticsConfig
from gh_tools.spectra.optics.report import write_optics
from gh_tools.spectra.optics.spectrum import E2, HBAR2_M, optical_spectrum
from gh_tools.spectra.optics.velocity import Velocity
from gh_tools.spectra.repeat import repeated_along
from gh_tools.store.hamiltonians import HamiltonianReader

BOHR = 0.529177210903


@pytest.fixture(scope="module")
def wse2(tiny_labels):
    return HamiltonianReader(tiny_labels).read(1)


def test_positions_between_states_are_gpaws_own():
    from gpaw import GPAW
    from gpaw.lrtddft.kssingle import KSSingles

    import gh_tools as gh

    atoms = molecule("N2")
    atoms.rotate(33, (1, 2, 3))
    atoms.center(vacuum=3.0)
    settings = {"basis": "dzp", "xc": "LDA", "h": 0.25}
    ours = gh.label(atoms, **settings).blocks
    atoms.calc = GPAW(mode="lcao", txt=None, **settings)
    atoms.get_potential_energy()
    transitions = KSSingles(restrict={"eps": 0.001})
    transitions.calculate(atoms, 1)
    transitions.update()
    states = Velocity(ours).at(np.zeros(3))
    # Of degenerate states any combinations are as good: their sum is compared.
    sums: dict[int, list] = {}
    for one in transitions:
        apart = states.energies[one.j] - states.energies[one.i]
        assert apart == pytest.approx(one.energy * 2 * 13.605693, abs=0.03)
        position = states.velocity[:, one.i, one.j] / (-1j * apart) / BOHR
        sums.setdefault(round(10 * apart), []).append(
            (np.outer(position, position.conj()).real, np.outer(one.mur, one.mur))
        )
    assert len(sums) >= 4
    for pairs in sums.values():
        found, expected = np.sum(pairs, axis=0)
        # On a grid of 0.25 Å GPAW's molecule is rotated by some 1e-2.
        assert_allclose(found, expected, atol=0.012)
    assert max(np.trace(np.sum(pairs, axis=0)[1]) for pairs in sums.values()) > 0.3


def test_the_diagonal_of_the_velocity_is_the_slope_of_bands(wse2):
    k, step = np.array([0.13, 0.21, 0.0]), 1e-4
    velocity = Velocity(wse2)
    found = velocity.at(k).velocity
    assert_allclose(found, found.conj().transpose(0, 2, 1), atol=1e-9)
    reciprocal = 2 * np.pi * np.linalg.inv(wse2.atoms.cell.array).T
    for axis in (0, 1):
        change = np.linalg.solve(reciprocal.T, np.eye(3)[axis]) * step
        above, below = (
            scipy.linalg.eigvalsh(
                *(bloch_matrix(wse2, k + sign * change, f) for f in ("hamiltonian", "overlap"))
            )
            for sign in (1, -1)
        )
        expected = (above - below) / (2 * step)
        assert_allclose(found[axis].diagonal().real, expected, atol=1e-5)
    assert_allclose(found[2].diagonal(), 0.0, atol=1e-9)


def test_a_crystal_has_one_spectrum_in_all_its_cells_and_origins(wse2):
    """Degenerate states of a supercell are arbitrary combinations, and its lattice vectors others."""
    config = {"window": (0, 6), "points": 13, "width": 0.2}
    one = optical_spectrum(wse2, OpticsConfig(kpts=(4, 2, 1), **config))
    two = optical_spectrum(repeated_along(wse2, 0, 2), OpticsConfig(kpts=(2, 2, 1), **config))
    assert one.positions == "basis"
    assert_allclose(two.response, one.response, atol=1e-8)
    assert_allclose(two.f_sum, one.f_sum, atol=1e-9)
    moved = wse2.atoms.copy()
    moved.positions += [1.0, -2.0, 3.0]
    shifted = optical_spectrum(replace(wse2, atoms=moved), OpticsConfig(kpts=(4, 2, 1), **config))
    assert_allclose(shifted.response, one.response, atol=1e-8)
    # In complete bases it is one; without the dipoles within atoms it is above two.
    assert_allclose(one.f_sum, 1.0, atol=0.3)
    plain = optical_spectrum(wse2, OpticsConfig(kpts=(4, 2, 1), positions="atoms", **config))
    assert (plain.f_sum > 2).all()


def test_spinors_without_a_coupling_have_the_spectrum_of_paired_spins(wse2):
    def doubled(one):
        return replace(
            one,
            hamiltonian=np.kron(np.eye(2), one.hamiltonian).astype(complex),
            overlap=np.kron(np.eye(2), one.overlap),
        )

    spinors = replace(
        wse2,
        onsite={z: doubled(one) for z, one in wse2.onsite.items()},
        pairs={pair: doubled(one) for pair, one in wse2.pairs.items()},
        spinor=True,
    )
    config = OpticsConfig(kpts=(2, 2, 1), window=(0, 6), points=7, width=0.2)
    paired, both = optical_spectrum(wse2, config), optical_spectrum(spinors, config)
    assert_allclose(both.response, paired.response, atol=1e-8)
    # All pairs of states count, those of two spins as well.
    assert_allclose(both.joint, 2 * paired.joint, atol=1e-8)


def test_a_dimer(tight_binding):
    apart, hopping, s, width = 0.9, -2.0, 0.2, 0.1
    atoms = ase.Atoms("H2", positions=[[0, 0, 0], [apart, 0, 0]])
    dimer = tight_binding(atoms, {1: 0.5}, hopping, 1.0, overlap=s)
    energy = (0.5 - hopping) / (1 - s) - (0.5 + hopping) / (1 + s)
    x2 = (apart / 2) ** 2 / (1 - s**2)
    config = {"window": (0.0, 10.0), "points": 51, "width": width}
    found = optical_spectrum(dimer, OpticsConfig(**config))
    assert (found.periodic, found.symbol, found.positions) == (0, "α (Å³)", "atoms")
    z = found.energy + 1j * width
    expected = E2 * 2 * x2 * (1 / (energy - z) + 1 / (energy + z))
    assert_allclose(found.response[0, 0], expected, atol=2e-4 * abs(expected).max())
    assert_allclose(found.static_response[0, 0], E2 * 4 * x2 / energy, rtol=1e-6)
    assert_allclose(found.response[1:], 0.0, atol=1e-12)
    assert found.f_sum[0] == pytest.approx(2 * energy * x2 / HBAR2_M)
    assert_allclose(
        found.joint, 2 / np.pi * width / ((energy - found.energy) ** 2 + width**2), rtol=1e-3
    )
    shifted = optical_spectrum(dimer, OpticsConfig(scissors=0.7, **config))
    assert shifted.static_response[0, 0] == pytest.approx(E2 * 4 * x2 / (energy + 0.7), rel=1e-6)
    assert shifted.f_sum[0] == pytest.approx(found.f_sum[0])


def test_graphene_absorbs_pi_times_the_fine_structure_constant(graphene):
    config = OpticsConfig(kpts=(60, 60, 1), window=(0.9, 1.7), points=9, width=0.12)
    absorbed = optical_spectrum(graphene(), config).absorption
    # Trigonal warping adds some percent at these energies.
    assert_allclose(absorbed[:2].mean(axis=1), np.pi / 137.036, rtol=0.05)
    assert_allclose(absorbed[2], 0.0, atol=1e-12)


def test_real_and_imaginary_parts_belong_together(graphene):
    config = OpticsConfig(kpts=(12, 12, 1), window=(0, 200), points=20001, width=0.3)
    found = optical_spectrum(graphene(mass=1.0), config)
    energy, alpha = found.energy, found.response[0, 0]
    for index in (0, 150, 450, 900):
        others = np.delete(np.arange(len(energy)), index)
        kernel = energy * alpha.imag - energy[index] * alpha.imag[index]
        integral = np.trapezoid(
            kernel[others] / (energy[others] ** 2 - energy[index] ** 2), energy[others]
        )
        assert 2 / np.pi * integral == pytest.approx(alpha.real[index], abs=0.01 * abs(alpha).max())


def test_the_plasma_frequency_of_a_chain(chain):
    metal = chain(1, hopping=-1.0)
    metal.atoms.pbc = True
    with pytest.raises(UsageError, match="metal"):
        optical_spectrum(metal, OpticsConfig(kpts=(40, 1, 1), scissors=1.0))
    found = optical_spectrum(metal, OpticsConfig(kpts=(400, 1, 1), points=3, smearing=0.02))
    # Both spins and both Fermi points of velocity 2t a, in a cell of 100 Å² across.
    expected = np.sqrt(4 * np.pi * E2 * (2 / np.pi) * 2.0 / 100.0)
    assert_allclose(found.plasma, [expected, 0, 0], rtol=2e-3, atol=1e-9)
    assert found.numbers()["static"] is None


def test_files(wse2, tmp_path):
    found = optical_spectrum(wse2, OpticsConfig(kpts=(2, 2, 1), points=21))
    for ending in (".png", ".csv", ".json"):
        write_optics(tmp_path / f"w{ending}", found, "wse2")
    rows = list(csv.DictReader((tmp_path / "w.csv").open()))
    stored = json.loads((tmp_path / "w.json").read_text())
    assert [float(row["im_xx"]) for row in rows] == stored["imaginary"]["xx"]
    assert stored["quantity"] == "α/A (Å)" and stored["gap"] > 0
    assert (tmp_path / "w.png").stat().st_size > 1e4
