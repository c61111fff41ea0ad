"""Non-linearity of atoms' features: scalars decide how much of all others passes."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.dense import DegreeDense


class GatedDense(nn.Module):
    """A linear map of tensors and one of pseudotensors, times gates that scalars and the element set.

    Attributes:
        features: number of tensors and of pseudotensors that come out.
        hidden: width of the perceptron of the scalars.
    """

    features: int
    hidden: int

    @nn.compact
    def __call__(
        self,
        tensors: Float[Array, "atoms lm tensors"],
        pseudotensors: Float[Array, "atoms lm pseudotensors"],
        species: Float[Array, "atoms species"],
    ) -> tuple[Float[Array, "atoms lm features"], Float[Array, "atoms lm features"]]:
        """Return tensors and pseudotensors.

        Args:
            tensors: normalised.
            pseudotensors: normalised.
            species: one at the atom's element, else zero.
        """
        scalars = jnp.concatenate([tensors[:, 0], species], axis=-1)
        hidden = nn.silu(nn.Dense(self.hidden, name="hidden")(scalars))
        gates = nn.Dense(3 * self.features, name="gates")(hidden)
        of_tensors, of_pseudotensors, more = jnp.split(gates[:, None], 3, axis=-1)
        tensors, pseudotensors = (
            DegreeDense(self.features, use_bias=False, name=name)(features[:, None])[:, 0]
            for name, features in (("tensors", tensors), ("pseudotensors", pseudotensors))
        )
        tensors = tensors * (1.0 + of_tensors)
        tensors = jnp.concatenate([tensors[:, :1] + more, tensors[:, 1:]], axis=1)
        return tensors, pseudotensors * (1.0 + of_pseudotensors)
