"""Weights to start from, drawn on the host.

A compiled program that draws some dozens of arrays takes as long to compile as a third of the training step.
So initialisers say how wide their distribution is, and the weights are drawn by NumPy.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import struct

from gh_tools.model.graph import Graph


@struct.dataclass
class Normal(nn.meta.AxisMetadata):
    """Normally distributed weights.

    Attributes:
        value: the weights.
        std: their standard deviation.
    """

    value: Any
    std: float = struct.field(pytree_node=False)

    def unbox(self) -> Any:
        """Return the weights."""
        return self.value

    def replace_boxed(self, val: Any) -> Normal:
        """Return others of the same distribution."""
        return Normal(val, self.std)

    def add_axis(self, index: int, params: dict) -> Normal:
        """Nothing is said of axes."""
        return self

    def remove_axis(self, index: int, params: dict) -> Normal:
        """Nothing is said of axes."""
        return self


def normal(std: float) -> nn.initializers.Initializer:
    """Return the initialiser of a normal distribution of mean zero."""

    def draw(key, shape, dtype=np.float32):
        return Normal(std * jax.random.normal(key, shape, dtype), std)

    return draw


def matrices(fan_in: int) -> nn.initializers.Initializer:
    """Return the initialiser of matrices that keep the size of so many inputs."""
    return normal(fan_in**-0.5)


def draw_weights(model: nn.Module, graph: Graph, seed: int) -> Any:
    """Draw the weights of a network, in its precision.

    Args:
        model: the network.
        graph: any graph, which tells shapes.
        seed: of the weights.

    Returns:
        What ``model.apply`` takes as its first argument.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(seed), graph)
    leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda leaf: isinstance(leaf, Normal))
    dtype = graph.vector.dtype
    if all(isinstance(leaf, Normal) for leaf in leaves):
        rng = np.random.default_rng(seed)
        return jax.tree.unflatten(
            tree,
            [(leaf.std * rng.standard_normal(leaf.value.shape)).astype(dtype) for leaf in leaves],
        )
    # e3x's layers draw in JAX: compiled as a whole, because operation by operation it takes minutes, and
    # not optimised, because it runs once.
    init = jax.jit(model.init, compiler_options={"xla_backend_optimization_level": 0})
    params = nn.meta.unbox(init(jax.random.key(seed), graph))
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
