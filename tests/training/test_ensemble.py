"""Ensembles: members that learn side by side as each would alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gh_tools.errors import UsageError
from gh_tools.trained_model.store import LoadedModel
from gh_tools.training.parent import continue_from


@pytest.fixture(scope="module")
def training(make_training, make_config):
    return make_training(make_config(epochs=3, ensemble=2, ema=0.5))


@pytest.fixture(scope="module")
def members_before(training):
    return [
        jax.tree.map(lambda leaf, own=own: np.array(leaf[own]), training.state[:3])
        for own in (0, 1)
    ]


@pytest.fixture(scope="module")
def outcome(training, members_before):
    return training.run()


def test_members_start_apart_and_each_learns_as_alone(
    members_before, outcome, make_training, make_config
):
    first, second = members_before
    assert max(jax.tree.leaves(jax.tree.map(lambda a, b: abs(a - b).max(), first, second))) > 0.01
    alone = make_training(make_config(epochs=3, ema=0.5))
    params, optimizer, average = second
    alone.state = alone.state._replace(params=params, optimizer=optimizer, average=average)
    alone.run()
    last = jax.tree.map(lambda leaf: np.asarray(leaf[1]), outcome.params["hamiltonian"])
    # The same operations; only what the compiler fuses differs, in single precision.
    for weights, wanted in zip(
        jax.tree.leaves(last), jax.tree.leaves(alone.best["hamiltonian"]), strict=True
    ):
        np.testing.assert_allclose(weights, wanted, rtol=1e-3, atol=1e-4)


def test_the_mean_is_judged_and_the_deviation_calibrated(training, outcome):
    weights = outcome.params["hamiltonian"]
    assert (
        outcome.metrics["hamiltonian"] == training.validation.measure(weights, False)["hamiltonian"]
    )
    alone = [
        training.validation.measure(
            jax.tree.map(lambda leaf, own=own: np.stack([leaf[own]] * 2), weights), False
        )["hamiltonian"]
        for own in (0, 1)
    ]
    # The error of a mean is at most the mean of errors.
    assert outcome.metrics["hamiltonian"] <= np.mean(alone) + 1e-9
    assert set(outcome.calibration.spectra) == {"shift", "eigenvalues"}
    factors = [*outcome.calibration.onsite.values(), *outcome.calibration.pairs.values()]
    assert all((factor > 0).all() for factor in factors)
    assert outcome.last_layers == {}


def test_equal_members_have_nothing_to_calibrate(training, outcome):
    equal = jax.tree.map(lambda leaf: np.stack([leaf[0]] * 2), outcome.params["hamiltonian"])
    found = training.validation.calibration(equal)
    assert found.spectra == {"shift": 1.0, "eigenvalues": 1.0}


def test_a_parent_of_another_size_is_refused(inputs, make_config, tmp_path):
    parent = LoadedModel(make_config(ensemble=2), inputs.basis, None, {}, {}, None)
    with pytest.raises(UsageError, match="ensemble: expected 2"):
        continue_from(inputs, tmp_path, parent, make_config())
