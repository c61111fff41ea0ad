"""Division of atoms into domains."""

import numpy as np
import pytest

from gh_tools.orbitals.partition import divide


@pytest.fixture(scope="module")
def positions():
    return np.random.default_rng(0).uniform(size=(1000, 3)) * [100, 20, 5]


@pytest.mark.parametrize("limit", [0.5, 7.0, 100.0, 1e4])
def test_each_atom_is_in_one_domain_of_bounded_weight(positions, limit):
    weight = np.random.default_rng(1).uniform(0.5, 1.0, size=1000)
    domains = divide(positions, weight, limit)
    np.testing.assert_array_equal(np.sort(np.concatenate(domains)), np.arange(1000))
    for domain in domains:
        assert np.all(np.diff(domain) > 0)
        assert weight[domain].sum() <= limit or len(domain) == 1
    if limit == 100.0:
        # 750 in all: not many more than 7.5
        assert len(domains) <= 10


def test_domains_are_compact_and_do_not_depend_on_the_order_of_atoms(positions):
    domains = divide(positions, np.ones(1000), 50.0)
    # 20 domains of a box of 100 x 20 x 5: none is longer than a third of it
    assert max(np.ptp(positions[d, 0]) for d in domains) < 33
    order = np.random.default_rng(2).permutation(1000)
    again = divide(positions[order], np.ones(1000), 50.0)
    assert {frozenset(order[d]) for d in again} == {frozenset(d) for d in domains}


def test_atoms_in_one_place_are_divided_too():
    assert [len(d) for d in divide(np.zeros((8, 3)), np.ones(8), 2.0)] == [2, 2, 2, 2]
