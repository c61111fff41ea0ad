"""The shallow ensemble about a trained network: last layers from their posterior, and how far their spread is off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from gh_tools.console import track
from gh_tools.model.ensemble import of_last_layers, with_last_layers
from gh_tools.model.last_layer import GRAMS, draw_last_layers
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.runtime import compiler_options
from gh_tools.training.objective.validation import Validation


class ShallowEnsemble(NamedTuple):
    """What `shallow_ensemble` gives.

    Attributes:
        last_layers: weights of the members' last layers by name, with a leading axis.
        calibration: what the deviation of the members is multiplied with.
    """

    last_layers: dict[str, Any]
    calibration: Calibration


def shallow_ensemble(
    network: nn.Module,
    params: Any,
    graphs: Iterable[Any],
    n_graphs: int,
    validation: Validation,
    members: int,
    seed: int,
) -> ShallowEnsemble:
    """Draw the last layers of a shallow ensemble, and calibrate its spread.

    Args:
        network: what was trained.
        params: its weights.
        graphs: of the training set, in batches of few sizes.
        n_graphs: how many.
        validation: the validation part.
        members: how many, two at least.
        seed: of the random numbers.
    """

    def grams_of(params: Any, graph: Any) -> Any:
        return network.apply(params, graph, mutable=[GRAMS])[1][GRAMS]

    compiled = jax.jit(grams_of, compiler_options=compiler_options())
    grams: Any = None
    for graph in track(graphs, "drawing last layers", n_graphs):
        # In double precision on the host: sums of many squares.
        found = jax.tree.map(lambda one: np.asarray(one, float), compiled(params, graph))
        grams = found if grams is None else jax.tree.map(np.add, grams, found)
    last_layers = draw_last_layers(network, params, grams, members, seed)
    predict = jax.jit(
        of_last_layers(network.apply, params, last_layers), compiler_options=compiler_options()
    )
    every = jax.device_put(with_last_layers(params, last_layers))
    return ShallowEnsemble(last_layers, validation.calibration(every, predict))
