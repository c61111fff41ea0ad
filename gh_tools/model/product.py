"""The product that raises the body order of atoms' features."""

from __future__ import annotations

from functools import lru_cache

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.atom_dense import AtomDense
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
        self, tensors: Float[Array, "lm tensors atoms"]
    ) -> Float[Array, "2*lm features atoms"]:
        """Return tensors, then pseudotensors."""
        size, _, n_atoms = tensors.shape
        factors = AtomDense(2 * self.features, name="factors")(tensors)
        a, b = jnp.split(factors.reshape(size, -1), 2, axis=1)
        outer = (a[:, None] * b[None]).reshape(size**2, -1)
        matrix = jnp.asarray(_coefficients(round(size**0.5) - 1), tensors.dtype)
        return (matrix @ outer).reshape(2 * size, self.features, n_atoms)


@lru_cache(maxsize=8)
def _coefficients(max_degree: int) -> Float[np.ndarray, "out products"]:
    """Coefficients from products of components to tensors, then to pseudotensors."""
    size = (max_degree + 1) ** 2
    table = np.zeros((2 * size, size, size))
    block = [slice(degree**2, (degree + 1) ** 2) for degree in range(max_degree + 1)]
    for l1 in range(max_degree + 1):
        for l2 in range(max_degree + 1):
            for l3, coefficients in clebsch_gordan(l1, l2).items():
                if l3 <= max_degree:
                    start = size * ((l1 + l2 + l3) % 2)
                    out = slice(start + l3**2, start + (l3 + 1) ** 2)
                    table[out, block[l1], block[l2]] = np.moveaxis(coefficients, 2, 0)
    return table.reshape(2 * size, -1)
