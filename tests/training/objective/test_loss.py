"""The loss against NumPy, and what padding may not do."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gh_tools.model.prediction import Prediction
from gh_tools.training.config import LossConfig
from gh_tools.training.objective.loss import hamiltonian_loss


class References(NamedTuple):
    """The part of a batch that the loss reads."""

    onsite: np.ndarray
    onsite_weight: np.ndarray
    pairs: np.ndarray
    pairs_weight: np.ndarray


@pytest.fixture
def case():
    random = np.random.default_rng(3)
    shapes = {"onsite": (5, 4), "pairs": (7, 6)}
    values = {name: random.normal(size=shape) for name, shape in shapes.items()}
    weights = {
        f"{name}_weight": (random.random(shape) > 0.3) * random.random(shape)
        for name, shape in shapes.items()
    }
    prediction = Prediction(*(random.normal(size=shape) for shape in shapes.values()))
    return prediction, References(**values, **weights)


def test_it_is_the_sum_of_rms_and_mean_absolute_errors(case):
    prediction, batch = case
    config = LossConfig(pairs=3.0, onsite=0.5, rmse=0.7, mae=1.3)
    expected = 0.0
    for part in ("onsite", "pairs"):
        weight = getattr(batch, f"{part}_weight")
        error = getattr(prediction, part) - getattr(batch, part)
        rms = np.sqrt(np.average(error**2, weights=weight))
        mean = np.average(np.abs(error), weights=weight)
        expected += getattr(config, part) * (0.7 * rms + 1.3 * mean)
    # float32 sums of some tens of numbers
    assert hamiltonian_loss(prediction, batch, config) == pytest.approx(expected, rel=1e-6)


def test_its_slope_is_finite_at_the_minimum(case):
    _, batch = case
    exact = Prediction(jnp.asarray(batch.onsite), jnp.asarray(batch.pairs))
    slope = jax.grad(lambda p: hamiltonian_loss(p, batch, LossConfig()))(exact)
    assert all(np.isfinite(part).all() for part in slope)


def test_nothing_to_compare_is_no_error(case):
    prediction, batch = case
    empty = batch._replace(onsite_weight=np.zeros((5, 4)), pairs_weight=np.zeros((7, 6)))
    assert float(hamiltonian_loss(prediction, empty, LossConfig())) < 1e-4
