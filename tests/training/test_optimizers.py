"""Learning rates against their formulas; clipping before the optimiser; each optimiser optimises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter

from gh_tools.training.config import Optimizer, Schedule
from gh_tools.training.optimizers import build_optimizer, learning_rate, plateau_scale

CONSTANT = {"name": "constant"}


def optimizer_config(**values):
    return TypeAdapter(Optimizer).validate_python(values)


def schedule_config(**values):
    return TypeAdapter(Schedule).validate_python(values)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ({"name": "constant"}, {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
        ({"name": "reduce_on_plateau"}, {0.0: 1.0, 1.0: 1.0}),
        ({"name": "exponential", "final_scale": 0.01}, {0.0: 1.0, 0.5: 0.1, 1.0: 0.01}),
        ({"name": "cosine", "final_scale": 0.2}, {0.0: 1.0, 0.5: 0.6, 1.0: 0.2, 1.7: 0.2}),
    ],
)
def test_schedules_follow_their_formulas(schedule, at):
    optimizer = optimizer_config(name="adam", learning_rate=0.3)
    for progress, scale in at.items():
        rate = learning_rate(optimizer, schedule_config(**schedule), 1000, progress)
        assert rate == pytest.approx(0.3 * scale, rel=1e-12)


def test_warm_up_rises_linearly_to_the_highest_rate():
    optimizer = optimizer_config(name="adam", learning_rate=0.4)
    schedule = schedule_config(**CONSTANT, warmup_steps=4)
    rates = [learning_rate(optimizer, schedule, step, 0.0) for step in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_plateaus_lower_the_rate_once_an_epoch():
    """A constant loss is a plateau; with 3 steps an epoch and patience 2, the rate falls then."""
    schedule = schedule_config(name="reduce_on_plateau", factor=0.5, patience=2, cooldown=0)
    optimizer = build_optimizer(optimizer_config(name="adam"), schedule, steps_per_epoch=3)
    params = {"w": jnp.ones(2)}
    state = optimizer.init(params)
    scales = []
    for _ in range(15):
        _, state = optimizer.update(params, state, params, value=jnp.float32(1.0))
        scales.append(plateau_scale(state))
    # The first epoch sets the best value; two more without improvement make a plateau.
    assert scales[:8] == [1.0] * 8
    assert scales[8] == 0.5
    assert scales[14] == 0.25


@pytest.mark.parametrize("name", ["adan", "lamb", "adam", "adamw"])
def test_gradients_are_clipped_before_the_optimiser(name):
    """An outlier must leave the moments as a gradient of the clipped length would."""
    params = {"w": jnp.array([0.3, -0.2])}

    def last_update(clip, outlier):
        config = optimizer_config(name=name, clip=clip)
        optimizer = build_optimizer(config, schedule_config(**CONSTANT), 1)
        state = optimizer.init(params)
        for gradient in ([0.6, 0.8], [outlier, 0.0], [0.0, 1.0]):
            updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params, value=0.0)
        return updates["w"]

    clipped = last_update(2.0, 1e6)
    # Rounding of the clipped gradient, magnified by the optimisers' divisions.
    np.testing.assert_allclose(clipped, last_update(2.0, 2.0), rtol=1e-4)
    assert not np.allclose(clipped, last_update(None, 1e6), rtol=1e-2)


@pytest.mark.parametrize("name", ["adan", "lamb", "adam", "adamw"])
def test_optimisers_find_a_minimum(name):
    optimizer = build_optimizer(optimizer_config(name=name), schedule_config(**CONSTANT), 1)
    target = jnp.array([0.5, -0.3, 0.2])
    loss = lambda w: jnp.sum((w - target) ** 2)  # noqa: E731
    start = jnp.array([1.0, 1.0, 1.0])

    @jax.jit
    def run(w):
        def step(carry, rate):
            w, state = carry
            value, gradient = jax.value_and_grad(loss)(w)
            updates, state = optimizer.update(gradient, state, w, value=value)
            return (optax.apply_updates(w, rate * updates), state), value

        rates = jnp.linspace(0.05, 0.0, 300)
        return jax.lax.scan(step, (w, optimizer.init(w)), rates)[0][0]

    assert loss(run(start)) < 1e-3 * loss(start)
