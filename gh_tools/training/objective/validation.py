"""A model's errors on the validation set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from gh_tools.console import log, track
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.scaleshift.onsite_energy import differences_of
from gh_tools.trained_model.calibration import Calibration
from gh_tools.training.config import MetricsConfig
from gh_tools.training.data.batches import Bucket, collate
from gh_tools.training.data.prefetch import prefetch
from gh_tools.training.data.samples import (
    LabelledSample,
    onsite_energy_deviations,
    predicted_hamiltonian,
)
from gh_tools.training.objective.calibration import (
    IrrepErrors,
    eigenvalue_calibration,
    with_members,
)
from gh_tools.training.objective.metrics import Reference, eigenvalue_mae, hamiltonian_mae

# Structures that tell how far uncertainties of matrix elements are off, and of eigenvalues, at most; of the latter at so many
# k-points, because a structure's errors are much the same at all of them.
CALIBRATED, SOLVED, KPOINTS = 32, 16, 2
# With fewer, uncertainties of what a whole structure has are calibrated badly.
ENOUGH = 8


class Validation:
    """Measures metrics of given weights, a batch at a time, however many structures there are.

    Args:
        samples: of the validation set; may read them when asked.
        buckets: padded sizes and which samples belong to them.
        batch_size: structures that are predicted at once.
        layout: irreps of the basis.
        predict: compiled function of weights and graph to scaled irreps.
        config: what is measured.
        frame: that the pairs' irreps are predicted in.
    """

    def __init__(
        self,
        samples: Sequence[LabelledSample],
        buckets: Sequence[Bucket],
        batch_size: int,
        layout: IrrepLayout,
        predict: Callable[[Any, Any], Any],
        config: MetricsConfig,
        frame: Frame = "global",
    ):
        self.samples, self.layout, self.frame = samples, layout, frame
        self.predict, self.config = predict, config
        self._plan = [
            (bucket.size, chunk)
            for bucket in buckets
            for chunk in _chunks(bucket.members, batch_size)
        ]

    def predictions(self, params: Any) -> Iterator[tuple[int, Hamiltonian, Hamiltonian]]:
        """Predict all structures.

        Args:
            params: the weights.

        Yields:
            Index of a sample, its predicted and its reference H; a bucket at a time.
        """
        for index, sample, onsite, pairs in self._irreps(params):
            yield (
                index,
                self._composed(sample, onsite.mean(axis=0), pairs.mean(axis=0)),
                sample.label,
            )

    def calibration(
        self, params: Any, predict: Callable[[Any, Any], Any] | None = None
    ) -> Calibration:
        """Compare errors with what the members of an ensemble differ by, on at most `CALIBRATED` structures.

        Members that were trained on the same structures agree more than they are right.

        Args:
            params: the weights of all members.
            predict: compiled function of weights and graph to the scaled irreps of all members; by default the one that measures.

        Returns:
            What the members' differences are multiplied with to be uncertainties of matrix elements, and of eigenvalues, with members
            scaled so.
        """
        if len(self.samples) < ENOUGH:
            log.warning(
                "error bars are calibrated on %d validation structures: those of eigenvalues, E_F and gaps are hardly known; "
                "%d or more would tell (gh-fit-scaleshift --fractions)",
                len(self.samples),
                ENOUGH,
            )
        errors = IrrepErrors(self.layout, self.frame)
        for index, sample, onsite, pairs in self._irreps(params, predict):
            if index < CALIBRATED:
                known = onsite_energy_deviations(sample, self.layout, self.frame)
                errors.add(sample, onsite, pairs, known)
        found = errors.calibration()
        ensembles = (
            (self._ensemble(sample, onsite, pairs, found), Reference.of(sample.label, KPOINTS))
            for index, sample, onsite, pairs in self._irreps(params, predict)
            if index < SOLVED
        )
        shown = track(ensembles, "calibrating error bars", min(SOLVED, len(self.samples)))
        return replace(found, spectra=eigenvalue_calibration(shown))

    def _ensemble(
        self, sample: LabelledSample, onsite, pairs, calibration: Calibration
    ) -> Hamiltonian:
        """Compose the mean of an ensemble with its members, as far apart as they are wrong."""
        onsite, pairs = onsite.astype(float), pairs.astype(float)
        distance = np.linalg.norm(sample.graph.pair_vector, axis=1)
        for index, (z, irreps) in enumerate(self.layout.onsite.items()):
            chosen = np.flatnonzero(sample.graph.species == index)
            part = np.ix_(np.arange(len(onsite)), chosen, np.arange(irreps.size))
            onsite[part] = calibration.calibrated_onsite(z, onsite[part])
        for index, (key, irreps) in enumerate(self.layout.pair.items()):
            chosen = np.flatnonzero(sample.graph.pair_type == index)
            part = np.ix_(np.arange(len(pairs)), chosen, np.arange(irreps.size))
            pairs[part] = calibration.calibrated_pairs(key, pairs[part], distance[chosen])
        draws = sample.onsite_draws
        moved = [None] * len(onsite) if draws is None else differences_of(draws, len(onsite))
        return with_members(
            [self._composed(sample, *own) for own in zip(onsite, pairs, moved, strict=True)]
        )

    def _irreps(
        self, params: Any, predict: Callable[[Any, Any], Any] | None = None
    ) -> Iterator[tuple[int, LabelledSample, np.ndarray, np.ndarray]]:
        """Yield each sample with its index and the members' scaled irreps of atoms and pairs."""
        with closing(prefetch(self._load, self._plan, n_ahead=1)) as loaded:
            for members, samples, graph in loaded:
                prediction = (predict or self.predict)(params, graph)
                # A single network has no axis of members.
                onsite, pairs = (
                    np.asarray(part).reshape(-1, *part.shape[-2:]) for part in prediction
                )
                atom = pair = 0
                for member, sample in zip(members, samples, strict=True):
                    n_atoms, _, n_pairs = sample.size
                    yield (
                        member,
                        sample,
                        onsite[:, atom : atom + n_atoms],
                        pairs[:, pair : pair + n_pairs],
                    )
                    atom, pair = atom + n_atoms, pair + n_pairs

    def _composed(self, sample: LabelledSample, onsite, pairs, differences=None) -> Hamiltonian:
        return predicted_hamiltonian(sample, onsite, pairs, self.layout, self.frame, differences)

    def _load(self, planned: tuple[tuple[int, int, int], Sequence[int]]):
        size, members = planned
        samples = [self.samples[member] for member in members]
        return members, samples, jax.device_put(collate(samples, size).graph)

    def measure(self, params: Any, eigenvalues: bool) -> dict[str, float]:
        """Compute the metrics.

        Args:
            params: the weights.
            eigenvalues: whether to compare eigenvalues as well.

        Returns:
            What :func:`hamiltonian_mae` gives, and :func:`eigenvalue_mae` if asked for.
        """
        chosen: dict[int, Hamiltonian] = {}

        def compared():
            for index, predicted, reference in self.predictions(params):
                if eigenvalues and index < self.config.eigenvalue_structures:
                    chosen[index] = predicted
                yield predicted, reference

        metrics = hamiltonian_mae(compared())
        if eigenvalues:
            metrics |= eigenvalue_mae(
                [chosen[index] for index in sorted(chosen)],
                self._references,
                self.config.window,
                self.config.ghost_distance,
            )
        return metrics

    @cached_property
    def _references(self) -> list[Reference]:
        count = min(self.config.eigenvalue_structures, len(self.samples))
        return [Reference.of(self.samples[index].label) for index in range(count)]


def _chunks(members: Sequence[int], size: int) -> list[Sequence[int]]:
    return [members[start : start + size] for start in range(0, len(members), size)]
