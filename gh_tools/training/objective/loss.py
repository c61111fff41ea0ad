"""What training minimises."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.training.config import LossConfig
from gh_tools.training.objective.eigenvalues import first_order_errors

_TINY = 1e-12  # under the root, so that its gradient is finite where the error vanishes


def rmse_and_mae(
    error: Float[Array | np.ndarray, "rows components"],
    weight: Float[Array | np.ndarray, "rows components"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the weighted root mean square and mean absolute error.

    Args:
        error: predicted less reference.
        weight: zero where a component does not exist or a row is padding.

    Returns:
        Both errors; zero where no weight is.
    """
    total = jnp.maximum(weight.sum(), _TINY)
    rmse = jnp.sqrt((weight * error**2).sum() / total + _TINY)
    return rmse, (weight * jnp.abs(error)).sum() / total


def hamiltonian_loss(prediction, batch, config: LossConfig) -> Float[Array, ""]:
    """Compare predicted with reference irreps.

    loss = w_pairs (a RMSE + b MAE)_pairs + w_onsite (a RMSE + b MAE)_onsite
    + w_eigenvalues (a RMSE + b MAE)_eigenvalues

    Args:
        prediction: the model's ``Prediction``: scaled irreps.
        batch: a :class:`~gh_tools.training.data.batches.Batch`, which brings references and weights.
        config: the weights w, a and b.

    Returns:
        The loss, which padding does not change.
    """
    loss: Any = 0.0
    for part, predicted, reference, weight in (
        (config.onsite, prediction.onsite, batch.onsite, batch.onsite_weight),
        (config.pairs, prediction.pairs, batch.pairs, batch.pairs_weight),
    ):
        rmse, mae = rmse_and_mae(predicted - reference, weight)
        loss += part * (config.rmse * rmse + config.mae * mae)
    if config.eigenvalues:
        rmse, mae = rmse_and_mae(*first_order_errors(prediction, batch))
        loss += config.eigenvalues * (config.rmse * rmse + config.mae * mae)
    return loss
