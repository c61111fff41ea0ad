"""What the deviation of an ensemble's members is multiplied with to be an uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.store.read import Store

# Å between the distances at which factors of pairs are kept.
STEP = 1.0
# Factors of spectra, see `spectra.members`.
SPECTRA = ("shift", "eigenvalues")


@dataclass(frozen=True)
class Calibration:
    """Factors by which members that were trained on the same structures agree more than they are right.

    Factors of irreps are those of the network's scaled ones, in its frame, and alike for orders m that rotations mix.

    Attributes:
        onsite: by element, of each component of its on-site irreps.
        pairs: by species pair, of each component at distances of 0, `STEP`, 2 `STEP` ...; beyond the last as there.
        spectra: of eigenvalues, by the names of `SPECTRA`.
    """

    onsite: Mapping[int, Float[np.ndarray, " _components"]] = field(default_factory=dict)
    pairs: Mapping[SpeciesPair, Float[np.ndarray, "_distances _components"]] = field(
        default_factory=dict
    )
    spectra: Mapping[str, float] = field(default_factory=dict)

    def calibrated_onsite(
        self, number: int, scaled: Float[Any, "members atoms components"]
    ) -> Float[Any, "members atoms components"]:
        """Return the members' scaled irreps of one element's on-site blocks, their deviations multiplied with the factors.

        Args:
            number: atomic number.
            scaled: of each member.
        """
        return _calibrated(scaled, self.onsite.get(number, 1.0))

    def calibrated_pairs(
        self,
        key: SpeciesPair,
        scaled: Float[Any, "members pairs components"],
        distance: Float[Any, " pairs"],
    ) -> Float[Any, "members pairs components"]:
        """Return the members' scaled irreps of one species pair's blocks, their deviations multiplied; also within JAX.

        Args:
            key: the species pair.
            scaled: of each member.
            distance: of each pair, Å.
        """
        if key not in self.pairs:
            return scaled
        xp = distance.__array_namespace__()
        table = xp.asarray(self.pairs[key])
        last = len(table) - 1
        place = xp.clip(distance / STEP, 0, last)
        below = xp.clip(xp.floor(place).astype(int), 0, max(last - 1, 0))
        part = (place - below)[:, None]
        factor = (1 - part) * table[below] + part * table[xp.minimum(below + 1, last)]
        return _calibrated(scaled, factor)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the factors of irreps as arrays for a store."""
        onsite = {f"calibration/onsite/{z}/factor": table for z, table in self.onsite.items()}
        pairs = {f"calibration/pairs/{i}-{j}/factor": table for (i, j), table in self.pairs.items()}
        return {key: np.asarray(table, np.float32) for key, table in (onsite | pairs).items()}

    @classmethod
    def of_store(cls, store: Store, layout: IrrepLayout) -> Calibration:
        """Return the calibration that a model store holds: the arrays of `to_arrays`, and the attribute ``calibration``.

        Models of earlier versions have one factor of all on-site blocks, and one of all pairs, in the attribute.

        Args:
            store: of kind ``model``.
            layout: irreps of its basis.
        """
        factors = store.attributes.get("calibration", {})
        spectra = {name: factors[name] for name in SPECTRA if name in factors}
        onsite, pairs = {}, {}
        for z, irreps in layout.onsite.items():
            key = f"calibration/onsite/{z}/factor"
            known = store[key] if key in store else np.full(irreps.size, factors.get("onsite", 1.0))
            onsite[z] = known
        for (zi, zj), irreps in layout.pair.items():
            key = f"calibration/pairs/{zi}-{zj}/factor"
            plain = np.full((1, irreps.size), factors.get("pairs", 1.0))
            pairs[zi, zj] = store[key] if key in store else plain
        return cls(onsite, pairs, spectra)


def of_ensemble(blocks: Float[Any, "members *spin rows k_i k_j"]) -> tuple[Any, Any, Any]:
    """Return mean and standard deviation of the members' blocks, and each member's deviation from the mean.

    Args:
        blocks: of NumPy or JAX.

    Returns:
        Mean and standard deviation of the shape of a member's blocks; deviations with a leading axis of members, and one of
        spins, of length one where spins are paired.
    """
    mean = blocks.mean(axis=0)
    members = (blocks - mean).reshape(len(blocks), -1, *blocks.shape[-3:])
    return mean, blocks.std(axis=0, ddof=1), members


def _calibrated(scaled: Float[Any, "members rows components"], factor: Any) -> Any:
    mean = scaled.mean(axis=0)
    return mean + factor * (scaled - mean)
