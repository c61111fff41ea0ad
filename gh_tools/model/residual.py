"""The residual dense layers in front of a readout."""

from __future__ import annotations

import e3x
import flax.linen as nn
from jaxtyping import Array, Float

from gh_tools.model.config import MLPConfig
from gh_tools.model.dense import DegreeDense


class ResidualDense(nn.Module):
    """Dense layers with a gated non-linearity between them, beside a linear connection.

    Attributes:
        config: sizes and activation.
    """

    config: MLPConfig

    @nn.compact
    def __call__(
        self, features: Float[Array, "rows parity lm features"]
    ) -> Float[Array, "rows parity lm hidden"]:
        """Return features as many as the last layer has."""
        activation = getattr(e3x.nn, self.config.activation)
        hidden = DegreeDense(self.config.layers[0])(features)
        for width in self.config.layers[1:]:
            hidden = DegreeDense(width)(activation(hidden))
        return hidden + DegreeDense(self.config.layers[-1], use_bias=False)(features)
