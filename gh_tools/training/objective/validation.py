"""A model's errors on the validation part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

import jax
import numpy as np

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.training.config import MetricsConfig
from gh_tools.training.data.batches import Bucket, collate
from gh_tools.training.data.prefetch import prefetch
from gh_tools.training.data.samples import LabelledSample, predicted_hamiltonian
from gh_tools.training.objective.calibration import eigenvalue_calibration, with_members
from gh_tools.training.objective.metrics import Reference, eigenvalue_mae, hamiltonian_mae


class Validation:
    """Measures metrics of given weights, a batch at a time, however many structures there are.

    Args:
        samples: of the validation part; may read them when asked.
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

    def calibration(self, params: Any) -> dict[str, float]:
        """Compare errors with what the members of an ensemble differ by.

        Args:
            params: the weights.

        Returns:
            For ``onsite`` and ``pairs``, the root mean square error of matrix elements over the root mean
            square deviation of the members: members that were trained on the same structures agree more than
            they are right, and what they differ by is multiplied with this to be an uncertainty. For ``shift`` and
            ``eigenvalues`` the same of eigenvalues, with members scaled so: of the part that all eigenvalues of a structure
            share, and of what is left; see `eigenvalue_calibration`.
        """
        squares = {kind: np.zeros(2) for kind in ("onsite", "pairs")}
        for _, sample, onsite, pairs in self._irreps(params):
            members = [self._composed(sample, *both) for both in zip(onsite, pairs, strict=True)]
            for kind, sums in squares.items():
                for key, blocks in getattr(sample.label, kind).items():
                    found = np.stack([getattr(member, kind)[key].hamiltonian for member in members])
                    sums[0] += np.sum((found.mean(axis=0) - blocks.hamiltonian) ** 2)
                    sums[1] += np.sum(found.var(axis=0, ddof=1))
        factors = {
            kind: float(np.sqrt(error / variance)) if variance > 0 else 1.0
            for kind, (error, variance) in squares.items()
        }
        ensembles = (
            (
                with_members(
                    [self._composed(sample, *both) for both in zip(onsite, pairs, strict=True)],
                    factors,
                ),
                self._references[index],
            )
            for index, sample, onsite, pairs in self._irreps(params)
            if index < len(self._references)
        )
        return factors | eigenvalue_calibration(ensembles)

    def _irreps(self, params: Any) -> Iterator[tuple[int, LabelledSample, np.ndarray, np.ndarray]]:
        """Yield each sample with its index and the members' scaled irreps of atoms and pairs."""
        with closing(prefetch(self._load, self._plan, n_ahead=1)) as loaded:
            for members, samples, graph in loaded:
                prediction = self.predict(params, graph)
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

    def _composed(self, sample: LabelledSample, onsite, pairs) -> Hamiltonian:
        return predicted_hamiltonian(sample, onsite, pairs, self.layout, self.frame)

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
