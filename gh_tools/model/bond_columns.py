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
        source: by species pair, for each component its place among the values c, s of all columns.
        sign: by species pair, of each component; zero where there is none.
        target: by species pair, for each value the component that it becomes.
        value_sign: by species pair, of that component; zero where the value becomes none.
        partner: by species pair of like atoms, for each column that of the transposed shells.
        swap_sign: by species pair of like atoms, the sign that goes with it.
    """

    def __init__(self, layout: IrrepLayout):
        pair_types = list(layout.pair.items())
        orders = np.arange(max(int(irreps.l.max()) for _, irreps in pair_types) + 1)
        reach = [_degrees(irreps) >= orders[:, None] for _, irreps in pair_types]  # order, irrep
        self.counts = np.max([part.sum(axis=1) for part in reach], axis=0).tolist()
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        n_columns, n_components = int(starts[-1]), layout.pair_size
        self.source = np.zeros((len(pair_types), n_components), dtype=np.int32)
        self.target = np.zeros((len(pair_types), 2 * n_columns), dtype=np.int32)
        self.sign = np.zeros(self.source.shape)
        self.value_sign = np.zeros(self.target.shape)
        self.partner = np.tile(np.arange(n_columns, dtype=np.int32), (len(pair_types), 1))
        self.swap_sign = np.ones((len(pair_types), n_columns))

        for pair_type, ((zi, zj), irreps) in enumerate(pair_types):
            within = np.cumsum(reach[pair_type], axis=1) - 1
            order = np.abs(irreps.m)
            irrep = irreps.index
            is_s = (irreps.parity == 1) ^ (irreps.m < 0)
            source = 2 * (starts[order] + within[order, irrep]) + is_s
            sign = np.where((irreps.parity == 1) & (irreps.m < 0), -1, 1)
            self.source[pair_type, : irreps.size] = source
            self.target[pair_type, source] = np.arange(irreps.size)
            self.sign[pair_type, : irreps.size] = self.value_sign[pair_type, source] = sign
            if zi == zj:
                transposed = _transposed(irreps)
                order, irrep = np.nonzero(reach[pair_type])
                column = starts[order] + within[order, irrep]
                self.partner[pair_type, column] = starts[order] + within[order, transposed[irrep]]
                self.swap_sign[pair_type, column] = 1 - 2 * (_degrees(irreps)[irrep] % 2)


def _degrees(irreps: Irreps) -> np.ndarray:
    return irreps.l[irreps.m == -irreps.l]


def _transposed(irreps: Irreps) -> np.ndarray:
    """For each irrep of shells (a, b), that of the same degree of shells (b, a)."""
    first = irreps.m == -irreps.l
    fields = (irreps.spin, irreps.shell_a, irreps.shell_b, irreps.l)
    names = list(zip(*(values[first] for values in fields), strict=True))
    place = {name: index for index, name in enumerate(names)}
    return np.array([place[spin, b, a, degree] for spin, a, b, degree in names])
