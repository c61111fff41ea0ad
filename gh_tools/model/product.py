"""The product that raises the body order of atoms' features."""

from __future__ import annotations

from functools import lru_cache

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.dense import DegreeDense
from gh_tools.orbitals.order import clebsch_gordan


class Product(nn.Module):
    """Feature-wise tensor product of two linear maps of tensors.

    The weights of paths are in the linear maps of what goes in and of what comes out, so that the
    Clebsch-Gordan coefficients are one constant matrix for all features.

    Attributes:
        features: number of tensors and of pseudotensors that come out.
    """

    features: int

    @nn.compact
    def __call__(
        self, tensors: Float[Array, "atoms lm tensors"]
    ) -> tuple[Float[Array, "atoms lm features"], Float[Array, "atoms lm features"]]:
        """Return tensors and pseudotensors."""
        n_atoms, size, _ = tensors.shape
        factors = DegreeDense(2 * self.features, use_bias=False, name="factors")(tensors[:, None])
        a, b = jnp.split(factors[:, 0].swapaxes(1, 2), 2, axis=1)
        outer = (a[:, :, :, None] * b[:, :, None, :]).reshape(n_atoms * self.features, size**2)
        matrix = jnp.asarray(_coefficients(round(size**0.5) - 1), tensors.dtype)
        out = (outer @ matrix).reshape(n_atoms, self.features, 2 * size).swapaxes(1, 2)
        return out[:, :size], out[:, size:]


@lru_cache(maxsize=8)
def _coefficients(max_degree: int) -> Float[np.ndarray, "products out"]:
    """Coefficients from products of components to tensors, then to pseudotensors."""
    size = (max_degree + 1) ** 2
    table = np.zeros((size, size, 2 * size))
    block = [slice(degree**2, (degree + 1) ** 2) for degree in range(max_degree + 1)]
    for l1 in range(max_degree + 1):
        for l2 in range(max_degree + 1):
            for l3, coefficients in clebsch_gordan(l1, l2).items():
                if l3 <= max_degree:
                    start = size * ((l1 + l2 + l3) % 2)
                    out = slice(start + l3**2, start + (l3 + 1) ** 2)
                    table[block[l1], block[l2], out] = coefficients
    return table.reshape(size**2, -1)
