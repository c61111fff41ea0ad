"""Non-linearity of atoms' features: scalars decide how much of all others passes."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.atom_dense import AtomDense
from gh_tools.model.initial import matrices


class GatedDense(nn.Module):
    """Linear maps of tensors and pseudotensors, times gates that scalars and the element set.

    y_lm = (1 + g_f) W_l x_lm, plus u_f for l = 0 of tensors; g and u are a perceptron's of the scalars x_00 and the element.

    Attributes:
        features: number of tensors, and of pseudotensors, that come out.
        hidden: width of the perceptron of the scalars.
    """

    features: int
    hidden: int

    @nn.compact
    def __call__(
        self,
        tensors: Float[Array, "lm tensors atoms"],
        pseudotensors: Float[Array, "lm pseudotensors atoms"] | None,
        species: Float[Array, "species atoms"],
    ) -> tuple[Float[Array, "lm features atoms"], Float[Array, "lm features atoms"] | None]:
        """Return tensors and pseudotensors.

        Args:
            tensors: normalised.
            pseudotensors: normalised; None where they are not needed.
            species: one at the atom's element, else zero.
        """
        # The element is among the scalars: it serves as bias.
        scalars = jnp.concatenate([tensors[0], species])
        hidden = nn.silu(self._mapped("hidden_kernel", scalars, self.hidden))
        scalars = jnp.concatenate([hidden, species])
        count = 2 if pseudotensors is None else 3
        values = self._mapped("gates_kernel", scalars, count * self.features)
        update, *gates = jnp.split(values, count)
        first = (jnp.arange(len(tensors)) == 0)[:, None, None]
        tensors = AtomDense(self.features, name="tensors")(tensors) * (1.0 + gates[0])
        tensors += jnp.where(first, update, 0.0)
        if pseudotensors is not None:
            mapped = AtomDense(self.features, name="pseudotensors")(pseudotensors)
            pseudotensors = mapped * (1.0 + gates[1])
        return tensors, pseudotensors

    def _mapped(self, name: str, scalars: Array, features: int) -> Array:
        return self.param(name, matrices(len(scalars)), (features, len(scalars))) @ scalars
