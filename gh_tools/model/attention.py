"""Self-attention among neighbours."""

from __future__ import annotations

import e3x
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.config import AttentionConfig, RadialBasisConfig
from gh_tools.model.graph import Graph
from gh_tools.model.radial import harmonics, radial_basis_functions


class NeighbourAttention(nn.Module):
    """x + attention(x), with weights and values that depend on the vectors between atoms.

    Each atom attends to itself, too, with a value of zero. So the softmax is defined for an atom
    without neighbours, and the weight of a sole neighbour fades at the cutoff instead of staying
    one: both would break a plain softmax over neighbours.

    Attributes:
        config: of the attention.
        radial_basis: what vectors are expanded in.
        cutoff: in Å.
    """

    config: AttentionConfig
    radial_basis: RadialBasisConfig
    cutoff: float

    @nn.compact
    def __call__(
        self, features: Float[Array, "atoms parity lm features"], graph: Graph
    ) -> Float[Array, "atoms parity lm features"]:
        """Return features of the same shape, which see twice as far."""
        basis = self.radial_basis
        distance = jnp.linalg.norm(graph.vector, axis=-1)
        envelope = getattr(e3x.nn, basis.cutoff_function)(distance, self.cutoff) * graph.edge_mask
        radial = radial_basis_functions(
            basis.radial_function, distance, self.cutoff, basis.n_radial
        )
        angular = harmonics(graph.vector, basis.max_degree)
        expansion = angular[:, None, :, None] * (envelope[:, None] * radial)[:, None, None, :]

        atoms = jnp.arange(len(graph.species))
        to_itself = jnp.zeros((len(atoms), *expansion.shape[1:]), expansion.dtype)
        return features + e3x.nn.SelfAttention(
            max_degree=round(features.shape[-2] ** 0.5) - 1,
            include_pseudotensors=features.shape[-3] == 2,
            cartesian_order=False,
            use_fused_tensor=True,
            num_heads=self.config.n_heads,
            qkv_features=self.config.features,
        )(
            features,
            jnp.concatenate([to_itself, expansion]),
            jnp.concatenate([jnp.ones(len(atoms)), envelope]),
            dst_idx=jnp.concatenate([atoms, graph.center]),
            src_idx=jnp.concatenate([atoms, graph.neighbour]),
            num_segments=len(atoms),
        )
