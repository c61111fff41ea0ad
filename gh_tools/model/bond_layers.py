"""Features of pairs in the frame of their bond."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.model.bond_rotation import bond_rotations, components, rotate_to_bond_frame
from gh_tools.model.config import BondFrameConfig
from gh_tools.model.initial import matrices
from gh_tools.model.radial import radial_basis_functions

Features = Float[Array, "m swap bond_features 2 pairs"]


class BondLayers(nn.Module):
    """Gated linear maps of each order m.

    Exchanging the two atoms rotates the bond's frame by π about y. The sum of the first atom's embedding and the
    second's, times (-1)^l (and -1 for pseudotensors), is then the same but for the conjugation of (c, s); the
    difference changes its sign as well. Maps keep the two apart, and the gates come from sums alone: so exchanging
    the atoms does to the result what it does to the features.

    Pairs are the last axis of all arrays, so that maps are products of matrices without rearrangement.

    Attributes:
        config: sizes.
        max_order: largest m of the blocks.
    """

    config: BondFrameConfig
    max_order: int

    @nn.compact
    def __call__(
        self,
        pair_embedding: Float[Array, "atoms lm features"],
        i: Int[Array, " pairs"],
        j: Int[Array, " pairs"],
        vector: Float[Array, "pairs 3"],
        cutoff: Float[Array, " pairs"],
        pair_type: Float[Array, "types pairs"],
    ) -> tuple[Features, Float[Array, "scalars pairs"]]:
        """Return features of each order, and scalars, the pair type among them.

        Args:
            pair_embedding: the pair embedding of the atoms: tensors, then pseudotensors, with components in the order
                of :func:`~gh_tools.model.bond_rotation.components`.
            i: first atom of each pair.
            j: second atom.
            vector: from the first to the second, in Å.
            cutoff: in Å, up to which the radial functions are to resolve.
            pair_type: one at the index of the species pair, else zero.
        """
        config, n_tensors = self.config, self.config.bond_tensors
        _, n_components, n_features = pair_embedding.shape
        n_pairs, max_degree = len(i), round(n_components**0.5) - 1
        width, n_orders = config.bond_features, self.max_order + 1

        distance = jnp.linalg.norm(vector, axis=-1)
        radial = radial_basis_functions("basic_fourier", distance, cutoff, config.n_radial).T
        bond = nn.silu(self._dense("radial", jnp.concatenate([radial, pair_type]), config.hidden))
        bond = jnp.concatenate([bond, pair_type])
        weights = 1.0 + self._dense("weights", bond, 2 * (max_degree + 1) * n_features)
        weights = weights.reshape(2, max_degree + 1, n_features, n_pairs)
        even, odd, *rotated = rotate_to_bond_frame(
            _sums_and_differences(pair_embedding, i, j, n_tensors),
            weights,
            bond_rotations(vector, max_degree),
            n_tensors,
            self.max_order,
        )
        # Tensors of order 0 are even under mirrors, pseudotensors odd.
        orders = [jnp.stack([self._map("even", even), self._map("odd", odd)], axis=2)]
        for m, part in enumerate(rotated, start=1):
            mapped = self._map(f"order_{m}", part.reshape(2, -1, 2 * n_pairs))
            orders.append(mapped.reshape(2, width, 2, n_pairs))
        features = jnp.stack(orders)

        scalars = jnp.concatenate([even[0], bond])
        hidden = nn.silu(self._dense("scalars_0", scalars, config.hidden))
        features = features * self._gates("gates_0", jnp.concatenate([hidden, pair_type]))
        for layer in range(1, config.n_layers):
            kernel = self._kernel(f"layer_{layer}", (n_orders, 2, width, width))
            scalars = jnp.concatenate([hidden, pair_type, features[0, 0, :, 0]])
            hidden = hidden + nn.silu(self._dense(f"scalars_{layer}", scalars, config.hidden))
            mapped = kernel @ features.reshape(n_orders, 2, width, -1)
            gates = self._gates(f"gates_{layer}", jnp.concatenate([hidden, pair_type]))
            features = features + mapped.reshape(features.shape) * gates
        return features, jnp.concatenate([hidden, pair_type])

    def _kernel(self, name, shape):
        """Weights of matrices [..., out, in]."""
        return self.param(name, matrices(shape[-1]), shape)

    def _dense(self, name, scalars, features):
        # The pair type is among the scalars: it serves as bias.
        return self._kernel(name, (features, len(scalars))) @ scalars

    def _map(self, name, features):
        """Map all degrees of one order, sums and differences apart."""
        return self._kernel(name, (2, self.config.bond_features, features.shape[1])) @ features

    def _gates(self, name, scalars):
        shape = (self.max_order + 1, 2, self.config.bond_features, 1, -1)
        return 1.0 + self._dense(name, scalars, int(np.prod(shape[:3]))).reshape(shape)


def _sums_and_differences(
    pair_embedding: Float[Array, "atoms lm features"],
    i: Int[Array, " pairs"],
    j: Int[Array, " pairs"],
    n_tensors: int,
) -> Float[Array, "swap lm features pairs"]:
    """Add and subtract the embeddings of both atoms of each pair, the second with the sign of an inversion.

    The steps are compiled apart: fused, they would read the rows of atoms across, several times each.
    """
    _, n_components, n_features = pair_embedding.shape
    degree = components(round(n_components**0.5) - 1).degree[:, None]
    tensor = np.arange(n_features) < n_tensors
    inversion = np.where(degree % 2 == 0, 1.0, -1.0) * np.where(tensor, 1.0, -1.0)
    rows = jax.lax.optimization_barrier(
        (pair_embedding[i], (pair_embedding * jnp.asarray(inversion, pair_embedding.dtype))[j])
    )
    columns = jax.lax.optimization_barrier([part.reshape(len(i), -1).T for part in rows])
    both = jnp.stack(columns).reshape(2, -1)
    both = jnp.array([[1.0, 1.0], [1.0, -1.0]], pair_embedding.dtype) @ both
    return both.reshape(2, n_components, n_features, len(i))
