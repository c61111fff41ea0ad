"""Scale and shift of pairs in the frame of their bond.

Along a bond, the components with m = 0 of true tensors are what no rotation about the bond and no mirror
plane through it changes: as functions of the distance they are the two-centre integrals of Slater and
Koster, which explain most of a block before any network. All other components vanish on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from gh_tools.orbitals.bond_frame import exchange_atoms, to_frame
from gh_tools.orbitals.irreps import Irreps
from gh_tools.scaleshift.distance_bins import DistanceBins, widen
from gh_tools.scaleshift.radial import smooth_cutoff

N_RADIAL = 16
# Of the mean square of the radial functions: smooths where data is sparse, and moves fits to thousands
# of pairs by less than their scatter.
RIDGE = 1e-8
# Root mean squares fall by orders of magnitude with the distance; below this (eV), a third of the
# smallest error of matrix elements that is reported for such networks, nothing is blown up.
FLOOR = 1e-4


@dataclass(frozen=True)
class BondTerms:
    """Scale and shift of the irreps of one species pair as functions of the distance r.

    `shift(r) = Σ_k shift_k cos(πkr/rc) f(r/rc)` with `f(x) = exp(1 - 1/(1 - x²))`, and
    `scale(r) = max(exp(a + b r + c r²), floor)`.

    Args:
        shift: Coefficients in eV; zero but for m = 0 of true tensors.
        scale: Rows a, b (1/Å), c (1/Å²).
        r_min: Shortest distance in Å of the data: closer pairs get what it gets.
        farthest: Longest distance in Å of the data: the scale stays what it is there.
        cutoff: rc in Å.
    """

    shift: Float[np.ndarray, "radial components"]
    scale: Float[np.ndarray, "3 components"]
    r_min: float
    farthest: float
    cutoff: float

    names: ClassVar[tuple[str, ...]] = ("shift", "scale", "range")

    @property
    def size(self) -> int:
        """Number of components."""
        return self.shift.shape[1]

    def __call__(
        self, distance: Float[Any, " pairs"]
    ) -> tuple[Float[Any, "pairs components"], Float[Any, "pairs components"]]:
        """Evaluate shift and scale.

        Args:
            distance: Distances in Å, in NumPy or, in double precision, in JAX.

        Returns:
            Shift and scale in eV for each pair and irrep component.
        """
        xp = distance.__array_namespace__()
        r = xp.maximum(distance.astype(float), self.r_min)
        shift = _radial(r, self.cutoff) @ self.shift
        # Components of one |m| and irrep share their parameters: evaluate each set once.
        polynomial, back = np.unique(self.scale, axis=1, return_inverse=True)
        powers = xp.minimum(r, self.farthest)[:, None] ** np.arange(3)
        scale = xp.maximum(xp.exp(powers @ polynomial), FLOOR)
        return shift, scale[:, back.reshape(-1)]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give all parameters as arrays for a store."""
        extent = np.array([self.r_min, self.farthest, self.cutoff])
        return dict(zip(self.names, (self.shift, self.scale, extent), strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> BondTerms:
        """Build it from what `to_arrays` gave."""
        return cls(arrays["shift"], arrays["scale"], *map(float, arrays["range"]))


class BondFit:
    """Collects the irreps of one species pair in the bond's frame, and fits scale and shift.

    Args:
        irreps: of the pair's blocks.
        like: whether both atoms are of one element. Then each pair counts twice, once with the atoms exchanged,
            because it has no first one.
        cutoff: largest distance in Å.
    """

    def __init__(self, irreps: Irreps, like: bool, cutoff: float):
        self.irreps, self.like, self.cutoff = irreps, like, cutoff
        order = np.abs(irreps.m)
        labels = np.stack([irreps.index, order])
        group = np.unique(labels, axis=1, return_inverse=True)[1].reshape(-1)
        shifted = np.flatnonzero((irreps.parity == 0) & (order == 0))
        self.bins = DistanceBins(cutoff, shifted, group)

    def add(
        self,
        vectors: Float[np.ndarray, "pairs 3"],
        components: Float[np.ndarray, "pairs components"],
    ) -> None:
        """Count pairs in.

        Args:
            vectors: of the bonds, in Å.
            components: irreps in the structure's axes, in eV.
        """
        components = to_frame("bond", self.irreps, components, vectors)
        distance = np.linalg.norm(vectors, axis=1)
        self.bins.add(distance, components)
        if self.like:
            partner, sign = exchange_atoms(self.irreps)
            self.bins.add(distance, sign * components[:, partner])

    def fit(self) -> BondTerms:
        """Fit by least squares: the shift first, then the logarithm of what is left.

        Returns:
            Shift 0 and scale 1 where there is no data.
        """
        bins, size = self.bins, self.irreps.size
        shift, scale = np.zeros((N_RADIAL, size)), np.zeros((3, size))
        filled = np.flatnonzero(bins.count)
        if filled.size == 0:
            return BondTerms(shift, scale, 0.0, self.cutoff, self.cutoff)
        count, squares = bins.count[filled], bins.squares[filled].copy()
        r, means = bins.distance[filled] / count, bins.sums[filled] / count[:, None]

        radial = _radial(r, self.cutoff)
        normal = radial.T @ (count[:, None] * radial)
        normal += RIDGE * np.trace(normal) * np.eye(N_RADIAL)
        shift[:, bins.summed] = np.linalg.solve(normal, radial.T @ (count[:, None] * means))
        fitted = radial @ shift[:, bins.summed]
        # Each is alone in its group. Σ (y - f)² over a bin from Σ y² and Σ y:
        squares[:, bins.group[bins.summed]] += count[:, None] * (fitted**2 - 2 * fitted * means)

        centre, weight, rms = widen(r, count, squares)
        # Few distances cannot tell the powers apart: those that they cannot stay zero.
        terms = min(3, len(centre))
        logarithm = 0.5 * np.log(rms**2 + FLOOR**2)
        polynomial = np.polynomial.polynomial.polyfit(
            centre, logarithm, terms - 1, w=np.sqrt(weight)
        )
        scale[:terms] = polynomial[:, bins.group]
        return BondTerms(shift, scale, bins.r_min, bins.farthest, self.cutoff)


def _radial(distance: Float[Any, " n"], cutoff: float) -> Float[Any, "n radial"]:
    xp = distance.__array_namespace__()
    x = xp.minimum(distance / cutoff, 1.0)
    return xp.cos(np.pi * x[:, None] * np.arange(N_RADIAL)) * smooth_cutoff(x)[:, None]
