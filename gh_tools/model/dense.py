"""Linear maps of equivariant features."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.radial import degree_matrix


class DegreeDense(nn.Module):
    """A linear map of features with a matrix for each parity and degree.

    The same map as ``e3x.nn.Dense``, whose ten matrices are one parameter here: compiling what
    draws and updates parameters takes a time that goes with their number.

    Attributes:
        features: number of features that come out.
        use_bias: whether to add a bias to true scalars, the only features that may have one.
    """

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "rows parity lm features"]
    ) -> Float[Array, "rows parity lm out"]:
        """Return W_{parity, l} x_lm, plus a bias for true scalars."""
        n_parities, n_components, width = inputs.shape[-3:]
        n_degrees = round(n_components**0.5)
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=(0, 1)),
            (n_parities, n_degrees, width, self.features),
        )
        broadcast = jnp.einsum("ml,plfg->pmfg", degree_matrix(n_degrees - 1), kernel)
        out = jnp.einsum("...pmf,pmfg->...pmg", inputs, broadcast)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            out = out.at[..., 0, 0, :].add(bias)
        return out
