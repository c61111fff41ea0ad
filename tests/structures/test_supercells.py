"""Supercells: their number, their lattices, their compactness, and that they are the same crystal."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.geometry import get_distances, minkowski_reduce

from gh_tools.errors import DataError
from gh_tools.structures.supercells import (
    compact_supercells,
    hermite_normal_forms,
    primitive_counts,
    random_supercell,
    supercell,
)


@pytest.mark.parametrize("index", range(1, 13))
def test_the_number_of_sublattices_is_the_known_one(index):
    # One dimension: one. Two: the sum of divisors. Three: the sum of d σ(d) over divisors d (OEIS A001001).
    divisors = [d for d in range(1, index + 1) if index % d == 0]
    sigma = {n: sum(d for d in range(1, n + 1) if n % d == 0) for n in divisors}
    assert len(hermite_normal_forms(index, 1)) == 1
    assert len(hermite_normal_forms(index, 2)) == sum(divisors)
    assert len(hermite_normal_forms(index, 3)) == sum(d * sigma[d] for d in divisors)


def lattice(form):
    """Points of a two-dimensional sublattice near the origin, as a set: the same for all of its bases."""
    inverse = np.linalg.inv(form)
    grid = np.array([(i, j) for i in range(-6, 7) for j in range(-6, 7)])
    coordinates = grid @ inverse
    return frozenset(map(tuple, grid[np.abs(coordinates - np.rint(coordinates)).max(1) < 1e-9]))


def test_every_sublattice_is_there_once():
    assert len({lattice(form) for form in hermite_normal_forms(6, 2)}) == 12


@pytest.mark.parametrize("crystal", [bulk("Si"), graphene("BN", a=2.51, vacuum=6.0)])
def test_supercells_are_reduced_and_compact(crystal):
    vectors = crystal.cell.array[crystal.pbc]
    shapes = compact_supercells(vectors, 6)
    assert len(shapes) > 3
    lengths = []
    for shape in shapes:
        cell = np.zeros((3, 3))
        cell[: len(vectors)] = shape @ vectors
        assert abs(round(np.linalg.det(shape))) == 6
        again, _ = minkowski_reduce(cell, pbc=cell.any(1))
        found, best = (np.sort(np.linalg.norm(c, axis=1)) for c in (cell, again))
        np.testing.assert_allclose(found, best, atol=1e-9)
        lengths.append(found[found > 0].min())
    assert min(lengths) >= 0.6 * max(lengths)


@pytest.mark.parametrize(
    "crystal", [bulk("NaCl", "rocksalt", 5.6), graphene("BN", a=2.51, vacuum=6.0)]
)
def test_a_supercell_is_the_same_crystal(crystal):
    """Every atom has the neighbour distances that it had in the primitive cell."""
    crystal.pbc = crystal.cell.any(1) if crystal.pbc.all() else crystal.pbc
    rng = np.random.default_rng(1)
    large = random_supercell(crystal, 5, rng)
    assert len(large) == 5 * len(crystal)
    assert large.cell.handedness == crystal.cell.complete().handedness

    def nearest(atoms):
        repeated = atoms.repeat(tuple(np.where(atoms.pbc, 5, 1)))
        middle = repeated.positions.mean(0)
        _, to_middle = get_distances(repeated.positions, [middle])
        seen = {}
        for atom in np.argsort(to_middle[:, 0])[: len(atoms)]:
            _, d = get_distances(repeated.positions[[atom]], repeated.positions)
            seen[repeated.symbols[atom]] = np.sort(d[0])[1:7]
        return seen

    ours, theirs = nearest(large), nearest(crystal)
    assert ours.keys() == theirs.keys()
    for symbol in ours:
        np.testing.assert_allclose(ours[symbol], theirs[symbol], atol=1e-9)


def test_shapes_differ_and_repeat_with_the_seed():
    crystal = graphene("BN", a=2.51, vacuum=6.0)
    cells = [
        random_supercell(crystal, 7, np.random.default_rng(k)).cell.lengths() for k in range(8)
    ]
    assert len({tuple(np.round(np.sort(c), 6)) for c in cells}) > 1
    again = random_supercell(crystal, 7, np.random.default_rng(3)).cell.lengths()
    np.testing.assert_array_equal(again, cells[3])


def test_what_cannot_be_repeated_is_refused():
    molecule = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    with pytest.raises(DataError, match="not periodic"):
        random_supercell(molecule, 2, np.random.default_rng(0))
    layer = graphene("BN", a=2.51)
    with pytest.raises(DataError, match="no volume"):
        supercell(layer, np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    with pytest.raises(DataError, match="not periodic"):
        supercell(layer, np.diag([2, 2, 2]))
    with pytest.raises(DataError, match="no supercell has 5 to 5 atoms"):
        primitive_counts(2, (5, 5))
    assert list(primitive_counts(3, (8, 13))) == [3, 4]
    assert not supercell(layer, np.diag([2, 1, 1])).cell.array[2].any()
