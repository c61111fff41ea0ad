"""States in space: GPAW's pseudo wave functions, integrals against overlaps, symmetry, files."""

import csv
import json
from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import mx2
from ase.io.cube import read_cube
from ase.io.xsf import read_xsf
from ase.units import Bohr
from numpy.testing import assert_allclose

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import extract, run
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.local_density import (
    density_on_grid,
    single_state,
    states_in,
    surface_map,
)
from gh_tools.spectra.local_density_files import write_grid, write_map
from gh_tools.spectra.on_grid import WeightedStates, density_at
from tests.overlap.gaussians import EXPONENT, gaussian_label

ONE = SamplingConfig(kpts=(1, 1, 1))


@pytest.fixture(scope="module")
def calculation():
    """GPAW after a run of a molecule in a periodic cell of 4 Å, at two k-points, and its labels."""
    atoms = wrapped(
        ase.Atoms(
            "OH2",
            [[2.0, 2.0, 2.0], [2.8, 2.1, 2.5], [1.3, 2.4, 2.6]],
            cell=[4.0, 4.0, 4.0],
            pbc=True,
        )
    )
    config = LabelConfig(basis="szp(dzp)", kpts=(2, 1, 1), h=0.25)
    basis = basis_table(config, atoms.numbers)
    calculator = run(atoms, config, basis, "-")
    return calculator, extract(atoms, calculator, config, basis)


def smooth_overlap(hamiltonian: Hamiltonian) -> Hamiltonian:
    """Return a Hamiltonian whose S lacks the corrections of PAW: what the smooth functions overlap by."""
    integrals = TwoCenterIntegrals(hamiltonian.basis)
    onsite = {
        z: OnsiteBlocks(b.atom, b.hamiltonian, integrals.overlap(z, z, np.zeros((len(b.atom), 3))))
        for z, b in hamiltonian.onsite.items()
    }
    pairs = {
        pair: PairBlocks(
            b.i,
            b.j,
            b.cell_offset,
            b.hamiltonian,
            integrals.overlap(*pair, hamiltonian.vectors(pair)),
        )
        for pair, b in hamiltonian.pairs.items()
    }
    return Hamiltonian(hamiltonian.atoms, hamiltonian.basis, onsite, pairs, hamiltonian.scalars)


def test_densities_are_those_of_gpaws_pseudo_wave_functions(calculation):
    calculator, hamiltonian = calculation
    for kpoint, k in enumerate(calculator.get_ibz_k_points()):
        for band in (1, 3, 5):
            theirs = calculator.get_pseudo_wave_function(band=band, kpt=kpoint)
            number = band - 3  # of the highest of four occupied states
            chosen = single_state(hamiltonian, ONE, number, k.tolist())
            counts = np.array(theirs.shape)
            index = np.indices(counts).reshape(3, -1).T / counts
            points = index @ hamiltonian.atoms.cell.array
            found = np.concatenate(list(density_at(hamiltonian, chosen.states, points)))
            expected = (abs(theirs) ** 2).ravel()
            # GPAW rounds its radial functions to splines of 400 points.
            assert_allclose(found, expected, atol=2e-4 * expected.max())


def test_the_integral_is_that_of_the_overlap_of_smooth_functions(calculation):
    _, hamiltonian = calculation
    smooth = smooth_overlap(hamiltonian)
    for chosen in (
        single_state(hamiltonian, ONE, 0, (0.3, 0.1, -0.2)),
        single_state(hamiltonian, ONE, 1),
        states_in(hamiltonian, SamplingConfig(kpts=(2, 1, 1)), (-30, 1)),
    ):
        expected = 0.0
        for states in chosen.states:
            s = bloch_matrix(smooth, states.k, "overlap")
            norms = np.sum(states.vectors.conj() * (s @ states.vectors), axis=0).real
            expected += norms @ states.weights
        grid = density_on_grid(chosen, 0.2)
        assert grid.integral == pytest.approx(expected, rel=2e-4)
    assert chosen.count == pytest.approx(8)


def gaussians() -> Hamiltonian:
    """A layer of Gaussian s and p functions, whose S is known in closed form and has no corrections."""
    atoms = ase.Atoms(
        "Si2", [[0.1, 0.2, 9.0], [2.1, 1.1, 9.4]], cell=[3.9, 3.6, 0], pbc=[True, True, False]
    )
    label = gaussian_label(atoms)
    step = 0.01
    r = np.arange(0, 4.0, step)
    g = (2 * EXPONENT / np.pi) ** 0.75 * np.exp(-EXPONENT * r**2)
    radial = (np.sqrt(4 * np.pi) * g, 2 * np.sqrt(EXPONENT * 4 * np.pi / 3) * r * g)
    functions = [
        {"l": degree, "step": step, "values": (values * Bohr**1.5).tolist()}
        for degree, values in enumerate(radial)
    ]
    element = replace(label.basis[14], basis_text=json.dumps(functions))
    return replace(label, basis=Basis({14: element}))


def test_a_state_of_a_basis_without_corrections_is_normalised():
    layer = gaussians()
    chosen = single_state(layer, SamplingConfig(kpts=(2, 2, 1)), 0, (0.21, -0.4, 0.0))
    grid = density_on_grid(chosen, 0.15)
    # The box along z reaches from 4 Å below the layer to 4 Å above it.
    assert_allclose(grid.origin[2], 5.0, atol=0.02)
    assert_allclose(grid.vectors[2], [0, 0, 8.4], atol=0.04)
    # Sums over a grid are exact for Gaussians, and S reaches as far as to 1e-6.
    assert grid.integral == pytest.approx(1, abs=1e-5)
    every = states_in(layer, SamplingConfig(kpts=(3, 3, 1)), (-1000, 1000))
    assert every.count == pytest.approx(16)
    assert density_on_grid(every, 0.25).integral == pytest.approx(16, abs=1e-4)
    image, _ = surface_map(every, 1.0, 0.3)
    point = [1.1, 0.7, layer.atoms.positions[:, 2].max() + 1.0]
    there = np.array([point, [p + c for p, c in zip(point, [3.9, 7.2, 0], strict=True)]])
    values = np.concatenate(list(density_at(layer, every.states, there)))
    assert_allclose(values[0], values[1], rtol=1e-9)
    index = np.indices(image.values.shape).reshape(2, -1).T / image.values.shape
    flat = index @ layer.atoms.cell.array[:2] + [0, 0, point[2]]
    expected = np.concatenate(list(density_at(layer, every.states, flat)))
    assert_allclose(image.values.ravel(), expected, rtol=1e-9)


def test_files_hold_the_density(calculation, tmp_path):
    _, hamiltonian = calculation
    grid = density_on_grid(single_state(hamiltonian, ONE, 0), 0.4)
    write_grid(tmp_path / "state.cube", hamiltonian.atoms, grid, "state")
    with (tmp_path / "state.cube").open() as file:
        found = read_cube(file)
    assert_allclose(found["data"], grid.values * Bohr**3, atol=1e-6 * grid.values.max())
    assert_allclose(found["atoms"].positions, hamiltonian.atoms.positions, atol=1e-4)
    assert_allclose(found["atoms"].cell.array, grid.vectors, atol=1e-4)
    write_grid(tmp_path / "state.xsf", hamiltonian.atoms, grid, "state")
    data, _, vectors = read_xsf((tmp_path / "state.xsf").open(), read_data=True)[:3]
    assert_allclose(data[:-1, :-1, :-1], grid.values, rtol=1e-6)
    assert_allclose(data[-1, :-1, :-1], grid.values[0], rtol=1e-6)
    assert_allclose(vectors, grid.vectors, atol=1e-6)


def test_a_map_has_the_symmetry_of_the_surface_and_refuses_heights_beyond_the_basis(tmp_path):
    atoms = wrapped(mx2("WSe2", a=3.32, thickness=3.34, vacuum=5))
    config = LabelConfig(setups={"W": "6"})
    basis = basis_table(config, atoms.numbers)
    from gh_tools.dft.overlap import Overlap

    pairs = stored_pairs(atoms, basis_cutoffs(basis))
    onsite, blocks = Overlap(basis, atoms.numbers)(atoms, pairs)
    layer = Hamiltonian(
        atoms,
        basis,
        {z: OnsiteBlocks(np.flatnonzero(atoms.numbers == z), -4 * s, s) for z, s in onsite.items()},
        {pair: PairBlocks(*pairs[pair][:3], -3 * s, s) for pair, s in blocks.items()},
        {"n_electrons": 18.0},
    )
    chosen = states_in(layer, SamplingConfig(kpts=(3, 3, 1)), (-3, 0))
    image, warning = surface_map(chosen, 1.5, 0.28)
    assert warning is None
    n = len(image.values)
    assert image.values.shape == (n, n) and n % 3 == 0
    # The mirror plane in which W and Se lie exchanges a₁ and -a₂.
    back = -np.arange(n) % n
    assert_allclose(image.values, image.values[back][:, back].T, rtol=1e-6)
    for ending in (".png", ".csv", ".json"):
        write_map(tmp_path / f"map{ending}", image, "map")
    rows = list(csv.DictReader((tmp_path / "map.csv").open()))
    assert len(rows) == image.values.size
    _, warning = surface_map(chosen, 3.0, 0.5)
    assert "confinement" in warning
    with pytest.raises(DataError, match=r"end 3\.84 Å above it: expected a height below"):
        surface_map(chosen, 4.0, 0.5)


def test_what_is_not_there_is_refused(calculation):
    _, hamiltonian = calculation
    with pytest.raises(DataError, match="no state between"):
        states_in(hamiltonian, ONE, (-0.01, 0.01))
    with pytest.raises(UsageError, match="expected -3 to"):
        single_state(hamiltonian, ONE, -4)
    with pytest.raises(UsageError, match="1 spin channels"):
        single_state(hamiltonian, ONE, 0, spin=1)
    with pytest.raises(DataError, match="Å of vacuum, too few"):
        surface_map(single_state(hamiltonian, ONE, 0), 2.0, 0.5)


def test_two_spinor_components_are_those_of_two_spins(calculation):
    _, hamiltonian = calculation
    from gh_tools.dft.spin_orbit import with_spin_orbit

    spinors = with_spin_orbit(hamiltonian)
    paired = states_in(hamiltonian, ONE, (-30, 0))
    both = states_in(spinors, ONE, (-30, 0))
    points = np.random.default_rng(1).uniform(0, 4, (50, 3))
    expected, found = (
        np.concatenate(list(density_at(one.hamiltonian, one.states, points)))
        for one in (paired, both)
    )
    # The coupling of oxygen is of some meV.
    assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert isinstance(both.states[0], WeightedStates) and both.count == pytest.approx(8)
