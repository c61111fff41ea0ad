"""Spin–orbit coupling against an atom's multiplets, GPAW itself, symmetries, and one solver against another."""

from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import mx2
from scipy.spatial.transform import Rotation

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import Overlap
from gh_tools.dft.scf import extract, run
from gh_tools.dft.spin_orbit import with_spin_orbit
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped
from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.groups import groups_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.plot_bands import plot_bands
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.spectra.window import whole_window

CONFIG = LabelConfig(setups={"W": "6"}, kpts=(2, 2, 1), h=0.32)
# K, a point without symmetry, and M.
POINTS = ((1 / 3, 1 / 3, 0.0), (0.1, 0.23, 0.0), (0.5, 0.0, 0.0))


def _kpoints(*points) -> KPoints:
    return KPoints(np.array(points, dtype=float), np.full(len(points), 1 / len(points)))


@pytest.fixture(scope="module")
def calculation():
    """GPAW after a run, and the labels of it."""
    atoms = wrapped(mx2("WSe2", a=3.32, thickness=3.34, vacuum=4.5))
    basis = basis_table(CONFIG, atoms.numbers)
    calculator = run(atoms, CONFIG, basis, "-")
    return calculator, extract(atoms, calculator, CONFIG, basis)


@pytest.fixture(scope="module")
def wse2(calculation) -> Hamiltonian:
    return calculation[1]


def _without_potential(atoms: ase.Atoms, onsite: float = 0.0) -> Hamiltonian:
    """S of atoms, and H = onsite S, so that all splittings are those of the coupling."""
    atoms = wrapped(atoms)
    basis = basis_table(LabelConfig(basis="sz(dzp)"), atoms.numbers)
    pairs = stored_pairs(atoms, basis_cutoffs(basis))
    blocks, bonds = Overlap(basis, atoms.numbers)(atoms, pairs)
    return Hamiltonian(
        atoms,
        basis,
        {
            z: OnsiteBlocks((atoms.numbers == z).nonzero()[0], onsite * s, s)
            for z, s in blocks.items()
        },
        {p: PairBlocks(*pairs[p][:3], onsite * s, s) for p, s in bonds.items()},
    )


def test_shells_of_an_atom_split_as_the_theory_of_angular_momentum_says():
    """L·σ/2 is l/2 for j = l + 1/2 and -(l + 1)/2 for j = l - 1/2: 2l + 2 and 2l states, no mean shift."""
    found = solve(
        with_spin_orbit(_without_potential(ase.Atoms("Bi"))), _kpoints((0, 0, 0)), projected=False
    ).energies[0, 0]
    # The basis has one shell each of 6s, 6p and 5d.
    d, p = found[-1] - found[0], found[8] - found[4]
    expected = [*4 * [-0.6 * d], *2 * [-2 / 3 * p], 0, 0, *4 * [p / 3], *6 * [0.4 * d]]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # 2.2 eV and 3.0 eV by experiment; the orbitals of the basis are not those of the atom.
    assert 1.5 < p < 3.0
    assert 2.5 < d < 4.0


def test_eigenvalues_do_not_depend_on_the_orientation():
    atoms = ase.Atoms("PbSeI", [[0, 0, 0], [2.6, 0.3, 0], [0.4, 2.9, 0.5]])
    rotated = atoms.copy()
    rotated.positions = Rotation.from_rotvec([0.4, -1.1, 0.7]).apply(atoms.positions)
    first, second = (
        solve(with_spin_orbit(_without_potential(a)), _kpoints((0, 0, 0)), projected=False)
        for a in (atoms, rotated)
    )
    # Splines of integrals are evaluated at other angles: rounding.
    np.testing.assert_allclose(first.energies, second.energies, atol=1e-9)
    # Without a magnetic field states are pairs.
    np.testing.assert_allclose(first.energies[0, 0, ::2], first.energies[0, 0, 1::2], atol=1e-9)


def test_eigenvalues_are_those_of_gpaw(calculation):
    from gpaw.spinorbit import soc_eigenstates

    calculator, hamiltonian = calculation
    fixed = calculator.fixed_density(txt=None, kpts=list(POINTS), symmetry="off")
    expected = soc_eigenstates(fixed).eigenvalues()
    found = solve(with_spin_orbit(hamiltonian), _kpoints(*POINTS), projected=False).energies[0]
    # All states of valence and the first ones above. GPAW takes the self-consistent potential, this that of neutral
    # atoms: up to 0.03 meV here, where the coupling moves states by up to 300 meV.
    np.testing.assert_allclose(found[:, :24], expected[:, :24], atol=2e-4)
    plain = solve(hamiltonian, _kpoints(*POINTS), projected=False).energies[0]
    assert np.abs(found - np.repeat(plain, 2, axis=1))[:, :24].max() > 0.2


def test_weights_of_groups_of_spinors(wse2):
    """They add up to 1, and those of spin up and down differ by ⟨σ_z⟩."""
    spinors = with_spin_orbit(wse2)
    config = DosConfig(kpts=(1, 1, 1))
    names = ("spin", "shell", "layer")
    groups = {n: groups_of(spinors, config.model_copy(update={"project": n})) for n in names}
    found = solve(spinors, _kpoints(*POINTS), with_spin=True, groups=groups)
    for weights in found.weights.values():
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-10)
    up, down = found.weights["spin"][:, 0]
    k = 1  # without symmetry: no state is degenerate, so that spins are those of single states
    np.testing.assert_allclose((up - down)[k], found.spin[2, k], atol=1e-10)


def test_bands_of_the_monolayer_split_at_k(wse2, tmp_path):
    path = band_path(wse2.atoms, "GK", 12)
    bands = band_structure(wse2, path, SamplingConfig(kpts=(3, 3, 1), soc=True))
    plain = band_structure(wse2, path, SamplingConfig(kpts=(3, 3, 1)))
    assert bands.energies.shape == (1, 12, 2 * plain.energies.shape[2])
    at_k = bands.energies[0, -1]
    # The two highest of 18 electrons: 0.4 to 0.65 eV by theory, depending on the functional and the basis.
    assert 0.4 < at_k[17] - at_k[16] < 0.65
    # The mirror plane of the layer leaves spins along z alone, alternately up and down.
    assert bands.spin[2, -1, 17] * bands.spin[2, -1, 16] < -0.8
    assert np.abs(bands.spin[:2]).max() < 1e-6
    # At Γ pairs are degenerate, and their spins add up to nothing.
    np.testing.assert_allclose(bands.spin[:, 0], 0, atol=1e-9)
    assert bands.gap < plain.gap - 0.2
    assert bands.edges.valence.degeneracy == 1
    picture = tmp_path / "bands.png"
    plot_bands(picture, bands)
    assert picture.stat().st_size > 10_000


def test_the_default_window_holds_the_valence_states_of_spinors(wse2):
    """Se 4s lies 13 eV below E_F, and coupling moves it by less than the window's steps of 1 eV."""
    without, coupled = (
        whole_window(DosConfig(kpts=(2, 2, 1)), [one]).window
        for one in (wse2, with_spin_orbit(wse2))
    )
    assert without[0] < -13
    assert abs(coupled[0] - without[0]) <= 1


def test_all_solvers_give_the_same(wse2):
    config = DosConfig(kpts=(2, 2, 1), soc=True, width=0.3, window=(-8, 4), points=500)
    dense, slices, kpm = (
        compute_spectrum(wse2, config.model_copy(update={"probes": 60}), solver)
        for solver in ("dense", "slices", "kpm")
    )
    for name, value in dense.scalars.items():
        assert slices.scalars[name] == pytest.approx(value, abs=1e-7, rel=1e-7), name
        if "_per" not in name:
            assert kpm.scalars[name] == pytest.approx(value, abs=1e-4), name
    np.testing.assert_allclose(slices.density, dense.density, atol=1e-8)
    # Sixty random vectors; the error is what they themselves say.
    difference = np.abs(kpm.density.sum(axis=0) - dense.density.sum(axis=0))
    assert np.mean(difference < 3 * kpm.deviation) > 0.95
    # An eigenvalue holds one electron: all states of the window are those without coupling, to its broadened ends.
    plain = compute_spectrum(wse2, config.model_copy(update={"soc": False}))
    step = 12 / 499
    assert np.sum(dense.density) * step == pytest.approx(np.sum(plain.density) * step, abs=0.6)
    assert dense.scalars["n_electrons"] == plain.scalars["n_electrons"] == 18


def test_equal_spin_channels_are_paired_spins(wse2):
    doubled = replace(
        wse2,
        onsite={
            z: replace(b, hamiltonian=np.stack([b.hamiltonian] * 2)) for z, b in wse2.onsite.items()
        },
        pairs={
            p: replace(b, hamiltonian=np.stack([b.hamiltonian] * 2)) for p, b in wse2.pairs.items()
        },
    )
    config = DosConfig(kpts=(3, 3, 1), soc=True, points=100)
    one, two = compute_spectrum(wse2, config), compute_spectrum(doubled, config)
    # Where there could be a magnetic moment, k and -k are both taken.
    assert len(one.eigenvalues.kpoints) == 5
    assert len(two.eigenvalues.kpoints) == 9
    for name, value in one.scalars.items():
        # Searches between the k-points begin at others.
        assert two.scalars[name] == pytest.approx(value, abs=1e-6, rel=1e-6), name
    np.testing.assert_allclose(one.density, two.density, atol=1e-9)


def test_a_magnetic_moment_makes_k_and_minus_k_differ(wse2):
    field = 0.3  # eV, along z
    magnetic = replace(
        wse2,
        onsite={
            z: replace(
                b, hamiltonian=np.stack([b.hamiltonian + s * field * b.overlap for s in (1, -1)])
            )
            for z, b in wse2.onsite.items()
        },
        pairs={
            p: replace(
                b, hamiltonian=np.stack([b.hamiltonian + s * field * b.overlap for s in (1, -1)])
            )
            for p, b in wse2.pairs.items()
        },
    )
    k = np.array([1 / 3, 1 / 3, 0])
    found = solve(with_spin_orbit(magnetic), _kpoints(k, -k), projected=False).energies[0]
    plain = solve(with_spin_orbit(wse2), _kpoints(k, -k), with_spin=True)
    # States of K are along z, so that the field moves each of them by its own energy.
    expected = np.sort(plain.energies[0] + field * plain.spin[2], axis=1)
    np.testing.assert_allclose(found[:, 14:18], expected[:, 14:18], atol=0.02)
    assert np.abs(found[0, :18] - found[1, :18]).max() > 0.1


def test_what_has_no_answer_is_refused(wse2):
    with pytest.raises(ValueError, match="without spin-orbit coupling"):
        SamplingConfig(soc=True, fermi="label")
    foreign = Basis({z: replace(e, fingerprint="") for z, e in wse2.basis.elements.items()})
    with pytest.raises(DataError, match="no PAW setup"):
        with_spin_orbit(replace(wse2, basis=foreign))
    with pytest.raises(DataError, match="lacks one of them"):
        with_spin_orbit(
            replace(wse2, onsite={z: replace(b, overlap=None) for z, b in wse2.onsite.items()})
        )
