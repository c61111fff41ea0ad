"""Sums over pairs in narrow bins of their distance: all that fits of functions of distance need."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

# Å. A stretched exponential of 6 eV with a decay length of 1 Å deviates from a straight line over half
# a bin by 6 * 0.001**2 / 2 = 3e-6 eV, which is far below the scatter of the data within the bin, so the
# minimum is that of the sum over all pairs.
BIN_WIDTH = 0.002
SCALE_BIN_WIDTH = 0.1  # Å: wide enough for a root mean square, narrow against the decay


class DistanceBins:
    """Sums of the irreps of one species pair in bins of the distance.

    Args:
        cutoff: largest distance in Å.
        summed: components whose sums are kept.
        group: for each component the group that its square is averaged with.

    Attributes:
        count: pairs in each bin.
        distance: sum of their distances in Å.
        sums: of the components, in eV.
        squares: means over each group, summed, in eV².
        r_min: shortest distance in Å; infinite without data.
        farthest: longest distance in Å.
    """

    def __init__(
        self,
        cutoff: float,
        summed: Int[np.ndarray, " summed"],
        group: Int[np.ndarray, " components"],
    ):
        self.summed, self.group = summed, group
        self._mean_of_group = sparse.csr_matrix(
            ((1 / np.bincount(group))[group], (np.arange(group.size), group))
        )
        n_bins = int(cutoff / BIN_WIDTH) + 1
        self.count = np.zeros(n_bins)
        self.distance = np.zeros(n_bins)
        self.sums = np.zeros((n_bins, summed.size))
        self.squares = np.zeros((n_bins, self._mean_of_group.shape[1]))
        self.r_min, self.farthest = np.inf, 0.0

    def add(
        self,
        distance: Float[np.ndarray, " pairs"],
        components: Float[np.ndarray, "pairs components"],
    ) -> None:
        """Count pairs in."""
        if distance.size == 0:
            return
        place = np.minimum((distance / BIN_WIDTH).astype(int), self.count.size - 1)
        gather = sparse.csr_matrix(
            (np.ones(place.size), (place, np.arange(place.size))),
            shape=(self.count.size, place.size),
        )
        self.count += gather @ np.ones(place.size)
        self.distance += gather @ distance
        self.sums += gather @ components[:, self.summed]
        self.squares += gather @ (components**2 @ self._mean_of_group)
        self.r_min = min(self.r_min, float(distance.min()))
        self.farthest = max(self.farthest, float(distance.max()))


def widen(
    distance: Float[np.ndarray, " bins"],
    count: Float[np.ndarray, " bins"],
    squares: Float[np.ndarray, "bins groups"],
) -> tuple[
    Float[np.ndarray, " wide"], Float[np.ndarray, " wide"], Float[np.ndarray, "wide groups"]
]:
    """Join bins into wider ones, for root mean squares.

    Args:
        distance: mean of each bin, in Å.
        count: pairs in each bin.
        squares: sums of squares in each bin, in eV².

    Returns:
        Mean distance in Å, number of pairs, and root mean square in eV of each wide bin with pairs.
    """
    wide = (distance / SCALE_BIN_WIDTH).astype(int)
    weight = np.bincount(wide, count)
    used = weight > 0
    centre = np.bincount(wide, count * distance)[used] / weight[used]
    total = np.stack([np.bincount(wide, column)[used] for column in squares.T], axis=1)
    return centre, weight[used], np.sqrt(np.maximum(total, 0) / weight[used, None])
