"""Non-linearity of atoms' features: scalars decide how much of all others passes."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.dense import DegreeDense


class GatedDense(nn.Module):
    """Linear maps of tensors and pseudotensors, times gates that scalars and the element set.

    Attributes:
        features: number of tensors, and of pseudotensors, that come out.
        hidden: width of the perceptron of the scalars.
    """

    features: int
    hidden: int

    @nn.compact
    def __call__(
        self,
        tensors: Float[Array, "atoms lm tensors"],
        pseudotensors: Float[Array, "atoms lm pseudotensors"] | None,
        species: Float[Array, "atoms species"],
    ) -> tuple[Float[Array, "atoms lm features"], Float[Array, "atoms lm features"] | None]:
        """Return tensors and pseudotensors.

        Args:
            tensors: normalised.
            pseudotensors: normalised; None where they are not needed.
            species: one at the atom's element, else zero.
        """
        # The element is among the scalars: it serves as bias.
        scalars = jnp.concatenate([tensors[:, 0], species], axis=-1)
        hidden = nn.silu(nn.Dense(self.hidden, use_bias=False, name="hidden")(scalars))
        scalars = jnp.concatenate([hidden, species], axis=-1)
        count = 2 if pseudotensors is None else 3
        gates = nn.Dense(count * self.features, use_bias=False, name="gates")(scalars)
        more, *gates = jnp.split(gates[:, None], count, axis=-1)
        tensors = self._mapped("tensors", tensors) * (1.0 + gates[0])
        tensors = jnp.concatenate([tensors[:, :1] + more, tensors[:, 1:]], axis=1)
        if pseudotensors is not None:
            pseudotensors = self._mapped("pseudotensors", pseudotensors) * (1.0 + gates[1])
        return tensors, pseudotensors

    def _mapped(self, name: str, features: Array) -> Array:
        return DegreeDense(self.features, use_bias=False, name=name)(features[:, None])[:, 0]
