"""The compiled training step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from gh_tools.model.ensemble import vectorised_over_members
from gh_tools.model.initial import draw_weights
from gh_tools.trained_model.runtime import compiler_options
from gh_tools.training.config import LossConfig
from gh_tools.training.data.batches import Batch
from gh_tools.training.objective.loss import hamiltonian_loss
from gh_tools.training.weights import Weights


class TrainState(NamedTuple):
    """All arrays that a step changes.

    Attributes:
        params: the weights; as all but the number of steps, with a leading axis in an ensemble.
        optimizer: the optimiser's state.
        average: moving average of the weights; empty where it is off.
        step: steps done.
    """

    params: Weights
    optimizer: Any
    average: Weights | tuple[()]
    step: Int[Array, ""]

    @property
    def evaluated(self) -> Weights:
        """The weights that are judged and stored: the average where there is one."""
        return self.average or self.params


def initial_state(
    model: Any,
    optimizer: optax.GradientTransformation,
    graph: Any,
    seed: int,
    ema: float,
    members: int = 1,
) -> TrainState:
    """Draw weights.

    Args:
        model: the network.
        optimizer: the optimiser.
        graph: any graph of the data, which tells shapes.
        seed: of the weights.
        ema: decay of the moving average of the weights; 0 for none.
        members: of an ensemble, each of which draws its own.
    """
    if members == 1:
        weights = Weights.of(draw_weights(model, graph, seed))
    else:
        seeds = np.random.SeedSequence(seed).generate_state(members).tolist()
        drawn = [draw_weights(model, graph, own) for own in seeds]
        weights = Weights.of(jax.tree.map(lambda *own: np.stack(own), *drawn), axes=1)
    return fresh_state(weights, optimizer, ema, members)


def fresh_state(
    weights: Weights, optimizer: optax.GradientTransformation, ema: float, members: int = 1
) -> TrainState:
    """Return the state of a run that starts from given weights.

    Args:
        weights: on the host.
        optimizer: the optimiser.
        ema: decay of the moving average of the weights; 0 for none.
        members: of an ensemble.
    """
    # Copies of their own: a step reuses the memory of the state.
    params = jax.device_put(replace(weights, vector=weights.vector.copy()))
    average = jax.device_put(replace(weights, vector=weights.vector.copy())) if ema else ()
    inner = jax.jit(vectorised_over_members(optimizer.init, members))(params)
    return TrainState(params, inner, average, jnp.zeros((), jnp.int32))


def make_step(
    model: Any,
    optimizer: optax.GradientTransformationExtraArgs,
    loss: LossConfig,
    ema: float,
    members: int = 1,
) -> Callable[[TrainState, Batch, float], tuple[TrainState, Float[Array, ""]]]:
    """Compile the step.

    Args:
        model: the network.
        optimizer: for a learning rate of one; its update takes the loss as ``value``.
        loss: what is minimised.
        ema: decay of the moving average of the weights. Early in the run it is (1 + t)/(10 + t) if that
            is less, so that the average does not remember the initial weights.
        members: of an ensemble, which are trained on the same batches.

    Returns:
        A function of state, batch and learning rate to the next state, in the memory of the former, and
        the loss, the members' mean.
    """

    @functools.partial(vectorised_over_members, count=members)
    def learn(own, batch: Batch, rate: Float[Array, ""], done: Int[Array, ""]):
        params, inner, average = own

        def objective(params):
            return hamiltonian_loss(model.apply(params.tree, batch.graph), batch, loss)

        value, gradient = jax.value_and_grad(objective)(params)
        updates, inner = optimizer.update(gradient, inner, params, value=value)
        updates = jax.tree.map(lambda update: rate.astype(update.dtype) * update, updates)
        params = optax.apply_updates(params, updates)
        if ema:
            decay = jnp.minimum(ema, (1.0 + done) / (10.0 + done))
            average = optax.incremental_update(params, average, 1.0 - decay)
        return (params, inner, average), value

    def step(state: TrainState, batch: Batch, rate: Float[Array, ""]):
        own, losses = learn(state[:3], batch, rate, state.step)
        params, inner, average = own
        return TrainState(params, inner, average, state.step + 1), jnp.mean(losses)

    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
