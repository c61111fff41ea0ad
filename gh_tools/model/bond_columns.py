"""Which column of the maps in the frame of a bond becomes which component of the irreps."""

from __future__ import annotations

import numpy as np

from gh_tools.orbitals.irreps import IrrepLayout, Irreps


class BondColumns:
    """Columns of linear maps, by the order m and there by irrep.

    For each order there is a column for each irrep with l >= m, in the order of the layout; species
    pairs with fewer irreps than others leave columns unused. A column gives two values, c and s, which
    are the components (m, -m) of a tensor or stand as (-s, c) for those of a pseudotensor.

    Args:
        layout: irreps of the blocks.

    Attributes:
        counts: columns of each order.
        source: by species pair, for each component its place among the values of all orders: c of
            order 0, s of order 0, c of order 1, and so on; behind them the place that is zero.
        target: by species pair, for each value the component that it becomes, or their number.
        sign: by species pair, of each component; zero where there is none.
        partner: by species pair of like atoms, for each column that of the transposed shells.
        swap_sign: by species pair of like atoms, the sign that goes with it.
    """

    def __init__(self, layout: IrrepLayout):
        kinds = list(layout.pair.items())
        orders = np.arange(max(int(irreps.l.max()) for _, irreps in kinds) + 1)
        reach = [_degrees(irreps) >= orders[:, None] for _, irreps in kinds]  # order, irrep
        self.counts = np.max([part.sum(axis=1) for part in reach], axis=0).tolist()
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        n_columns, n_components = int(starts[-1]), layout.pair_size
        self.source = np.full((len(kinds), n_components), 2 * n_columns, dtype=np.int32)
        self.target = np.full((len(kinds), 2 * n_columns + 1), n_components, dtype=np.int32)
        self.sign = np.zeros((len(kinds), n_components))
        self.partner = np.tile(np.arange(n_columns, dtype=np.int32), (len(kinds), 1))
        self.swap_sign = np.ones((len(kinds), n_columns))

        for kind, ((zi, zj), irreps) in enumerate(kinds):
            within = np.cumsum(reach[kind], axis=1) - 1
            order = np.abs(irreps.m)
            irrep = irreps.index
            is_s = (irreps.parity == 1) ^ (irreps.m < 0)
            counts = np.array(self.counts)[order]
            source = 2 * starts[order] + is_s * counts + within[order, irrep]
            self.source[kind, : irreps.size] = source
            self.target[kind, source] = np.arange(irreps.size)
            self.sign[kind, : irreps.size] = np.where((irreps.parity == 1) & (irreps.m < 0), -1, 1)
            if zi == zj:
                transposed = _transposed(irreps)
                order, irrep = np.nonzero(reach[kind])
                column = starts[order] + within[order, irrep]
                self.partner[kind, column] = starts[order] + within[order, transposed[irrep]]
                self.swap_sign[kind, column] = 1 - 2 * (_degrees(irreps)[irrep] % 2)


def _degrees(irreps: Irreps) -> np.ndarray:
    return irreps.l[irreps.m == -irreps.l]


def _transposed(irreps: Irreps) -> np.ndarray:
    """For each irrep of shells (a, b), that of the same degree of shells (b, a)."""
    first = irreps.m == -irreps.l
    fields = (irreps.spin, irreps.shell_a, irreps.shell_b, irreps.l)
    names = list(zip(*(values[first] for values in fields), strict=True))
    place = {name: index for index, name in enumerate(names)}
    return np.array([place[spin, b, a, degree] for spin, a, b, degree in names])
