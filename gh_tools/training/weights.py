"""The weights of a network as one array."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

from gh_tools.errors import DataError


@struct.dataclass
class Weights:
    """All weights behind each other, which optimisers and averages treat as one.

    Dozens of small arrays would be as many small operations, which take longer to run, and to compile.

    Attributes:
        vector: the weights, an array; of an ensemble with a leading axis of members, as the arrays of its tree.
        structure: the tree that they stand for.
        shapes: of its arrays.
    """

    # JAX and optax put other things in its place, such as norms and states of optimisers.
    vector: Any
    structure: Any = struct.field(pytree_node=False)
    shapes: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)

    @classmethod
    def of(cls, tree: Any, axes: int = 0) -> Weights:
        """Put the arrays of a tree behind each other, on the host; their first ``axes`` axes stay."""
        leaves, structure = jax.tree.flatten(tree)
        rows = [np.asarray(leaf).reshape(*np.shape(leaf)[:axes], -1) for leaf in leaves]
        shapes = tuple(np.shape(leaf)[axes:] for leaf in leaves)
        return cls(np.concatenate(rows, axis=-1), structure, shapes)

    @property
    def tree(self) -> Any:
        """The tree of arrays, as ``model.apply`` takes it. Outside of compiled programs: of NumPy's."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        if isinstance(self.vector, jax.core.Tracer):
            parts: Any = jax.lax.split(self.vector, sizes, axis=self.vector.ndim - 1)
        else:
            parts = np.split(np.array(self.vector), np.cumsum(sizes)[:-1], axis=-1)
        members = self.vector.shape[:-1]
        leaves = [
            part.reshape(*members, *shape) for part, shape in zip(parts, self.shapes, strict=True)
        ]
        return jax.tree.unflatten(self.structure, leaves)


def load_weights(drawn: Any, weights: Any) -> Any:
    """Return a parent's weights in place of drawn ones, in the precision of the run.

    Args:
        drawn: tree of weights that the network would start with.
        weights: the parent's.

    Raises:
        DataError: the trees differ: the parent was trained by another version of the network.
    """
    shapes = [jax.tree.map(np.shape, tree) for tree in (drawn, weights)]
    if shapes[0] != shapes[1]:
        raise DataError(
            "the parent's weights do not fit the network of this version of gh-tools; train it anew"
        )
    return jax.tree.map(lambda own, given: np.asarray(given, own.dtype), drawn, weights)
