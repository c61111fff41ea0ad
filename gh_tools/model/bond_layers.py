"""Features of pairs in the frame of their bond."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.bond_turn import bond_rotation, turn_to_bond
from gh_tools.model.config import BondFrameConfig
from gh_tools.model.radial import radial_functions

Features = Float[Array, "m swap features 2 pairs"]


class BondLayers(nn.Module):
    """Gated linear maps of each order m.

    Seen from the other end of the bond, the frame is turned by π about y. The sum of what the first
    atom has and what the second has, with the sign (-1)^l (and -1 for pseudotensors), is then the same
    but for the conjugation of (c, s); the difference changes its sign as well. Maps keep the two apart,
    and the gates come from sums alone: so swapping the atoms does to the result what it does to the
    features.

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
        first: Float[Array, "pairs lm features"],
        second: Float[Array, "pairs lm features"],
        vector: Float[Array, "pairs 3"],
        cutoff: Float[Array, "pairs"],
        kind: Float[Array, "types pairs"],
    ) -> tuple[Features, Float[Array, "scalars pairs"]]:
        """Return features of each order, and scalars, the kind of the pair among them.

        Args:
            first: features of the first atom: tensors, then pseudotensors.
            second: of the second atom.
            vector: from the first to the second, in Å.
            cutoff: in Å, up to which the radial functions are to resolve.
            kind: one at the index of the species pair, else zero.
        """
        config, n_tensors = self.config, self.config.bond_tensors
        n_pairs, size, n_features = first.shape
        max_degree, width, n_orders = round(size**0.5) - 1, config.bond_features, self.max_order + 1
        second = second * jnp.asarray(_inversion(max_degree, n_tensors, n_features), second.dtype)
        both = jnp.stack([first + second, first - second]).transpose(0, 2, 3, 1)
        turned = turn_to_bond(
            bond_rotation(vector, max_degree), both, n_tensors, self.max_order
        )  # swap, degrees and features, c and s where m > 0, pairs

        distance = jnp.linalg.norm(vector, axis=-1)
        radial = radial_functions("basic_fourier", distance, cutoff, config.n_radial).T
        bond = nn.silu(self._dense("radial", jnp.concatenate([radial, kind]), config.hidden))
        bond = jnp.concatenate([bond, kind])
        weights = 1.0 + self._dense("weights", bond, 2 * (max_degree + 1) * n_features)
        weights = weights.reshape(2, max_degree + 1, n_features, n_pairs)
        even = turned[0] * weights[:, :, :n_tensors].reshape(2, -1, n_pairs)
        odd = turned[1] * weights[:, 1:, n_tensors:].reshape(2, -1, n_pairs)
        # Tensors of order 0 are even under mirrors, pseudotensors odd.
        orders = [jnp.stack([self._map("even", even), self._map("odd", odd)], axis=2)]
        for m, part in enumerate(turned[2:], start=1):
            part = part * weights[:, m:].reshape(2, -1, 1, n_pairs)
            mapped = self._map(f"order_{m}", part.reshape(2, -1, 2 * n_pairs))
            orders.append(mapped.reshape(2, width, 2, n_pairs))
        features = jnp.stack(orders)

        scalars = jnp.concatenate([even[0], bond])
        hidden = nn.silu(self._dense("scalars_0", scalars, config.hidden))
        features = features * self._gates("gates_0", jnp.concatenate([hidden, kind]))
        for layer in range(1, config.n_layers):
            kernel = self._kernel(f"layer_{layer}", (n_orders, 2, width, width))
            scalars = jnp.concatenate([hidden, kind, features[0, 0, :, 0]])
            hidden = hidden + nn.silu(self._dense(f"scalars_{layer}", scalars, config.hidden))
            mapped = kernel @ features.reshape(n_orders, 2, width, -1)
            gates = self._gates(f"gates_{layer}", jnp.concatenate([hidden, kind]))
            features = features + mapped.reshape(features.shape) * gates
        return features, jnp.concatenate([hidden, kind])

    def _kernel(self, name, shape):
        """Weights of matrices [..., out, in]."""
        batch = tuple(range(len(shape) - 2))
        initial = nn.initializers.variance_scaling(
            1.0, "fan_in", "normal", in_axis=-1, out_axis=-2, batch_axis=batch
        )
        return self.param(name, initial, shape)

    def _dense(self, name, scalars, features):
        # The kind of the pair is among the scalars: it serves as bias.
        return self._kernel(name, (features, len(scalars))) @ scalars

    def _map(self, name, features):
        """Map all degrees of one order, sums and differences apart."""
        return self._kernel(name, (2, self.config.bond_features, features.shape[1])) @ features

    def _gates(self, name, scalars):
        shape = (self.max_order + 1, 2, self.config.bond_features, 1, -1)
        return 1.0 + self._dense(name, scalars, int(np.prod(shape[:3]))).reshape(shape)


def _inversion(
    max_degree: int, n_tensors: int, n_features: int
) -> Float[np.ndarray, "lm features"]:
    """Sign of each component under inversion: (-1)^l, and the opposite for pseudotensors."""
    degree = np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)
    sign = (1.0 - 2.0 * (degree % 2))[:, None]
    return sign * np.where(np.arange(n_features) < n_tensors, 1.0, -1.0)
