"""Seeds, numbers and retries: what holds for every random recipe."""

import numpy as np
import pytest
from ase import Atoms

from gh_tools.errors import DataError
from gh_tools.structures.generate import generate
from gh_tools.structures.recipe import BuiltStructure, Recipe, RecipeConfig
from gh_tools.structures.recipes.wse2 import WSe2Config
from gh_tools.structures.registry import get_recipe

WSE2 = get_recipe("wse2")
SMALL = WSe2Config(size=(2, 1))


def same(a, b):
    return a.numbers.tolist() == b.numbers.tolist() and np.array_equal(a.positions, b.positions)


def test_same_seed_same_structures_and_another_seed_others():
    one, two, other = (generate(WSE2, SMALL, 4, seed) for seed in (7, 7, 8))
    assert all(map(same, one.atoms, two.atoms))
    assert not any(map(same, one.atoms, other.atoms))
    assert one.names == two.names and not set(one.names) & set(other.names)
    assert not same(one.atoms[0], one.atoms[1])


def test_a_structure_does_not_depend_on_how_many_are_made():
    few, many = generate(WSE2, SMALL, 2), generate(WSE2, SMALL, 6)
    assert all(map(same, few.atoms, many.atoms))
    assert many.names == [f"wse2-s0-{k:04d}" for k in range(6)]
    np.testing.assert_array_equal(
        few.columns["strain_x"].values, many.columns["strain_x"].values[:2]
    )


def test_too_close_structures_are_drawn_again():
    def build(config, rng, index):
        return BuiltStructure(Atoms("H2", [[0, 0, 0], [0, 0, rng.uniform(0.0, 1.0)]]))

    config = RecipeConfig(recipe="h2", minimum_distance=0.8)
    found = generate(Recipe("h2", "", RecipeConfig, build), config, 50)
    distance = np.array([atoms.get_distance(0, 1) for atoms in found.atoms])
    # 0.8 of twice the covalent radius of H, 0.31 Å; without redrawing, half would be below.
    assert distance.min() >= 0.8 * 0.62
    assert np.ptp(distance) > 0.3


def test_a_recipe_that_never_fits_says_so():
    with pytest.raises(DataError, match=r"wse2-s0-0000: atoms .* apart"):
        generate(WSE2, WSe2Config(size=(3, 3), rattle=1.5), 1)
