"""From features in the frame of a bond to the irreps of its block there."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.model.bond_columns import BondColumns
from gh_tools.model.rearrange import rearrange
from gh_tools.orbitals.irreps import IrrepLayout


class BondReadout(nn.Module):
    """Linear maps of each order m, with weights of their own for each species pair.

    For like atoms the maps are symmetrised: what they give for a bond seen from its other end is the
    transposed block, exactly.

    Attributes:
        layout: irreps of the blocks.
    """

    layout: IrrepLayout

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "m swap 2 pairs features"],
        scalars: Float[Array, "pairs scalars"],
        pair_type: Int[Array, "pairs"],
    ) -> Float[Array, "pairs components"]:
        """Return irreps in the order of the layout, and zeros behind those that a species pair has.

        Args:
            features: c and s of each order m; of features that a swap of the atoms conjugates, then of
                those that it conjugates and negates.
            scalars: which neither a turn, a mirror nor a swap changes.
            pair_type: index of the species pair.
        """
        table = BondColumns(self.layout)
        n_types, n_pairs = len(self.layout.pair), len(pair_type)
        width = features.shape[-1]
        stops = np.cumsum(table.counts)
        shape = (n_types, 2, width, int(stops[-1]))
        kernel = self.param("kernel", nn.initializers.normal(0.3 / (2 * width) ** 0.5), shape)
        direct = self.param(
            "kernel_scalars",
            nn.initializers.normal(0.3 / scalars.shape[-1] ** 0.5),
            (n_types, scalars.shape[-1], table.counts[0]),
        )
        bias = self.param("bias", nn.initializers.zeros, (n_types, table.counts[0]))
        kernel = self._symmetrised(kernel, table, np.array([1.0, -1.0])[:, None, None])
        direct = self._symmetrised(direct, table, 1.0)
        bias = self._symmetrised(bias, table, 1.0)

        one_hot = nn.one_hot(pair_type, n_types, dtype=features.dtype)
        spread = features[..., None, :] * one_hot[:, :, None]  # m swap 2 pairs types features
        columns = []
        for m, (stop, count) in enumerate(zip(stops, table.counts, strict=True)):
            of_order = kernel[..., stop - count : stop]
            out = jnp.einsum("scptf,tsfk->cpk", spread[m], of_order)
            if m == 0:
                out = out.at[0].add(
                    jnp.einsum("pt,pf,tfk->pk", one_hot, scalars, direct) + one_hot @ bias
                )
            columns += [out[0], out[1]]
        columns.append(jnp.zeros((n_pairs, 1), features.dtype))
        values = jnp.concatenate(columns, axis=1)
        irreps = rearrange(
            values, jnp.asarray(table.source)[pair_type], jnp.asarray(table.target)[pair_type]
        )
        return irreps * jnp.asarray(table.sign, features.dtype)[pair_type]

    def _symmetrised(self, kernel, table: BondColumns, parity):
        """Keep the part of like atoms' maps that a swap of the atoms turns into the transposed block."""
        count = kernel.shape[-1]
        lead = kernel.shape[1:-1]
        place = np.broadcast_to(
            table.partner[:, :count].reshape(-1, *(1,) * len(lead), count), kernel.shape
        ).reshape(-1, count)
        swapped = rearrange(kernel.reshape(-1, count), place, place).reshape(kernel.shape)
        shape = (-1, *(1,) * len(lead), count)
        sign = jnp.asarray(table.swap_sign[:, :count].reshape(shape) * parity, kernel.dtype)
        like = np.array([zi == zj for zi, zj in self.layout.pair]).reshape(-1, *(1,) * len(lead), 1)
        return jnp.where(like, (kernel + sign * swapped) / 2, kernel)
