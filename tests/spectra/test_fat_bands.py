"""Fat bands, group velocities and masses of degenerate edges: GPAW itself, theory, and finite differences."""

import csv
import json

import ase
import numpy as np
import pytest
from ase.build import bulk

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import extract, run
from gh_tools.orbitals.pairs import wrapped
from gh_tools.spectra.band_extrema import HBAR2_PER_MASS
from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.bands_report import write_bands
from gh_tools.spectra.config import ProjectedConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fat_bands import VELOCITY
from gh_tools.spectra.kpoints import KPoints
from tests.orbitals.tables import SIO, quartz_like, random_hamiltonian

LABEL = LabelConfig(h=0.3, basis="szp(dzp)", kpts=(2, 2, 2), convergence={"density": 1e-3})


def calculated(atoms):
    """GPAW after a run, and the labels of it."""
    atoms = wrapped(atoms)
    basis = basis_table(LABEL, atoms.numbers)
    calculator = run(atoms, LABEL, basis, "/dev/null")
    return calculator, extract(atoms, calculator, LABEL, basis)


@pytest.fixture(scope="module")
def gallium_arsenide():
    return calculated(bulk("GaAs", "zincblende", a=5.65))


@pytest.fixture(scope="module")
def silicon():
    return calculated(bulk("Si"))


def projected(hamiltonian, letters, points, project, **options):
    config = ProjectedConfig(kpts=(4, 4, 4), project=project, **options)
    path = band_path(hamiltonian.atoms, letters, points)
    return band_structure(hamiltonian, path, config, velocities=True)


def test_weights_are_those_of_gpaws_own_coefficients(gallium_arsenide):
    calculator, hamiltonian = gallium_arsenide
    bands = projected(hamiltonian, "LGXW", 9, "shell")
    assert bands.groups == ("Ga s", "Ga p", "Ga d", "As s", "As p", "As d")
    np.testing.assert_allclose(bands.weights.sum(axis=0), 1, atol=1e-12)
    fixed = calculator.fixed_density(txt=None, kpts=bands.kpoints, symmetry="off")
    groups = []
    for atom, setup in zip(hamiltonian.atoms, fixed.setups, strict=True):
        for function in setup.basis.bf_j:
            groups += (2 * function.l + 1) * [f"{atom.symbol} {'spd'[function.l]}"]
    for k, (states,) in enumerate(fixed.dft.ibzwfs.wfs_qs):
        coefficients, overlap = states.C_nM.data, states.S_MM.data
        populations = np.real(coefficients.conj() * (coefficients @ overlap.T))
        np.testing.assert_allclose(populations.sum(axis=1), 1, atol=1e-9)
        energies = states.eig_n * 27.211386
        n = len(energies)
        np.testing.assert_allclose(bands.energies[0, k, :n], energies, atol=2e-4)
        for name, found in zip(bands.groups, bands.weights[:, 0, k, :n], strict=True):
            expected = populations[:, [g == name for g in groups]].sum(axis=1)
            # Of nearly degenerate states, which GPAW lists as they come, the sum alone is defined.
            edges = np.flatnonzero(np.diff(energies) > 5e-3) + 1
            for some in np.split(np.arange(n), edges)[:-1]:
                assert found[some].sum() == pytest.approx(expected[some].sum(), abs=1e-4)


def second_differences(calculator, cell, k, direction, step):
    """Curvatures of GPAW's own eigenvalues at k along a unit vector, eV Å², fourth order eliminated."""
    change = cell @ direction / (2 * np.pi)
    kpoints = [k + n * step * change for n in (-2, -1, 0, 1, 2)]
    fixed = calculator.fixed_density(txt=None, kpts=kpoints, symmetry="off")
    energies = np.array([fixed.get_eigenvalues(kpt=n) for n in range(5)])
    near = (energies[1] + energies[3] - 2 * energies[2]) / step**2
    far = (energies[0] + energies[4] - 2 * energies[2]) / (2 * step) ** 2
    return (4 * near - far) / 3


def test_masses_of_silicon_are_those_of_gpaws_bands(silicon):
    calculator, hamiltonian = silicon
    edges = projected(hamiltonian, "GX", 3, "species").edges
    conduction = edges.conduction
    assert np.abs(np.linalg.norm(conduction.axes @ np.eye(3), axis=1)).max() == pytest.approx(1)
    # One longitudinal mass along a cube's axis, near 0.95, and two transverse ones near 0.2.
    transverse, longitudinal = conduction.masses[:2], conduction.masses[2]
    assert longitudinal > 3 * transverse.max()
    for mass, axis in zip(conduction.masses, conduction.axes, strict=True):
        found = second_differences(
            calculator, hamiltonian.atoms.cell.array, conduction.kpoint, axis, 0.02
        )[4]
        assert HBAR2_PER_MASS / found == pytest.approx(mass, rel=0.02)


def test_masses_of_gallium_arsenide_are_those_of_gpaws_bands(gallium_arsenide):
    calculator, hamiltonian = gallium_arsenide
    edges = projected(hamiltonian, "LGX", 5, "species").edges
    cell = hamiltonian.atoms.cell
    gamma = np.zeros(3)
    np.testing.assert_allclose(edges.conduction.kpoint, gamma, atol=1e-3)
    curvature = second_differences(calculator, cell.array, gamma, np.eye(3)[2], 0.01)
    assert HBAR2_PER_MASS / curvature[4] == pytest.approx(edges.conduction.masses[0], rel=0.03)
    valence = edges.valence
    assert valence.degeneracy == 3 and set(valence.towards) == {"L", "X"}
    for name, direction in (("X", [1, 0, 0]), ("L", np.ones(3) / np.sqrt(3))):
        masses = valence.towards[name]
        # The sum of curvatures is that of a matrix's eigenvalues, whatever splits the states by some meV.
        found = second_differences(calculator, cell.array, gamma, np.array(direction), 0.005)
        expected = -found[1:4].sum() / HBAR2_PER_MASS
        assert np.sum(1 / masses) == pytest.approx(expected, rel=0.03)
        # Heavy holes, degenerate along both: far enough from Γ for the splitting by the grid to be small.
        far = second_differences(calculator, cell.array, gamma, np.array(direction), 0.05)
        heavy = -HBAR2_PER_MASS / far[2:4].mean()
        np.testing.assert_allclose(masses[:2], heavy, rtol=0.1)


def test_velocities_of_graphene_and_a_chain(graphene, chain):
    bands = projected(graphene(), "GK", 41, "species")
    slope = np.diff(bands.energies[0], axis=0) / np.diff(bands.distance)[:, None]
    middle = 0.5 * (bands.velocity[0, 1:] + bands.velocity[0, :-1])
    np.testing.assert_allclose(middle[1:-1], VELOCITY * slope[1:-1], rtol=0.02, atol=2e3)
    # v = 3/2 t a at K, where both bands meet: the Dirac point.
    expected = 1.5 * 2.7 * 1.42 * VELOCITY
    np.testing.assert_allclose(bands.velocity[0, -1], [-expected, expected], rtol=1e-6)
    assert expected == pytest.approx(8.7e5, rel=0.01)
    wire = projected(chain(), "GX", 21, "species")
    # E = 2t cos k with t = -1 eV and 1 Å.
    np.testing.assert_allclose(
        wire.velocity[0, :, 0], 2 * VELOCITY * np.sin(wire.distance), atol=1e-3
    )


@pytest.mark.parametrize("spins", [1, 2])
def test_slopes_are_differences_of_energies_with_any_overlap(spins):
    hamiltonian = random_hamiltonian(quartz_like(), SIO, 2, spins)
    k, direction, step = np.array([0.13, -0.27, 0.31]), np.array([0.7, -0.2, 0.4]), 1e-5
    points = k + step * np.array([[-1], [0], [1]]) * direction
    kpoints = KPoints(points, np.full(3, 1 / 3))
    found = solve(hamiltonian, kpoints, projected=False, directions=np.tile(direction, (3, 1)))
    expected = (found.energies[:, 2] - found.energies[:, 0]) / (2 * step)
    # Rounding of energies, 1e-13 eV, over the step; and third derivatives times its square.
    np.testing.assert_allclose(found.slopes[:, 1], expected, atol=1e-6)


def test_bands_of_parts_of_a_path_have_velocities_at_both_ends(graphene):
    bands = projected(graphene(), "GM,KG", 20, "species")
    assert np.isfinite(bands.velocity).all()


def test_weights_of_layers_and_spins(tight_binding, graphene, tmp_path):
    side = 1.42 * np.sqrt(3)
    atoms = ase.Atoms(
        "BNAlP",
        positions=[[0, 0, 1], [0, 1.42, 1], [0, 0, 5], [0, 1.42, 5]],
        cell=[[side, 0, 0], [side / 2, side * np.sqrt(3) / 2, 0], [0, 0, 10]],
        pbc=[True, True, False],
    )
    sheets = tight_binding(atoms, {5: 1.0, 7: -1.0, 13: 2.0, 15: -1.5}, -2.7, 1.5)
    bands = projected(sheets, "GMKG", 30, "layer")
    assert bands.groups == ("1 BN", "2 AlP")
    # Uncoupled: each state is of one layer.
    np.testing.assert_allclose(np.sort(bands.weights, axis=0)[0], 0, atol=1e-12)
    for ending in ("png", "json", "csv"):
        write_bands(tmp_path / f"a.{ending}", bands, None, "sheets")
    read = json.loads((tmp_path / "a.json").read_text())
    np.testing.assert_allclose(read["weights"], bands.weights)
    np.testing.assert_allclose(read["velocity"], bands.velocity)
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == bands.energies.size
    column = [float(row["weight of 2 AlP"]) for row in rows]
    np.testing.assert_allclose(column, bands.weights[1].ravel())
    spins = projected(graphene(mass=0.3, splitting=0.5), "GMKG", 20, "spin")
    np.testing.assert_allclose(spins.weights[0], [np.ones((20, 2)), np.zeros((20, 2))], atol=1e-12)
