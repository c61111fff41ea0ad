"""Normalisation of equivariant features."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.radial import degree_matrix


class SoftNorm(nn.Module):
    """Divide each row's features of one parity and degree by their root mean square.

    y_lm,f = s_l,f x_lm,f / sqrt(mean_m,f x² + ε)

    A row is an atom or a pair, and nothing but the row enters. With ε under the root, features that
    vanish by symmetry stay small instead of becoming noise of order one, and the gradient at zero is
    finite.

    Attributes:
        epsilon: ε.
    """

    epsilon: float

    @nn.compact
    def __call__(
        self, features: Float[Array, "rows parity lm features"]
    ) -> Float[Array, "rows parity lm features"]:
        """Return the normalised features."""
        n_degrees = round(features.shape[-2] ** 0.5)
        scale = self.param(
            "scale", nn.initializers.ones, (features.shape[-3], n_degrees, features.shape[-1])
        )
        matrix = degree_matrix(n_degrees - 1)
        power = jnp.mean(features**2, axis=-1)
        mean_square = jnp.einsum("...m,ml->...l", power, matrix / matrix.sum(axis=0))
        factor = scale / jnp.sqrt(mean_square + self.epsilon)[..., None]
        return features * jnp.einsum("ml,...lf->...mf", matrix, factor)
