"""Features of pairs in the frame of their bond."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.model.bond_turn import turn_to_bond
from gh_tools.model.config import BondFrameConfig
from gh_tools.model.radial import degree_matrix, radial_functions

Features = Float[Array, "m swap 2 pairs features"]


class BondLayers(nn.Module):
    """Gated linear maps of each order m.

    Seen from the other end of the bond, the frame is turned by π about y. The sum of what the first
    atom has and what the second has, with the sign (-1)^l (and -1 for pseudotensors), is then the same
    but for the conjugation of (c, s); the difference changes its sign as well. Maps keep the two apart,
    and the gates come from sums alone: so swapping the atoms does to the result what it does to the
    features.

    Attributes:
        config: sizes.
        n_types: number of species pairs.
        max_order: largest m of the blocks.
    """

    config: BondFrameConfig
    n_types: int
    max_order: int

    @nn.compact
    def __call__(
        self,
        first: Float[Array, "lm pairs features"],
        second: Float[Array, "lm pairs features"],
        vector: Float[Array, "pairs 3"],
        cutoff: Float[Array, "pairs"],
        pair_type: Int[Array, "pairs"],
    ) -> tuple[Features, Float[Array, "pairs hidden"]]:
        """Return features of each order, and scalars.

        Args:
            first: features of the first atom: tensors, then pseudotensors.
            second: of the second atom.
            vector: from the first to the second, in Å.
            cutoff: in Å, up to which the radial functions are to resolve.
            pair_type: index of the species pair.
        """
        config, n_tensors = self.config, self.config.bond_tensors
        n_degrees, width = round(len(first) ** 0.5), config.bond_features
        n_features = first.shape[-1]
        swap = _inversion(n_degrees - 1, n_tensors, n_features)
        second = second * jnp.asarray(swap[:, None], second.dtype)
        both = jnp.stack([first + second, first - second], axis=2)  # lm pairs swap features

        distance = jnp.linalg.norm(vector, axis=-1)
        radial = radial_functions("basic_fourier", distance, cutoff, config.n_radial)
        one_hot = nn.one_hot(pair_type, self.n_types, dtype=vector.dtype)
        bond = nn.silu(
            nn.Dense(config.hidden, name="radial")(jnp.concatenate([radial, one_hot], axis=-1))
        )
        weights = nn.Dense(n_degrees * 2 * n_features, name="weights")(bond)
        weights = 1.0 + weights.reshape(-1, n_degrees, 2, n_features)
        both = both * jnp.einsum("ml,plsf->mpsf", degree_matrix(n_degrees - 1), weights)
        parts = turn_to_bond(both[..., :n_tensors], both[..., n_tensors:], vector, self.max_order)

        # lps f: tensors of order 0 are even under mirrors, pseudotensors odd.
        even, odd = parts[0]
        orders = [
            jnp.stack([self._map("kernel_even", even), self._map("kernel_odd", odd[1:])], axis=1)
        ]
        for m, (tensors, pseudotensors) in enumerate(parts[1:], start=1):
            orders.append(
                self._map(f"kernel_order_{m}", jnp.concatenate([tensors, pseudotensors], axis=-1))
            )
        features = jnp.stack(orders)  # m swap c/s pairs features

        scalars = jnp.concatenate(
            [jnp.moveaxis(even[:, :, 0], 0, 1).reshape(len(vector), -1), bond], axis=-1
        )
        hidden = nn.silu(nn.Dense(config.hidden, name="scalars_0")(scalars))
        features = features * self._gates("gates_0", hidden)
        for layer in range(1, config.n_layers):
            kernel = self.param(
                f"kernel_layer_{layer}",
                nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=(0, 1)),
                (self.max_order + 1, 2, width, width),
            )
            scalars = jnp.concatenate([hidden, features[0, 0, 0]], axis=-1)
            hidden = hidden + nn.silu(nn.Dense(config.hidden, name=f"scalars_{layer}")(scalars))
            mapped = jnp.einsum("mscpf,msfg->mscpg", features, kernel)
            features = features + mapped * self._gates(f"gates_{layer}", hidden)
        return features, hidden

    def _map(self, name, features):
        """Map all degrees of one order: [..., degrees, pairs, swap, features] to [swap, ..., pairs, out]."""
        n_degrees, _, _, width = features.shape[-4:]
        kernel = self.param(
            name,
            nn.initializers.variance_scaling(
                1.0, "fan_in", "normal", in_axis=(0, 2), out_axis=3, batch_axis=1
            ),
            (n_degrees, 2, width, self.config.bond_features),
        )
        return jnp.einsum("...lpsf,lsfg->s...pg", features, kernel)

    def _gates(self, name, hidden):
        shape = (self.max_order + 1, 2, self.config.bond_features)
        gates = nn.Dense(int(np.prod(shape)), name=name)(hidden)
        gates = jnp.moveaxis(gates.reshape(-1, *shape), 0, 2)
        return 1.0 + gates[:, :, None]


def _inversion(
    max_degree: int, n_tensors: int, n_features: int
) -> Float[np.ndarray, "lm features"]:
    """Sign of each component under inversion: (-1)^l, and the opposite for pseudotensors."""
    degree = np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)
    sign = (1.0 - 2.0 * (degree % 2))[:, None]
    return sign * np.where(np.arange(n_features) < n_tensors, 1.0, -1.0)
