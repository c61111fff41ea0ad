"""The last layer of a network as a linear regression: what its weights may be, given the data.

What a network predicts is linear in the weights of its readouts, y = w · x with features x. With all other weights as they are
and a Gaussian error, the posterior of w is Gaussian (the Laplace approximation of the last layer, exact here) with a covariance
proportional to (Σ x xᵀ + prior)⁻¹, the sum over the training set. Features unlike those of the training set get large
deviations. Networks whose readouts are drawn from it are a shallow ensemble, see Bigi et al., Mach. Learn.: Sci. Technol. 5,
045018 (2024) and Kellner and Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024). How large errors are for given
deviations is learned from a validation set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float

# Collection of the Gram matrices Σ x xᵀ of readouts, by their names.
GRAMS = "grams"
# The prior's precision in units of the data's, of each feature: on h-BN and WSe2 from 1e-6 to 0.1 deviations tell errors alike.
PRIOR = 1e-3
# Of the mean over features: as much of the data as any has, at least.
_HARDLY = 1e-3


def keep_grams(network: nn.Module, name: str, grams: dict[str, jax.Array]) -> None:
    """Keep the Gram matrices of a readout in the collection `GRAMS`, where ``apply`` has it mutable.

    Args:
        network: that calls the readout.
        name: of the readout.
        grams: Σ x xᵀ of its features over a batch, by name.
    """
    if not network.is_initializing():
        # A name of its own: the readout has its own already.
        network.sow(
            GRAMS, f"{name}_grams", grams, init_fn=lambda: None, reduce_fn=lambda _, new: new
        )


def gram(
    features: Float[jax.Array, "*several features rows"], weight: Float[jax.Array, "types rows"]
) -> Float[jax.Array, "*several types features features"]:
    """Return the Gram matrices Σ_r w_tr x_r x_rᵀ of each type t, sums over rows r.

    Args:
        features: x; of several orders or degrees at once, because each product is a program to compile.
        weight: w; one at the type of each row, zero in the padding.
    """
    return (weight[:, None] * features[..., None, :, :]) @ features[..., None, :, :].swapaxes(
        -1, -2
    )


def draw_rows(
    grams: Float[np.ndarray, "*types features features"],
    shape: tuple[int, ...],
    random: np.random.Generator,
) -> Float[np.ndarray, "..."]:
    """Draw deviations of rows of weights from their posterior, in units of the noise.

    Args:
        grams: Σ x xᵀ of the features that the rows multiply.
        shape: of the rows, to which the types broadcast.
        random: where numbers come from.

    Returns:
        Of shape ``(*shape, features)``, of covariance (gram + prior)⁻¹.
    """
    diagonal = np.einsum("...ff->...f", grams)
    mean = diagonal.mean(axis=-1, keepdims=True)
    # What never occurs has deviations as what hardly does; where nothing does, nothing is drawn.
    unit = np.sqrt(np.maximum(diagonal, _HARDLY * mean))
    unit = np.where(unit > 0, unit, np.inf)
    scaled = grams / (unit[..., :, None] * unit[..., None, :])
    values, vectors = np.linalg.eigh(scaled + PRIOR * np.eye(grams.shape[-1]))
    root = vectors / np.sqrt(np.maximum(values, PRIOR))[..., None, :] / unit[..., :, None]
    normal = random.standard_normal((*shape, grams.shape[-1]))
    return (root @ normal[..., None])[..., 0]


def draw_last_layers(
    network: nn.Module,
    params: dict[str, Any],
    grams: dict[str, Any],
    noise: Mapping[str, float],
    count: int,
    seed: int,
) -> dict[str, Any]:
    """Draw the weights of the readouts of a shallow ensemble from their posterior.

    Args:
        network: what has them.
        params: its weights; those of the readouts are the mean of what is drawn.
        grams: what `keep_grams` kept, summed over the training set.
        noise: root mean square error of what each readout gives, on the training set.
        count: of members, two at least.
        seed: of the random numbers.

    Returns:
        Weights of each readout by its name, with a leading axis of members.
    """
    random = np.random.default_rng(seed)
    bound = network.bind(params)
    drawn = {}
    for key, matrices in sorted(grams.items()):
        name = key.removesuffix("_grams")
        mean = jax.tree.map(np.asarray, params["params"][name])
        drawn_rows = getattr(bound, name).draw(mean, matrices, count, random)
        deviations = jax.tree.map(lambda rows, of=noise[name]: of * rows, drawn_rows)
        drawn[name] = jax.tree.map(_about, mean, deviations)
    return drawn


def _about(mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return weights whose mean is the given one."""
    return np.asarray(mean + deviations - deviations.mean(axis=0), np.asarray(mean).dtype)
