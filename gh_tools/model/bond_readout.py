"""From features in the frame of a bond to the irreps of its block there."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.bond_columns import BondColumns
from gh_tools.model.initial import normal
from gh_tools.model.last_layer import draw_rows, gram
from gh_tools.model.rearrange import exchange, select_components
from gh_tools.orbitals.irreps import IrrepLayout


class BondReadout(nn.Module):
    """Linear maps of each order m, with weights of their own for each species pair.

    For like atoms the maps are symmetrised: what they give for a bond seen from its other end is the
    transposed block, exactly.

    Maps are evaluated for all pairs and then selected, so that few species pairs at once cost less.

    Attributes:
        layout: irreps of the blocks.
        n_pair_types: most species pairs in a graph; what pairs of more than these get is not a number.
    """

    layout: IrrepLayout
    n_pair_types: int

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "m swap features 2 pairs"],
        scalars: Float[Array, "scalars pairs"],
        pair_type: Float[Array, "types pairs"],
    ) -> Float[Array, "components pairs"]:
        """Return irreps in the order of the layout, and zeros behind those that a species pair has.

        Args:
            features: c and s of each order m; of features that a swap of the atoms conjugates, then of
                those that it conjugates and negates.
            scalars: which neither a rotation about the bond, a mirror plane through it nor an exchange of the atoms changes.
            pair_type: one at the index of the species pair, else zero.
        """
        table = BondColumns(self.layout)
        n_types, n_pairs = pair_type.shape
        types = None
        if self.n_pair_types < n_types:
            # Those that occur come first.
            types = jnp.argsort(~pair_type.any(axis=1))[: self.n_pair_types]
            pair_type = pair_type[types]
        n_orders, _, width, _, _ = features.shape
        orders = features.reshape(n_orders, 2 * width, 2 * n_pairs)
        columns = []
        for m, (order, count) in enumerate(
            zip(jax.lax.split(orders, [1] * n_orders), table.counts, strict=True)
        ):
            kernel = self.param(
                f"order_{m}",
                normal(0.3 / (2 * width) ** 0.5),
                (n_types, count, 2, width),
            )
            kernel = self._symmetrised(kernel, table, m, np.array([1.0, -1.0])[:, None], types)
            out = (kernel.reshape(-1, 2 * width) @ order[0]).reshape(-1, count, 2, n_pairs)
            if m == 0:
                direct = self.param(
                    "scalars",
                    normal(0.3 / len(scalars) ** 0.5),
                    (n_types, count, len(scalars)),
                )
                direct = self._symmetrised(direct, table, m, 1.0, types)
                even = out[:, :, 0] + direct @ scalars
                out = jnp.stack([even, out[:, :, 1]], axis=2)
            columns.append(out)
        values = jnp.concatenate(columns, axis=1).reshape(len(pair_type), -1, n_pairs)
        irreps = select_components(values, pair_type, table, types)
        return irreps if types is None else jnp.where(pair_type.any(axis=0), irreps, jnp.nan)

    def grams(
        self,
        features: Float[Array, "m swap features 2 pairs"],
        scalars: Float[Array, "scalars pairs"],
        weight: Float[Array, "types pairs"],
    ) -> dict[str, Float[Array, "types _n _n"]]:
        """Return sums over pairs of products of what is read, by order; of order 0 of what a mirror plane keeps,
        with the scalars behind it, and of what it negates.

        Args:
            features: as they are read.
            scalars: likewise.
            weight: of each pair, at the index of its species pair.
        """
        n_orders, n_pairs = len(features), features.shape[-1]
        orders = features.reshape(n_orders, -1, 2, n_pairs).swapaxes(1, 2)
        matrices = gram(orders, weight)
        even = jnp.concatenate([orders[0, 0], scalars])
        return {
            "order_0": gram(even, weight),
            "order_0_odd": matrices[0, 1],
            **{f"order_{m}": matrices[m].sum(axis=0) for m in range(1, n_orders)},
        }

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
        drawn = {}
        table = BondColumns(self.layout)
        like = np.array([zi == zj for zi, zj in self.layout.pair])
        width = weights["order_0"].shape[-1]

        def rows(matrices: np.ndarray, columns: int) -> np.ndarray:
            # Like atoms in either order: what a swap negates then has no products with what it does not.
            negated = (np.arange(matrices.shape[-1]) // width) == 1
            mixed = negated[:, None] != negated
            matrices = np.where(like[:, None, None] & mixed, 0.0, matrices)
            return draw_rows(matrices[:, None], (count, len(matrices), columns), random)

        for name in weights:
            if name == "scalars":
                continue
            shape = weights[name].shape
            found = rows(grams[name], shape[1])
            drawn[name] = found[..., : 2 * width].reshape(count, *shape)
            if name == "order_0":
                # These are read from what a mirror plane negates, and from no scalars.
                odd = table.value_sign[:, 1 : 2 * shape[1] : 2] != 0
                drawn["scalars"] = np.where(odd[..., None], 0.0, found[..., 2 * width :])
                others = rows(grams["order_0_odd"], shape[1]).reshape(count, *shape)
                drawn[name] = np.where(odd[..., None, None], others, drawn[name])
        return drawn

    def _symmetrised(self, kernel, table: BondColumns, m: int, parity, types):
        """Keep the part of like atoms' maps that an exchange of the atoms takes to the transposed block.

        Returns:
            The maps of the chosen types; of all if these are None.
        """
        n_types, count = kernel.shape[:2]
        start = sum(table.counts[:m])
        partner = table.partner[:, start : start + count] - start
        flat = (count * np.arange(n_types)[:, None] + partner).reshape(-1)
        swapped = exchange(kernel.reshape(n_types * count, -1), flat).reshape(kernel.shape)
        ones = (1,) * (kernel.ndim - 2)
        sign = table.swap_sign[:, start : start + count].reshape(n_types, count, *ones) * parity
        like = np.array([zi == zj for zi, zj in self.layout.pair]).reshape(-1, 1, *ones)
        kernel = jnp.where(like, (kernel + jnp.asarray(sign, kernel.dtype) * swapped) / 2, kernel)
        return kernel if types is None else kernel[types]
