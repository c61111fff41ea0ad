"""The recipe wse2 against what is known of the crystal and of the distributions it draws from."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from gh_tools.structures.geometry import closest_approach, geometry_columns
from gh_tools.structures.recipes.wse2 import WSe2Config, build, layer

PERFECT = {"strain": 0, "se_vacancies": 0, "rattle": 0}
A, THICKNESS = 3.32, 3.2


def samples(n, **options):
    config = WSe2Config(**options)
    return [build(config, np.random.default_rng(k), k) for k in range(n)]


@pytest.mark.parametrize("orthogonal", [True, False])
def test_perfect_layer_is_the_2h_crystal(orthogonal):
    atoms = layer(WSe2Config(size=(4, 3), orthogonal=orthogonal), np.random.default_rng(0))
    bond = np.hypot(A / 3**0.5, THICKNESS / 2)
    i, distance = neighbor_list("id", atoms, bond + 0.1)
    np.testing.assert_allclose(distance, bond, atol=1e-9)  # rounding of double precision
    neighbours = np.bincount(i)
    assert set(neighbours[atoms.symbols == "W"]) == {6}
    assert set(neighbours[atoms.symbols == "Se"]) == {3}
    # In a hexagonal net of one species, six neighbours stand at the lattice constant.
    tungsten = atoms[atoms.symbols == "W"]
    assert set(np.bincount(neighbor_list("i", tungsten, A + 0.01))) == {6}
    # 2H, not 1T: the two Se planes stand on top of each other.
    top, bottom = (
        atoms[np.sign(atoms.positions[:, 2] - tungsten.positions[0, 2]) == s] for s in (1, -1)
    )
    np.testing.assert_allclose(top.positions[:, :2], bottom.positions[:, :2], atol=1e-9)


def test_paper_supercell():
    atoms = layer(WSe2Config(), np.random.default_rng(0))
    assert atoms.get_chemical_formula() == "Se72W36"
    np.testing.assert_allclose(atoms.cell.angles(), 90)
    np.testing.assert_allclose(atoms.cell.lengths()[:2], [6 * A, 3 * 3**0.5 * A])
    assert atoms.pbc.tolist() == [True, True, False]


def test_vacuum_on_both_sides():
    atoms = layer(WSe2Config(vacuum=5.0), np.random.default_rng(0))
    z = atoms.positions[:, 2]
    assert z.min() == pytest.approx(5.0)
    assert atoms.cell[2, 2] - z.max() == pytest.approx(5.0)
    assert np.ptp(z) == pytest.approx(THICKNESS)


def test_strain_moves_atoms_with_the_cell():
    for sample in samples(5, se_vacancies=0, rattle=0, orthogonal=False):
        perfect = layer(WSe2Config(**PERFECT, orthogonal=False), np.random.default_rng(0))
        strain = [sample.columns["strain_x"].value, sample.columns["strain_y"].value]
        np.testing.assert_allclose(
            sample.atoms.cell.array, perfect.cell.array * [1 + strain[0], 1 + strain[1], 1]
        )
        np.testing.assert_allclose(
            sample.atoms.get_scaled_positions(), perfect.get_scaled_positions(), atol=1e-9
        )


def test_strain_is_uniform_within_its_limit():
    columns = [s.columns for s in samples(400, size=(1, 1), se_vacancies=0)]
    for name in ("strain_x", "strain_y"):
        strain = np.array([c[name].value for c in columns])
        assert np.abs(strain).max() <= 0.02
        # Uniform in ±0.02: standard deviation 0.02/√3, that of the mean a twentieth of it.
        assert abs(strain.mean()) < 4 * 0.02 / 3**0.5 / 20
        assert strain.std() == pytest.approx(0.02 / 3**0.5, rel=0.1)


def test_vacancies_are_poisson_and_match_their_columns():
    found = samples(400, size=(3, 2), se_vacancies=1.5)
    count = np.array([s.columns["se_vacancies"].value for s in found])
    # Mean and variance of a Poisson distribution are equal. Five standard errors of each:
    # √(1.5/400) = 0.061 and, with kurtosis 1/1.5, 1.5·√((2 + 1/1.5)/400) = 0.122.
    assert count.mean() == pytest.approx(1.5, abs=5 * 0.061)
    assert count.var() == pytest.approx(1.5, abs=5 * 0.122)
    for sample in found[:50]:
        columns, atoms = sample.columns, sample.atoms
        assert np.count_nonzero(atoms.symbols == "W") == 12
        assert np.count_nonzero(atoms.symbols == "Se") == 24 - columns["se_vacancies"].value
        assert columns["se_vacancy_rate"].value == columns["se_vacancies"].value / 24
        area_cm2 = np.linalg.det(atoms.cell.array[:2, :2]) * 1e-16
        assert columns["se_vacancy_density"].value == pytest.approx(
            columns["se_vacancies"].value / area_cm2
        )
        assert columns["se_vacancy_density"].unit == "1/cm^2"


def test_more_vacancies_than_sites():
    assert samples(1, size=(1, 1), se_vacancies=100)[0].atoms.get_chemical_formula() == "W2"


def test_rattle_is_gaussian_of_the_given_width():
    sample = samples(1, size=(10, 10), strain=0, se_vacancies=0, rattle=0.05)[0]
    moved = (
        sample.atoms.positions
        - layer(WSe2Config(size=(10, 10)), np.random.default_rng(0)).positions
    )
    # 1800 components: the standard error of their standard deviation is 0.05/√3600 = 8e-4.
    assert moved.std() == pytest.approx(0.05, abs=4e-3)
    assert np.abs(moved).max() > 0.1


def test_areal_density_of_the_perfect_layer():
    # 183.84 + 2·78.971 g/mol over 3.32²·√3/2 Å²
    expected = 341.782 / 6.02214076e23 * 1e3 / (A**2 * 3**0.5 / 2 * 1e-20)
    columns = geometry_columns(layer(WSe2Config(size=(2, 2)), np.random.default_rng(0)))
    assert columns["areal_density"].value == pytest.approx(expected, rel=1e-5)
    assert columns["areal_density"].unit == "mg/m^2"
    assert columns["n_atoms"].value == 24


def test_density_of_aluminium_and_of_a_molecule():
    # CRC handbook: 2.70 g/cm^3
    assert geometry_columns(bulk("Al", a=4.05))["density"].value == pytest.approx(2.70, abs=0.005)
    assert set(geometry_columns(Atoms("CO", [[0, 0, 0], [0, 0, 1.13]]))) == {"n_atoms"}


def test_closest_approach_sees_periodic_images():
    # Two atoms 0.5 Å apart through the cell's boundary, and far apart inside it.
    atoms = Atoms("HO", [[0, 0, 0.2], [0, 0, 9.7]], cell=[5, 5, 10], pbc=True)
    ratio, i, j, distance = closest_approach(atoms)
    assert {i, j} == {0, 1}
    assert distance == pytest.approx(0.5)
    assert ratio == pytest.approx(0.5 / (0.31 + 0.66))  # covalent radii after Cordero 2008
    atoms.pbc = False
    assert closest_approach(atoms)[0] == np.inf
    # An atom may be its own neighbour.
    alone = Atoms("Au", cell=[1.0, 9, 9], pbc=[True, False, False])
    assert closest_approach(alone)[3] == pytest.approx(1.0)
