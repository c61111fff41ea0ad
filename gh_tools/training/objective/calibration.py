"""Find what the deviation of an ensemble's members is multiplied with to be an uncertainty.

Factors are such that intervals of 90 %, of so many standard deviations as they have of a normal error, hold 90 % of the errors
of structures that were not trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.members import NEAR, shared_part
from gh_tools.trained_model.calibration import STEP, Calibration, of_ensemble
from gh_tools.training.data.samples import LabelledSample
from gh_tools.training.objective.metrics import Reference

HELD = 0.9
# So many standard deviations is the limit of the interval.
_LIMIT = float(ndtri(0.5 + 0.5 * HELD))
# Components that a factor is found from, at least: of fewer, none can be the limit of an interval that holds nine tenths.
_ENOUGH = 10
# Structures that the calibration of elements counts as, where spectra of the members are calibrated.
_PRIOR = 8
# How far a factor may be from that of all components of its element or species pair. One that is further off was found where
# members agree by symmetry, and elsewhere they do not: on-site blocks of Te, calibrated on GeTe alone, had one of 74.
_APART = 5.0
# Scaled irreps in which members differ by less are zero by symmetry, or beyond the reach of what is learned: no factor helps.
_NOTHING = 1e-6


def with_members(members: Sequence[Hamiltonian]) -> Hamiltonian:
    """Return the mean of an ensemble's members, with what each differs by.

    Args:
        members: of one structure, two at least.
    """
    first = members[0]

    def joined(kind: str) -> dict:
        found = {}
        for key, blocks in getattr(first, kind).items():
            every = np.stack([getattr(member, kind)[key].hamiltonian for member in members])
            mean, uncertainty, differences = of_ensemble(every)
            found[key] = replace(
                blocks, hamiltonian=mean, uncertainty=uncertainty, members=differences
            )
        return found

    return replace(first, onsite=joined("onsite"), pairs=joined("pairs"))


class IrrepErrors:
    """Errors of scaled irreps over standard deviations of the members, by element or species pair, component and distance.

    Args:
        layout: irreps of the basis.
        frame: that pairs' irreps are in.
    """

    def __init__(self, layout: IrrepLayout, frame: Frame):
        self.layout = layout
        self._onsite = {z: _mixed(irreps, "global") for z, irreps in layout.onsite.items()}
        self._pairs = {key: _mixed(irreps, frame) for key, irreps in layout.pair.items()}
        self._ratios: dict[Any, list[np.ndarray]] = defaultdict(list)

    def add(
        self,
        sample: LabelledSample,
        onsite: Float[np.ndarray, "members atoms Ko"],
        pairs: Float[np.ndarray, "members pairs Kp"],
        known: tuple[Float[np.ndarray, "..."] | float, Float[np.ndarray, "..."] | float],
    ) -> None:
        """Count a structure.

        Args:
            sample: the structure, with the irreps of its label.
            onsite: scaled irreps by each member.
            pairs: likewise.
            known: standard deviations that the irreps of atoms and of pairs have besides, as of `onsite_energy_deviations`.
        """
        ratio = _ratio(sample.onsite, onsite, sample.onsite_weight, known[0])
        for index, (z, groups) in enumerate(self._onsite.items()):
            self._count(z, ratio[sample.graph.species == index], groups, None)
        ratio = _ratio(sample.pairs, pairs, sample.pairs_weight, known[1])
        bins = np.rint(np.linalg.norm(sample.graph.pair_vector, axis=1) / STEP).astype(int)
        for index, (key, groups) in enumerate(self._pairs.items()):
            chosen = sample.graph.pair_type == index
            self._count(key, ratio[chosen], groups, bins[chosen])

    def _count(self, key: Any, ratio: np.ndarray, groups: np.ndarray, bins: Any) -> None:
        for group in np.unique(groups):
            columns = ratio[:, : len(groups)][:, groups == group]
            for k in [None] if bins is None else np.unique(bins):
                values = columns if k is None else columns[bins == k]
                self._ratios[key, int(group), k].append(values[np.isfinite(values)])

    def calibration(self) -> Calibration:
        """Return the factors.

        Where a component has too few errors, its factor is that of all components of its element, or of its species pair as far
        apart; where these have too few, that of all elements or species pairs.
        """
        ratios = {key: np.concatenate(parts) for key, parts in self._ratios.items()}

        nothing, bins = np.zeros(0), 1 + max((k for *_, k in ratios if k is not None), default=0)

        def of(keys: Container[Any], group: int | None = None) -> list[np.ndarray]:
            return [r for (own, g, _), r in ratios.items() if own in keys and group in (None, g)]

        def by_distance(keys: Iterable[Any], groups: Iterable[int]) -> list[np.ndarray]:
            chosen = list(product(keys, groups))
            return [
                np.concatenate([nothing, *(ratios.get((*own, k), nothing) for own in chosen)])
                for k in range(bins)
            ]

        onsite, pairs = {}, {}
        every = _factor(of(self._onsite), 1.0)
        for z, groups in self._onsite.items():
            own = _factor(of([z]), every)
            factors = np.array([_factor(of([z], g), own) for g in range(groups.max() + 1)])
            onsite[z] = _bounded(factors, own)[groups]
        every = _factor(of(self._pairs), 1.0)
        most = range(1 + max((groups.max() for groups in self._pairs.values()), default=-1))
        of_all = _at_each(by_distance(self._pairs, most), np.full(bins, every))
        for key, groups in self._pairs.items():
            of_pair = _at_each(by_distance([key], most), of_all)
            columns = [_at_each(by_distance([key], [g]), of_pair) for g in range(groups.max() + 1)]
            pairs[key] = _bounded(np.stack(columns, axis=1), of_pair[:, None])[:, groups]
        return Calibration(onsite, pairs)


def _mixed(irreps: Irreps, frame: Frame) -> Int[np.ndarray, " components"]:
    """Return the number of the group of each component: all that rotations mix, or about a bond, or mirror planes."""
    order = np.abs(irreps.m) if frame == "bond" else 0 * irreps.m
    return np.unique(np.stack([irreps.index, order]), axis=1, return_inverse=True)[1].reshape(-1)


def _ratio(
    wanted: Float[np.ndarray, "rows K"],
    members: Float[np.ndarray, "members rows K"],
    weight: Float[np.ndarray, "rows K"],
    known: Float[np.ndarray, "rows K"] | float,
) -> Float[np.ndarray, "rows K"]:
    """Return errors over deviations; NaN where a component does not exist, or the members do not differ in it.

    The interval is of the deviation times the factor and, in quadrature, of what is known to deviate: of the error, the rest
    is left to the factor.
    """
    error = np.abs(members.mean(axis=0) - wanted)
    error = np.sqrt(np.maximum(error**2 - (_LIMIT * known) ** 2, 0.0))
    deviation = members.std(axis=0, ddof=1)
    counts = (weight > 0) & (deviation > _NOTHING)
    return np.where(counts, error / np.maximum(deviation, _NOTHING), np.nan)


def _at_each(
    of_bins: Sequence[np.ndarray], fallback: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, " bins"]:
    """Return the factor of each bin; of one that holds too few, with those about it until they are enough."""
    found = fallback.copy()
    for k in range(len(of_bins)):
        for around in range(len(of_bins)):
            near = of_bins[max(k - around, 0) : k + around + 1]
            if sum(map(len, near)) >= _ENOUGH:
                found[k] = _factor(near, fallback[k])
                break
    return found


def _factor(ratios: Sequence[np.ndarray], fallback: float) -> float:
    """Return the factor by which the interval holds its part of the components; of too few the fallback."""
    count = sum(map(len, ratios))
    if count < _ENOUGH:
        return fallback
    # Of n errors that are as likely as the next one, this many hold it with that probability.
    held = min(1.0, np.ceil((count + 1) * HELD) / count)
    return float(np.quantile(np.concatenate(ratios), held)) / _LIMIT


def _bounded(
    found: Float[np.ndarray, "..."], larger: Float[np.ndarray, "..."] | float
) -> Float[np.ndarray, "..."]:
    """Keep factors within `_APART` of those of the larger group."""
    return np.clip(found, larger / _APART, larger * _APART)


def eigenvalue_calibration(ensembles: Iterable[tuple[Hamiltonian, Reference]]) -> dict[str, float]:
    """Compare errors of eigenvalues with what the members of an ensemble move them by.

    Args:
        ensembles: predictions of `with_members`, each with the eigenvalues of its label.

    Returns:
        ``shift``: of the part that all eigenvalues within 5 eV of E_F share, the root mean square of errors over deviations of
        members; ``eigenvalues``: of what is left, such that the interval holds its part. Both times what Student's distribution adds
        for so few structures, because a structure's eigenvalues err together, and nearer to 1 where they are below it. 1 where
        members do not deviate.
    """
    shifts: list[float] = []
    ratios: list[Float[np.ndarray, " _n"]] = []
    for ensemble, reference in ensembles:
        kpoints = reference.eigenvalues.kpoints
        found = solve(ensemble, kpoints, projected=False, with_members=True)
        assert found.members is not None  # it is an ensemble
        fermi = fermi_level(reference.eigenvalues, reference.n_electrons)
        near = np.abs(reference.eigenvalues.energies - fermi) < NEAR
        weights = near * reference.eigenvalues.states
        error = found.energies - reference.eigenvalues.energies
        shared = shared_part(error, weights)
        of_members = np.array([shared_part(moved, weights) for moved in found.members])
        left = found.members - of_members[:, None, None, None]
        deviation = of_members.std(ddof=1)
        if deviation > 0:
            shifts.append(abs(shared) / deviation)
        deviations = left.std(axis=0, ddof=1)[weights > 0]
        errors = np.abs(error - shared)[weights > 0]
        ratios.append(errors[deviations > 0] / deviations[deviations > 0])
    student = stdtrit(len(ratios), 0.5 + 0.5 * HELD) / _LIMIT if ratios else 1.0
    rms = float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0
    every = np.concatenate(ratios) if ratios else np.zeros(0)
    factor = float(np.quantile(every, HELD)) / _LIMIT if every.size else 0.0
    factors = {"shift": student * rms, "eigenvalues": student * factor}
    return {name: _cautious(found, len(ratios)) or 1.0 for name, found in factors.items()}


def _cautious(factor: float, count: int) -> float:
    """Return a factor found from so many structures; below 1 it is drawn towards 1, as if `_PRIOR` more had said that.

    Elements of the members are calibrated already. That spectra of few structures err by less than members differ may be
    luck; that they err by more is a warning.
    """
    return float(factor ** (count / (count + _PRIOR)) if factor < 1 else factor)
