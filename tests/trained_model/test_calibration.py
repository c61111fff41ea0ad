"""Factors of deviations, by component and distance, in NumPy as in JAX."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from gh_tools.trained_model.calibration import Calibration, of_ensemble

TABLE = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])


@pytest.mark.parametrize("xp", [np, jnp])
def test_factors_are_interpolated_in_the_distance(xp):
    calibration = Calibration(pairs={(1, 1): TABLE})
    scaled = xp.asarray(np.array([[[1.0, 1.0]] * 4, [[3.0, 5.0]] * 4]))
    found = calibration.calibrated_pairs((1, 1), scaled, xp.asarray(np.array([0.0, 0.5, 1.5, 9.0])))
    factors = np.array([[1, 2], [2, 2], [4, 5], [5, 8]])
    mean, half = np.array([2.0, 3.0]), np.array([1.0, 2.0])
    np.testing.assert_allclose(found, [mean - factors * half, mean + factors * half])
    # Of what it does not know it says nothing.
    assert calibration.calibrated_pairs((1, 8), scaled, xp.ones(4)) is scaled


def test_members_of_an_ensemble_have_the_deviation_that_is_told():
    blocks = np.random.default_rng(0).normal(size=(4, 5, 2, 3))
    mean, deviation, members = of_ensemble(blocks)
    assert members.shape == (4, 1, 5, 2, 3)
    np.testing.assert_allclose(members[:, 0] + mean, blocks)
    np.testing.assert_allclose(members[:, 0].std(axis=0, ddof=1), deviation)
