"""S of two-centre form: one function of the distance for each pair of shells and order along the bond."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int
from scipy.interpolate import BSpline

from gh_tools.console import log
from gh_tools.dft.block_list import block_lists
from gh_tools.dft.overlap import OnsiteMatrices, PairMatrices
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.bond_frame import from_frame
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.orbitals.pairs import Neighbours, wrapped

DEGREE = 5
_CHUNK = 20_000  # pairs that are rotated together
# Å: beyond the shortest distance of the data, functions are continued so far and constant from there.
_CONTINUED = 0.3
# Functions that are smaller than this at the longest distance of the data are zero beyond it; extrapolated elements
# that are smaller than the other are not worth a word.
_DIED_AWAY, _NOTHING = 1e-4, 1e-6
# Atoms of a structure whose neighbours are looked at for distances that the data do not cover.
_LOOKED_AT = 5_000


@dataclass(frozen=True)
class PairFunctions:
    """Functions of the distance of one species pair, quintic splines.

    Attributes:
        knots: in Å.
        coefficients: of the splines, one column for each of `two_centre_components`.
        covered: intervals of distances in Å that the data cover, ascending.
    """

    knots: Float[np.ndarray, " knots"]
    coefficients: Float[np.ndarray, "splines functions"]
    covered: Float[np.ndarray, "intervals 2"]

    def __call__(
        self, distance: Float[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, "pairs functions"]:
        """Evaluate the functions, which are zero beyond the longest distance of the data."""
        r_min, r_max = self.covered[0, 0], self.covered[-1, 1]
        r = np.clip(distance, max(r_min - _CONTINUED, self.knots[0]), r_max)
        values = BSpline(self.knots, self.coefficients, DEGREE)(r)
        values[distance > r_max] = 0.0
        return values

    def is_covered(self, distance: Float[np.ndarray, " pairs"]) -> Bool[np.ndarray, " pairs"]:
        """Tell which distances in Å are within those of the data."""
        place = np.searchsorted(self.covered[:, 0], distance, side="right") - 1
        return (place >= 0) & (distance <= self.covered[np.maximum(place, 0), 1])


def two_centre_components(irreps: Irreps) -> Int[np.ndarray, " functions"]:
    """Return the components, in the frame of the bond, that two-centre integrals have: m = 0 of true tensors.

    No rotation about the bond and no mirror plane through it changes them: J. C. Slater and G. F. Koster,
    Phys. Rev. 94, 1498 (1954).
    """
    return np.flatnonzero((irreps.m == 0) & (irreps.parity == 0))


class Uncovered(NamedTuple):
    """Pairs at distances that the data do not cover.

    Attributes:
        pair: their elements.
        found: how many there are.
        total: pairs of these elements that have been looked at.
        distances: shortest and longest of them in Å.
        largest: element of S among them.
    """

    pair: SpeciesPair
    found: int
    total: int
    distances: tuple[float, float]
    largest: float


class FittedOverlap:
    """S of any structure from two-centre functions that a basis table carries.

    Args:
        basis: the basis table; its attribute ``overlap`` holds the functions.
        numbers: atomic numbers of the structures.

    Raises:
        DataError: an element is not in the table, or it carries no functions.
    """

    def __init__(self, basis: Basis, numbers: Iterable[int]):
        basis.check_covers(numbers, "overlap")
        self._basis = Basis({int(z): basis[int(z)] for z in set(numbers)})
        self._irreps = IrrepLayout(self._basis).pair
        self._onsite = {z: basis.overlap[f"onsite/{z}/matrix"] for z in self._basis.numbers}
        self._pairs = {
            (zi, zj): PairFunctions(
                *(
                    basis.overlap[f"pairs/{zi}-{zj}/{name}"]
                    for name in ("knots", "coefficients", "covered")
                )
            )
            for zi, zj in self._basis.species_pairs()
            if f"pairs/{zi}-{zj}/knots" in basis.overlap
        }

    def reach(self, numbers: Iterable[int]) -> float:
        """Distance in Å up to which neighbours of an atom matter: none but the pair's own two."""
        return 0.0

    def __call__(
        self,
        atoms: ase.Atoms,
        pairs: Mapping[SpeciesPair, tuple],
        onsite: Int[np.ndarray, " some"] | None = None,
        neighbours: Neighbours | None = None,
    ) -> tuple[OnsiteMatrices, PairMatrices]:
        """Compute blocks; see `gh_tools.dft.overlap.Overlap`.

        Raises:
            DataError: the data had no pair of these elements.
        """
        onsite_blocks: OnsiteMatrices = {}
        bonds: PairMatrices = {}
        for key, block in block_lists(atoms, pairs, onsite).items():
            if isinstance(key, int):
                onsite_blocks[key] = np.repeat(self._onsite[key][None], len(block.i), axis=0)
            else:
                bonds[key] = self.blocks(key, block.vector)
        return onsite_blocks, bonds

    def blocks(
        self, pair: SpeciesPair, vectors: Float[np.ndarray, "pairs 3"]
    ) -> Float[np.ndarray, "pairs ki kj"]:
        """Compute S of pairs of two elements from the vectors in Å between them."""
        if pair not in self._pairs:
            names = "-".join(chemical_symbols[z] for z in pair)
            raise DataError(
                f"S of {names} pairs is not known: the data that its functions were fitted to have none"
            )
        functions, irreps = self._pairs[pair], self._irreps[pair]
        chosen = two_centre_components(irreps)
        found = np.zeros((len(vectors), *irreps.shape))
        for start in range(0, len(vectors), _CHUNK):
            part = slice(start, start + _CHUNK)
            components = np.zeros((len(vectors[part]), irreps.size))
            components[:, chosen] = functions(np.linalg.norm(vectors[part], axis=1))
            found[part] = irreps.to_blocks(from_frame("bond", irreps, components, vectors[part]))
        return found

    def uncovered(
        self, structures: Sequence[ase.Atoms], cutoffs: Mapping[SpeciesPair, float]
    ) -> Iterator[Uncovered]:
        """Find pairs at distances that the data do not cover, by their elements.

        Args:
            structures: of large ones, 5000 atoms and their neighbours are looked at.
            cutoffs: distance in Å up to which each species pair has blocks.
        """
        vectors: dict[SpeciesPair, list[np.ndarray]] = {}
        for atoms in map(wrapped, structures):
            reach = max(cutoffs[pair] for pair in self._basis.species_pairs())
            neighbours = Neighbours(atoms, reach)
            chosen = np.unique(np.linspace(0, len(atoms) - 1, _LOOKED_AT).astype(int))
            i, j, _, vector = neighbours.of(chosen, reach)
            distance = np.linalg.norm(vector, axis=1)
            for zi, zj in self._basis.species_pairs():
                mine = (atoms.numbers[i] == zi) & (atoms.numbers[j] == zj)
                mine &= distance < cutoffs[zi, zj]
                if mine.any():
                    vectors.setdefault((zi, zj), []).append(vector[mine])
        for pair, parts in vectors.items():
            if pair not in self._pairs:
                continue  # asking for its blocks says why there are none
            vector = np.concatenate(parts)
            distance = np.linalg.norm(vector, axis=1)
            outside = ~self._pairs[pair].is_covered(distance)
            # Beyond the farthest distance functions that have died away are known to be zero.
            last = self._pairs[pair](self._pairs[pair].covered[-1:, 1])
            if np.abs(last).max(initial=0.0) < _DIED_AWAY:
                outside &= distance < self._pairs[pair].covered[-1, 1]
            largest = np.abs(self.blocks(pair, vector[outside])).max(initial=0.0)
            if outside.any() and largest > _NOTHING:
                twice = 2 if pair[0] == pair[1] else 1  # both directions of like pairs are listed
                yield Uncovered(
                    pair,
                    int(outside.sum()) // twice,
                    len(outside) // twice,
                    (float(distance[outside].min()), float(distance[outside].max())),
                    float(largest),
                )

    def warn_uncovered(
        self, structures: Sequence[ase.Atoms], cutoffs: Mapping[SpeciesPair, float]
    ) -> None:
        """Warn of pairs whose S is extrapolated, and tell how much of S that is."""
        for found in self.uncovered(structures, cutoffs):
            names = "-".join(chemical_symbols[z] for z in found.pair)
            intervals = self._pairs[found.pair].covered
            told = ", ".join(f"{a:.2f} to {b:.2f}" for a, b in intervals[:4].tolist())
            log.warning(
                "S of %s pairs is fitted to distances of %s Å%s: that of %d of %d such pairs (%.2g %%), at %.2f to "
                "%.2f Å, is extrapolated, with elements up to %.2g",
                *(names, told, " and more" if len(intervals) > 4 else "", found.found, found.total),
                *(100 * found.found / found.total, *found.distances, found.largest),
            )
