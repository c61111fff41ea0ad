"""The shallow ensemble about a trained network: last layers from their posterior, and by what factor their deviations are off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gh_tools.console import track
from gh_tools.model.ensemble import of_last_layers, with_last_layers
from gh_tools.model.last_layer import GRAMS, LastLayerPosterior
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.runtime import compiler_options
from gh_tools.training.data.batches import Batch
from gh_tools.training.objective.validation import Validation


class ShallowEnsemble(NamedTuple):
    """What `shallow_ensemble` gives.

    Attributes:
        last_layers: weights of the members' last layers by name, with a leading axis.
        calibration: what the deviation of the members is multiplied with.
        posterior: what they were drawn from.
    """

    last_layers: dict[str, Any]
    calibration: Calibration
    posterior: LastLayerPosterior


def shallow_ensemble(
    network: nn.Module,
    params: Any,
    batches: Iterable[Batch],
    n_batches: int,
    validation: Validation,
    members: int,
    seed: int,
) -> ShallowEnsemble:
    """Draw the last layers of a shallow ensemble from their posterior, and calibrate the deviations of its members.

    Args:
        network: what was trained.
        params: its weights.
        batches: of the training set, of few sizes.
        n_batches: how many.
        validation: the validation set.
        members: how many, two at least.
        seed: of the random numbers.
    """

    def sums(params: Any, batch: Batch) -> Any:
        prediction, kept = network.apply(params, batch.graph, mutable=[GRAMS])
        squares = [
            jnp.stack([jnp.sum((weight > 0) * (found - wanted) ** 2), jnp.sum(weight > 0)])
            for found, wanted, weight in (
                (prediction.onsite, batch.onsite, batch.onsite_weight),
                (prediction.pairs, batch.pairs, batch.pairs_weight),
            )
        ]
        return kept[GRAMS], squares

    compiled = jax.jit(sums, compiler_options=compiler_options())
    total: Any = None
    for batch in track(batches, "drawing last layers", n_batches):
        # In double precision on the host: sums of many squares.
        found = jax.tree.map(lambda one: np.asarray(one, float), compiled(params, batch))
        total = found if total is None else jax.tree.map(np.add, total, found)
    grams, squares = total
    onsite, pairs = (float(np.sqrt(square / max(count, 1))) for square, count in squares)
    noise = {"onsite_readout": onsite, "bond_readout": pairs, "pair_readout": pairs}
    posterior = LastLayerPosterior.of(grams, noise, members, seed)
    last_layers = posterior.draw(network, params)
    predict = jax.jit(
        of_last_layers(network.apply, params, last_layers), compiler_options=compiler_options()
    )
    every = jax.device_put(with_last_layers(params, last_layers))
    return ShallowEnsemble(last_layers, validation.calibration(every, predict), posterior)
