"""Scale and shift of pairs as the paper has them: stretched exponentials of the distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from gh_tools.orbitals.bond_frame import exchange_atoms
from gh_tools.orbitals.irreps import Irreps
from gh_tools.scaleshift.decay_fit import fit_decay, fit_log_decay
from gh_tools.scaleshift.distance_bins import DistanceBins, widen

# Irreps below this (eV, root mean square) are numerical noise: the channel vanishes by symmetry.
VANISHING = 1e-6
# Pair scales never fall below this (eV), so that noise of the labels is not blown up to order one. It is a
# tenth of the smallest error of matrix elements that is reported for this method (0.3 meV).
SCALE_FLOOR = 3e-5

IDENTITY_SHIFT = (0.0, 1.0, 1.0)  # amplitude, length, power
IDENTITY_SCALE = (0.0, 1.0, 1.0, 1.0)  # and floor: sqrt(0 + 1**2) = 1


@dataclass(frozen=True)
class PairScaleShift:
    """Scale and shift of the irreps of one species pair as functions of the distance r.

    With r not below `r_min`: `shift(r) = a exp(-(r / λ)^p)` and
    `scale(r) = sqrt((b exp(-(r / μ)^q))^2 + floor^2)`.

    Args:
        shift: Rows a (eV), λ (Å), p for each irrep component; a = 0 unless it is a scalar.
        scale: Rows b (eV), μ (Å), q, floor (eV) for each irrep component.
        r_min: Shortest distance in Å of the data: pairs that are closer get what it gets, because a
            stretched exponential extrapolates there without bounds.
    """

    shift: Float[np.ndarray, "3 components"]
    scale: Float[np.ndarray, "4 components"]
    r_min: float

    names: ClassVar[tuple[str, ...]] = (
        *("shift_amplitude", "shift_length", "shift_power"),
        *("scale_amplitude", "scale_length", "scale_power", "scale_floor"),
        "r_min",
    )

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
        r = xp.maximum(distance.astype(float), self.r_min)[:, None]
        # The 2l+1 components of an irrep share their parameters: evaluate each set once.
        (a, length, power), back = np.unique(self.shift, axis=1, return_inverse=True)
        shift = (a * xp.exp(-((r / length) ** power)))[:, back.reshape(-1)]
        (b, length, power, floor), back = np.unique(self.scale, axis=1, return_inverse=True)
        scale = xp.hypot(b * xp.exp(-((r / length) ** power)), floor)[:, back.reshape(-1)]
        return shift, scale

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give all parameters as arrays for a store."""
        rows = [*self.shift, *self.scale, np.full(self.size, self.r_min)]
        return dict(zip(self.names, rows, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PairScaleShift:
        """Build it from what `to_arrays` gave."""
        rows = np.stack([arrays[name] for name in cls.names])
        return cls(rows[:3], rows[3:7], float(rows[7, 0]))


class PairFit:
    """Collects the pair irreps of one species pair, and fits stretched exponentials.

    Args:
        irreps: of the pair's blocks.
        like: whether both atoms are of one element. Then each pair counts twice, once with the atoms exchanged,
            because it has no first one: with other scales for the two orders of its shells, a prediction would depend
            on the order of atoms.
        cutoff: largest distance in Å.
    """

    def __init__(self, irreps: Irreps, like: bool, cutoff: float):
        self.irreps, self.like = irreps, like
        self.group = irreps.index
        self.scalars = np.flatnonzero(irreps.scalar)
        self.bins = DistanceBins(cutoff, self.scalars, self.group)

    def add(
        self,
        vectors: Float[np.ndarray, "pairs 3"],
        components: Float[np.ndarray, "pairs components"],
    ) -> None:
        """Count pairs in.

        Args:
            vectors: of the bonds, in Å.
            components: irreps in eV.
        """
        distance = np.linalg.norm(vectors, axis=1)
        self.bins.add(distance, components)
        if self.like:
            partner, sign = exchange_atoms(self.irreps, "global")
            self.bins.add(distance, sign * components[:, partner])

    def fit(self) -> PairScaleShift:
        """Fit; shift 0 and scale 1 where there is no data or the channel vanishes."""
        shift = np.tile(np.array(IDENTITY_SHIFT)[:, None], (1, self.irreps.size))
        scale = np.tile(np.array(IDENTITY_SCALE)[:, None], (1, self.irreps.size))
        bins = self.bins
        filled = np.flatnonzero(bins.count)
        if filled.size == 0:
            return PairScaleShift(shift, scale, r_min=0.0)
        count, squares = bins.count[filled], bins.squares[filled].copy()
        r = bins.distance[filled] / count
        means = bins.sums[filled] / count[:, None]
        for column, component in enumerate(self.scalars):
            group = self.group[component]
            if np.sqrt(squares[:, group].sum() / count.sum()) <= VANISHING:
                continue
            parameters, fitted = fit_decay(r, means[:, column], count)
            shift[:, component] = parameters
            # Σ (y - f)² over a bin from Σ y² and Σ y
            squares[:, group] += count * (fitted**2 - 2 * fitted * means[:, column])
        centre, weight, rms = widen(r, count, squares)
        for group in range(rms.shape[1]):
            if np.sqrt(np.sum(weight * rms[:, group] ** 2) / weight.sum()) <= VANISHING:
                continue
            parameters = fit_log_decay(centre, rms[:, group], weight, SCALE_FLOOR)
            scale[:, self.group == group] = np.array([*parameters, SCALE_FLOOR])[:, None]
        return PairScaleShift(shift, scale, bins.r_min)
