"""From features to the irreps of blocks."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.model.last_layer import draw_rows, gram
from gh_tools.orbitals.irreps import Irreps


class Readout(nn.Module):
    """Linear maps from features to irreps, with weights of its own for each type of block.

    Attributes:
        block_types: irreps of each type of block: of an element's on-site blocks, or of a species pair's.
    """

    block_types: Sequence[Irreps]

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "rows 2 lm features"],
        block_type: Int[Array | np.ndarray, " rows"],
    ) -> Float[Array, "rows components"]:
        """Return irreps in the order of the layout, and zeros behind those that a type has.

        Args:
            features: of even and odd parity, in this order.
            block_type: index of each row's type.
        """
        blocks = _channels(self.block_types)
        stops = np.cumsum([channels for _, _, channels in blocks])
        one_hot = nn.one_hot(block_type, len(self.block_types), dtype=features.dtype)
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(0.01, "fan_in", "normal", batch_axis=0),
            (len(self.block_types), features.shape[-1], int(stops[-1])),
        )
        kernel = jnp.einsum("rk,kfc->rfc", one_hot, kernel)
        bias = self.param("bias", nn.initializers.zeros, (len(self.block_types), int(stops[-1])))
        bias = one_hot @ bias
        slots = []
        for (parity, degree, channels), stop in zip(blocks, stops, strict=True):
            of_block = slice(stop - channels, stop)
            x = features[:, parity, degree**2 : (degree + 1) ** 2]
            out = jnp.einsum("rmf,rfc->rmc", x, kernel[:, :, of_block])
            if degree == 0 and parity == 0:
                out += bias[:, None, of_block]
            slots.append(out.reshape(len(block_type), -1))
        slots.append(jnp.zeros((len(block_type), 1), features.dtype))
        return jnp.take_along_axis(
            jnp.concatenate(slots, axis=1),
            jnp.asarray(_slots(self.block_types))[block_type],
            axis=1,
        )

    def grams(
        self,
        features: Float[Array, "rows 2 lm features"],
        weight: Float[Array, "types rows"],
    ) -> dict[str, Float[Array, "types _n _n"]]:
        """Return sums over rows and orders m of products of features, by parity and degree; the bias has a feature of ones.

        Args:
            features: as they are read.
            weight: of each row, at the index of its type.
        """
        matrices = gram(jnp.moveaxis(features, 0, -1), weight)
        found = {
            f"{parity}_{degree}": matrices[parity, degree**2 : (degree + 1) ** 2].sum(axis=0)
            for parity, degree, _ in _channels(self.block_types)
        }
        if "0_0" in found:
            x = features[:, 0, 0]
            found["0_0"] = gram(jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=-1).T, weight)
        return found

    def draw(
        self,
        weights: dict[str, np.ndarray],
        grams: dict[str, np.ndarray],
        count: int,
        random: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """Return deviations of the weights, drawn from their posterior, with a leading axis of members; see `last_layer`.

        Args:
            weights: of the readout, for their shapes.
            grams: Gram matrices of its features, summed over the training set, by name.
            count: number of members.
            random: where numbers come from.
        """
        kernel, bias = (np.zeros((count, *weights[name].shape)) for name in ("kernel", "bias"))
        n_types, n_features, _ = weights["kernel"].shape
        start = 0
        for parity, degree, channels in _channels(self.block_types):
            matrices = grams[f"{parity}_{degree}"]
            rows = draw_rows(matrices[:, None], (count, n_types, channels), random)
            of_block = slice(start, start + channels)
            kernel[..., of_block] = rows[..., :n_features].swapaxes(-1, -2)
            if degree == 0 and parity == 0:
                bias[..., of_block] = rows[..., n_features]
            start += channels
        return {"kernel": kernel, "bias": bias}


def _parity(irreps: Irreps) -> Int[np.ndarray, " components"]:
    """Parity under inversion: e3x keeps even features first and odd ones second."""
    return (irreps.l + irreps.parity) % 2


def _channels(block_types: Sequence[Irreps]) -> list[tuple[int, int, int]]:
    """Return (parity, degree, largest number of channels) of all irreps that a type has."""
    counts: dict[tuple[int, int], int] = {}
    for irreps in block_types:
        for key in zip(_parity(irreps), irreps.l, irreps.channel, strict=True):
            parity, degree, channel = map(int, key)
            counts[parity, degree] = max(counts.get((parity, degree), 0), channel + 1)
    return [(*key, count) for key, count in sorted(counts.items())]


def _slots(block_types: Sequence[Irreps]) -> Int[np.ndarray, "block_types components"]:
    """Return where each component of each type stands; behind them, the last slot, which is zero."""
    starts, stop, channels = {}, 0, {}
    for parity, degree, count in _channels(block_types):
        starts[parity, degree], channels[parity, degree] = stop, count
        stop += (2 * degree + 1) * count
    slots = np.full(
        (len(block_types), max(irreps.size for irreps in block_types)), stop, dtype=np.int32
    )
    for row, irreps in zip(slots, block_types, strict=True):
        keys = list(zip(_parity(irreps).tolist(), irreps.l.tolist(), strict=True))
        start = np.array([starts[key] for key in keys])
        counts = np.array([channels[key] for key in keys])
        row[: irreps.size] = start + (irreps.m + irreps.l) * counts + irreps.channel
    return slots
