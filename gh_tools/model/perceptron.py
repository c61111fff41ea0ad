"""The two-layer perceptron with a residual connection that refines atoms and pairs."""

from __future__ import annotations

import e3x
import flax.linen as nn
from jaxtyping import Array, Float

from gh_tools.model.dense import DegreeDense
from gh_tools.model.norm import SoftNorm


class NonlinearBlock(nn.Module):
    """x + dense(mish(norm(dense(x)))).

    Attributes:
        epsilon: of the normalisation.
    """

    epsilon: float

    @nn.compact
    def __call__(
        self, features: Float[Array, "rows parity lm features"]
    ) -> Float[Array, "rows parity lm features"]:
        """Return refined features of the same shape."""
        width = features.shape[-1]
        hidden = e3x.nn.mish(SoftNorm(self.epsilon)(DegreeDense(width)(features)))
        return features + DegreeDense(width)(hidden)
