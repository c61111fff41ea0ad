"""Environments of known distributions: who is told, how often, and what is stored."""

import numpy as np
import pytest
from scipy.stats import gumbel_r, mannwhitneyu

from gh_tools.trained_model.environments import (
    BYTES,
    FALSE_POSITIVES,
    FARTHEST,
    Environments,
    Known,
    farthest_points,
)

WIDTH = 30


def drawn(rng, n, mean=0.0, n_atoms=12, elements=(5, 7)):
    """Structures whose invariants are a mixture: each element has two clusters along a few directions of its own."""
    structures = []
    for _ in range(n):
        numbers = rng.choice(elements, n_atoms)
        where = np.random.default_rng(0).normal(size=(4, 6, WIDTH))
        found = np.zeros((n_atoms, WIDTH))
        for row, z in enumerate(numbers):
            directions = where[int(z) % 4]
            cluster = rng.integers(2) * 3.0
            found[row] = rng.normal(size=6) @ directions + cluster * directions[0] + mean
        structures.append((numbers, found + 0.01 * rng.normal(size=found.shape)))
    return structures


@pytest.fixture(scope="module")
def environments():
    rng = np.random.default_rng(0)
    return Environments.of(drawn(rng, 60), drawn(rng, 10))


def largest(environments, structures):
    return np.array([environments.scores(z, x, len(z)).max() for z, x in structures])


def test_structures_of_the_mixture_are_told_as_seldom_as_stated(environments):
    scores = largest(environments, drawn(np.random.default_rng(1), 500))
    # 10 of 500 are expected, the limit itself is known to a factor of two or so of this from 70 structures.
    assert np.mean(scores > 1) <= 3 * FALSE_POSITIVES
    assert np.median(scores) > 0.4  # and the limit is not far off


def test_larger_structures_have_a_wider_limit_and_are_told_as_seldom(environments):
    scores = largest(environments, drawn(np.random.default_rng(2), 60, n_atoms=240))
    assert np.mean(scores > 1) <= 5 * FALSE_POSITIVES
    assert environments.limit(240) > environments.limit(12) == environments.limit(3)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_what_leaves_the_mixture_along_an_unused_direction_is_told(environments, shift):
    """Within the span the mixture varies by units, across it by hundredths: a shift of all invariants leaves it."""
    rng = np.random.default_rng(3)
    inside = largest(environments, drawn(rng, 60))
    outside = largest(environments, drawn(rng, 60, mean=shift))
    assert mannwhitneyu(outside, inside).statistic / (60 * 60) > 0.95


def test_the_limit_is_the_quantile_of_gumbels_distribution():
    left_out = gumbel_r.rvs(3.0, 0.4, size=50_000, random_state=0)
    known = Environments({}, left_out, 10.0)
    for part, n_atoms in ((0.02, 10), (0.02, 100), (0.2, 10)):
        assert known.limit(n_atoms, part) == pytest.approx(
            gumbel_r.isf(part / (n_atoms / 10), 3.0, 0.4), rel=0.01
        )


def test_one_atom_outside_is_enough_and_is_the_one_that_is_named(environments):
    ((numbers, invariants),) = drawn(np.random.default_rng(4), 1)
    invariants[5] += 3.0
    scores = environments.scores(numbers, invariants, len(numbers))
    assert np.flatnonzero(scores > 1).tolist() == [5]


def test_an_element_that_training_lacks_is_as_far_as_can_be(environments):
    assert environments.scores(np.array([6]), np.zeros((1, WIDTH)), 1).tolist() == [FARTHEST]


def test_copies_of_one_structure_have_a_limit_above_rounding():
    one = drawn(np.random.default_rng(5), 1)
    known = Environments.of(one * 5)
    numbers, invariants = one[0]
    assert known.scores(numbers, invariants + 1e-5, len(numbers)).max() < 1
    assert known.scores(numbers, invariants + 1.0, len(numbers)).max() > 1


def test_too_few_structures_tell_nothing():
    assert (
        Environments.of(drawn(np.random.default_rng(6), 1), drawn(np.random.default_rng(7), 1))
        is None
    )


def test_they_survive_the_store_in_few_bytes():
    rng = np.random.default_rng(8)
    elements = tuple(range(5, 14))
    many = [(z, np.hstack([x] * 8)) for z, x in drawn(rng, 40, n_atoms=300, elements=elements)]
    known = Environments.of(many)
    arrays = known.to_arrays()
    assert sum(array.nbytes for array in arrays.values()) < BYTES + 10_000
    again = Environments.from_arrays(arrays | {"domain/elements/number": np.array(elements)})
    numbers, invariants = many[0]
    mine = known.scores(numbers, invariants, 300)
    np.testing.assert_allclose(again.scores(numbers, invariants, 300), mine, rtol=1e-3, atol=1e-3)


def test_whitened_coordinates_keep_all_of_a_distance():
    """Without a floor to speak of, and with all directions kept, the distance is Mahalanobis'."""
    rng = np.random.default_rng(9)
    points = rng.normal(size=(500, 4)) @ np.diag([3.0, 2.0, 2.0, 2.5])
    known = Known.of(points, 10**6)
    covariance = np.cov(points.T, bias=True)
    floor = 1e-2 * np.linalg.eigvalsh(covariance).max()
    inverse = np.linalg.inv(covariance + floor * np.eye(4))
    new = rng.normal(size=(20, 4))
    off = new[:, None] - points
    expected = np.sqrt(np.einsum("nmi,ij,nmj->nm", off, inverse, off)).min(axis=1)
    np.testing.assert_allclose(known.distances(new), expected, rtol=1e-6)


def test_farthest_points_are_those_of_an_exhaustive_search():
    rng = np.random.default_rng(10)
    points = rng.normal(size=(40, 3))
    chosen = farthest_points(points, 6).tolist()
    for n in range(1, 6):
        nearest = np.linalg.norm(points[:, None] - points[chosen[:n]], axis=2).min(axis=1)
        assert chosen[n] == nearest.argmax()
    start = points[:5]
    first = farthest_points(points, 1, start)[0]
    assert first == np.linalg.norm(points[:, None] - start, axis=2).min(axis=1).argmax()
