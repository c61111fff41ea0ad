"""Structures of very different sizes: few programs, each compiled once."""

from __future__ import annotations

import logging

import jax
import numpy as np
import pytest
from ase.build import make_supercell

from gh_tools.training.data.batches import make_buckets, sizes_of
from gh_tools.training.loop import Training
from tests.orbitals.tables import random_hamiltonian


@pytest.fixture(scope="module")
def mixed(samples, maker, inputs):
    """Two samples of 3 atoms, and two of 12 that are as good for counting programs."""
    cell = inputs.readers[0].structures.atoms[0]
    large = [
        random_hamiltonian(make_supercell(cell, np.diag([2, 2, 1])), inputs.basis, seed)
        for seed in range(2)
    ]
    return [*samples[:2], *(maker.labelled(maker(label, "large"), label) for label in large)]


def test_sizes_of_different_structures_are_kept_apart(mixed):
    sizes = np.repeat(sizes_of(mixed), [20, 20, 1, 1], axis=0)
    buckets = make_buckets(sizes, batch_size=1, count=4)
    assert [len(bucket.members) for bucket in buckets] == [40, 2]
    padded = sum(len(bucket.members) * sum(bucket.size[1:]) for bucket in buckets)
    assert padded < 1.1 * sizes[:, 1:].sum()
    # Alike, they share a program, however many are allowed.
    assert len(make_buckets(sizes[:40], batch_size=1, count=4)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_other_division_pads_less(seed):
    """Against all divisions of the sizes into as many intervals."""
    from itertools import combinations

    rng = np.random.default_rng(seed)
    sizes = np.zeros((30, 3), dtype=int)
    sizes[:, 2] = rng.choice(100 * rng.integers(1, 30, 9), 30)
    buckets = make_buckets(sizes, batch_size=1, count=3)
    rows = sizes[:, 2]

    def padded(bounds):
        return np.array(bounds)[np.searchsorted(bounds, rows)].sum()

    values = np.unique(rows).tolist()
    least = min(
        padded([*below, values[-1]]) for below in combinations(values[:-1], len(buckets) - 1)
    )
    assert sum(len(bucket.members) * bucket.size[2] for bucket in buckets) == least


def test_nothing_compiles_behind_the_first_epoch(mixed, maker, make_config, tmp_path):
    config = make_config(epochs=3, data={"batch_size": 1})
    training = Training(config, maker.layout, mixed, mixed[1:3], tmp_path)
    compiled: list[tuple[int, str]] = []

    class Listener(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("Compiling"):
                compiled.append((training.progress.epoch, record.getMessage()))

    listener, logger = Listener(), logging.getLogger("jax")
    logger.addHandler(listener)
    try:
        with jax.log_compiles():
            training.run()
    finally:
        logger.removeHandler(listener)
    steps = [text for _, text in compiled if "jit(step)" in text]
    assert len(steps) == 2
    assert [text for epoch, text in compiled if epoch > 0] == []
