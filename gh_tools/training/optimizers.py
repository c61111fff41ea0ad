"""Optimisers and learning rates from their configurations.

The optimiser is built for a learning rate of one and the training step multiplies what it returns by the
present rate: rates are then arguments of the compiled step, and none is compiled in.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gh_tools.training.config import (
    CosineConfig,
    ExponentialConfig,
    Optimizer,
    PlateauConfig,
    Schedule,
)
from gh_tools.training.weights import Weights

_LAYERWISE = {"lamb"}  # what it does to a weight depends on the norm of its array
_NOT_OPTAX = {"name", "learning_rate", "clip"}


def build_optimizer(
    optimizer: Optimizer, schedule: Schedule, steps_per_epoch: int
) -> optax.GradientTransformationExtraArgs:
    """Chain clipping, the optimiser and, where it is the schedule, the reduction on plateaus.

    Clipping comes first: an outlier must not enter the moments that the optimiser keeps. The reduction on
    plateaus is part of the chain because it listens to the loss; it averages it over an epoch.

    Args:
        optimizer: the optimiser's section.
        schedule: the schedule's section.
        steps_per_epoch: training steps that a plateau check averages over.

    Returns:
        A transformation whose updates are to be multiplied by the learning rate; its update takes
        the loss as ``value``.
    """
    make = getattr(optax, optimizer.name)
    stages = [make(1.0, **optimizer.model_dump(exclude=_NOT_OPTAX))]
    if optimizer.clip is not None:
        stages.insert(0, optax.clip_by_global_norm(optimizer.clip))
    if isinstance(schedule, PlateauConfig):
        stages.append(
            optax.contrib.reduce_on_plateau(
                factor=schedule.factor,
                patience=schedule.patience,
                rtol=schedule.rtol,
                cooldown=schedule.cooldown,
                accumulation_size=steps_per_epoch,
                min_scale=schedule.min_scale,
            )
        )
    chain = optax.chain(*stages)
    chain = optax.with_extra_args_support(chain)
    return _by_array(chain) if optimizer.name in _LAYERWISE else chain


def _by_array(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Let an optimiser see the arrays of a network instead of all weights as one."""

    def update(updates, state, params=None, **extra):
        found, state = inner.update(_divided(updates), state, _divided(params), **extra)
        if isinstance(updates, Weights):
            vector = jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(found)])
            found = updates.replace(vector=vector)
        return found, state

    return optax.GradientTransformationExtraArgs(
        lambda params: inner.init(_divided(params)), update
    )


def _divided(tree: Any) -> Any:
    return tree.tree if isinstance(tree, Weights) else tree


def learning_rate(optimizer: Optimizer, schedule: Schedule, step: int, progress: float) -> float:
    """Return the learning rate of one step, but for the reduction on plateaus.

    Args:
        optimizer: the optimiser's section, which has the highest rate.
        schedule: the schedule's section.
        step: steps done so far.
        progress: part of the run that is done, 0 to 1, in steps or in wall-clock time.

    Returns:
        The rate to multiply updates by.
    """
    rate = optimizer.learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if isinstance(schedule, CosineConfig):
        half_cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        rate *= schedule.final_scale + (1.0 - schedule.final_scale) * half_cosine
    elif isinstance(schedule, ExponentialConfig):
        rate *= schedule.final_scale**progress
    if step < schedule.warmup_steps:
        rate *= (step + 1) / schedule.warmup_steps
    return rate


def plateau_scale(state: object) -> float:
    """Return by how much plateaus have lowered the rate so far, 1 without such a schedule; mean of members."""
    for part in state if isinstance(state, tuple) else ():
        if isinstance(part, optax.contrib.ReduceLROnPlateauState):
            return float(np.mean(part.scale))
    return 1.0
