"""Changes to a given structure: each against what it means, counted or measured independently."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from pydantic import ValidationError

from gh_tools.errors import DataError
from gh_tools.structures.transform import Transformations, standardized, transform


def apply(given, seed=0, **options):
    return transform(given, Transformations(**options), np.random.default_rng(seed))


def test_nothing_asked_for_changes_nothing():
    silicon = bulk("Si")
    same, columns = apply(silicon)
    assert same == silicon
    assert columns == {}
    assert not Transformations().random
    assert not Transformations(size=(2, 2, 2), vacuum=3.0).random


def test_sizes():
    silicon = bulk("Si")
    assert len(apply(silicon, size=(2, 1, 3))[0]) == 12
    cubic, _ = apply(silicon, size=[[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    np.testing.assert_allclose(cubic.cell.cellpar(), [5.43] * 3 + [90] * 3)
    layer = graphene("BN", a=2.51, vacuum=6.0)
    numbers = {len(apply(layer, seed, size="varied", cells=(3, 5))[0]) for seed in range(20)}
    assert numbers == {6, 8, 10}
    assert len(apply(layer, size="varied", atoms=(16, 17))[0]) == 16
    with pytest.raises(DataError, match="not periodic"):
        apply(molecule("H2O"), size=(2, 2, 2))
    with pytest.raises(DataError, match="not periodic"):
        apply(layer, size=(2, 2, 2))


def test_strain_is_that_of_the_columns():
    silicon = bulk("Si", cubic=True)
    strained, columns = apply(silicon, strain=0.03, shear=0.02)
    tensor = np.zeros((3, 3))
    for axis, name in enumerate("xyz"):
        tensor[axis, axis] = columns[f"strain_{name}"].value
    for name, a, b in (("yz", 1, 2), ("xz", 0, 2), ("xy", 0, 1)):
        tensor[a, b] = tensor[b, a] = columns[f"strain_{name}"].value
    # The deformation gradient of ASE's strained cell, from the cells alone.
    gradient = np.linalg.solve(silicon.cell.array, strained.cell.array)
    np.testing.assert_allclose(gradient - np.eye(3), tensor, atol=1e-12)
    np.testing.assert_allclose(
        strained.get_scaled_positions(), silicon.get_scaled_positions(), atol=1e-12
    )
    assert np.abs(np.diag(tensor)).max() <= 0.03
    assert 0 < np.abs(tensor - np.diag(np.diag(tensor))).max() <= 0.02


def test_a_layer_is_strained_in_its_plane_alone():
    layer, columns = apply(graphene("BN", a=2.51, vacuum=6.0), strain=0.05, shear=0.05)
    assert set(columns) == {"strain_x", "strain_y", "strain_xy"}
    np.testing.assert_allclose(layer.cell.array[2], [0, 0, 12.0])
    tilted = graphene("BN", a=2.51, vacuum=6.0)
    tilted.rotate(30, "x", rotate_cell=True)
    with pytest.raises(DataError, match="Cartesian"):
        apply(tilted, strain=0.02)


def test_vacancies_and_substitutions_are_counted():
    crystal = bulk("NaCl", "rocksalt", 5.6).repeat(3)
    changed, columns = apply(crystal, vacancies={"Na": 2}, substitute={"Cl": {"Br": 3, "I": 1}})
    symbols = list(changed.symbols)
    assert [symbols.count(s) for s in ("Na", "Cl", "Br", "I")] == [25, 23, 3, 1]
    assert columns["na_vacancies"].value == 2
    assert columns["na_vacancy_rate"].value == pytest.approx(2 / 27)
    assert columns["br_on_cl"].value == 3
    assert columns["i_on_cl_rate"].value == pytest.approx(1 / 27)


def test_rates_and_poisson_means_are_those_asked_for():
    crystal = bulk("NaCl", "rocksalt", 5.6).repeat(3)
    rate = [
        apply(crystal, k, substitute={"Na": {"K": 0.2}})[1]["k_on_na"].value for k in range(300)
    ]
    mean = [
        apply(crystal, k, vacancies={"Cl": {"poisson": 1.5}})[1]["cl_vacancies"].value
        for k in range(300)
    ]
    # Five standard errors of a binomial and of a Poisson distribution.
    assert abs(np.mean(rate) - 27 * 0.2) < 5 * np.sqrt(27 * 0.2 * 0.8 / 300)
    assert abs(np.mean(mean) - 1.5) < 5 * np.sqrt(1.5 / 300)
    assert abs(np.var(mean) - 1.5) < 0.6


def test_standard_cells():
    cubic = bulk("Si", cubic=True).repeat((1, 2, 1))
    assert len(standardized(cubic, "primitive")) == 2
    assert len(standardized(cubic, "conventional")) == 8
    with pytest.raises(DataError, match="three directions"):
        standardized(graphene("BN", a=2.51), "primitive")


def test_periodicity_and_vacuum():
    """A layer out of a file that says it is periodic in three directions."""
    layer = graphene("BN", a=2.51, vacuum=7.5)
    layer.pbc = True
    changed, _ = apply(layer, pbc=(True, True, False), vacuum=5.0)
    assert changed.pbc.tolist() == [True, True, False]
    assert changed.cell.lengths()[2] == pytest.approx(10.0)
    with pytest.raises(DataError, match="all three directions are periodic"):
        apply(layer, vacuum=5.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"vacancies": {"Xx": 1}}, "no element 'Xx'"),
        ({"substitute": {"Si": {"Q": 1}}}, "no element 'Q'"),
        ({"vacancies": {"Si": -1}}, "greater than or equal to 0"),
        ({"vacancies": {"Si": 1.5}}, "less than or equal to 1"),
        ({"size": (0, 1, 1)}, "greater than 0"),
        ({"size": (2, 2)}, "three numbers of cells"),
        ({"size": "large"}, "three numbers of cells"),
        ({"size": [[1, 0, 0], [0, 1], [0, 0, 1]]}, "three numbers of cells"),
        ({"cells": (4, 3)}, "ascend"),
        ({"strain": 0.7}, "less than 0.5"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        Transformations(**options)


def test_what_is_not_there_cannot_be_changed():
    silicon = bulk("Si")
    with pytest.raises(DataError, match="no Ge in Si2"):
        apply(silicon, vacancies={"Ge": 1})
    with pytest.raises(DataError, match="3 atoms are asked for, but there are 2"):
        apply(silicon, substitute={"Si": {"Ge": 3}})
    with pytest.raises(DataError, match="all 2 atoms"):
        apply(silicon, vacancies={"Si": 2})
    with pytest.raises(DataError, match="no volume"):
        apply(silicon, size=[[1, 1, 0], [1, 1, 0], [0, 0, 1]])


def test_displacements_have_the_deviation_asked_for():
    atoms = Atoms("Ar400", positions=np.zeros((400, 3)))
    moved, _ = apply(atoms, rattle=0.1)
    # 1200 components: the deviation of their deviation is 0.1 / √2400.
    assert abs(moved.positions.std() - 0.1) < 5 * 0.1 / np.sqrt(2400)
