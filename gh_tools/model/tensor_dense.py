"""Tensor products: what raises the body order, and couples bonds with atoms."""

from __future__ import annotations

import e3x
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.config import TensorProduct
from gh_tools.model.dense import DegreeDense


def tensor_product(product: TensorProduct, max_degree: int) -> nn.Module:
    """Return e3x's feature-wise tensor product that gives tensors and pseudotensors: the full one, or the fused one
    of lower complexity and with fewer parameters.
    """
    module = e3x.nn.FusedTensor if product == "fused" else e3x.nn.Tensor
    return module(max_degree=max_degree, include_pseudotensors=True, cartesian_order=False)


class TensorDense(nn.Module):
    """The tensor product of two linear projections of the same features.

    Attributes:
        features: number of features that come out.
        max_degree: largest degree that comes out.
        product: which tensor product, see `tensor_product`.
    """

    features: int
    max_degree: int
    product: TensorProduct

    @nn.compact
    def __call__(
        self, features: Float[Array, "rows parity lm features"]
    ) -> Float[Array, "rows 2 LM out"]:
        """Return features of the body order that the product of two inputs has."""
        a, b = jnp.split(DegreeDense(2 * self.features)(features), 2, axis=-1)
        return tensor_product(self.product, self.max_degree)(a, b)
