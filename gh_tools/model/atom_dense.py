"""Linear maps and norms of atoms' features, with atoms as the last axis.

Features of few atoms are small arrays, for which the number of operations is what costs: components
come first, so that one batched product of matrices maps all degrees without rearrangement.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.initial import matrices
from gh_tools.model.radial import degree_matrix


def broadcast(weights: Float[Array, "degrees ..."]) -> Float[Array, "lm ..."]:
    """Give each component what its degree has."""
    matrix = jnp.asarray(degree_matrix(len(weights) - 1), weights.dtype)
    return (matrix @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])


class AtomDense(nn.Module):
    """A linear map with a matrix for each degree.

    Attributes:
        features: number of features that come out.
    """

    features: int

    @nn.compact
    def __call__(self, inputs: Float[Array, " lm in atoms"]) -> Float[Array, "lm out atoms"]:
        """Map the features."""
        width = inputs.shape[1]
        shape = (round(len(inputs) ** 0.5), self.features, width)
        return broadcast(self.param("kernel", matrices(width), shape)) @ inputs


def soft_norm(
    features: Float[Array, "rows features atoms"], max_degree: int, epsilon: float
) -> Float[Array, "rows features atoms"]:
    """Divide each atom's features of one part and degree by their root mean square.

    y_lm,f = x_lm,f / sqrt(mean_m,f x² + ε), as in :class:`~gh_tools.model.norm.SoftNorm`, but without
    weights: the linear maps behind it have them.

    Args:
        features: one part, or several behind each other, such as tensors and pseudotensors.
        max_degree: of each part.
        epsilon: ε.
    """
    matrix = degree_matrix(max_degree)
    mean = matrix / matrix.sum(axis=0) @ matrix.T
    power = jnp.mean(features**2, axis=1).reshape(-1, len(mean), features.shape[2])
    factor = 1.0 / jnp.sqrt(jnp.asarray(mean, features.dtype) @ power + epsilon)
    return features * factor.reshape(len(features), 1, -1)
