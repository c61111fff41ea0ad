"""A model's errors on the validation part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.training.batches import Bucket, LabelledSample, collate, predicted_hamiltonian
from gh_tools.training.config import MetricsConfig
from gh_tools.training.metrics import Reference, eigenvalue_mae, hamiltonian_mae


class Validation:
    """Measures metrics of given weights.

    Args:
        samples: of the validation part.
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
        self._batches = [
            (chunk, jax.device_put(collate([samples[m] for m in chunk], bucket.size).graph))
            for bucket in buckets
            for chunk in _chunks(bucket.members, batch_size)
        ]

    def predictions(self, params: Any) -> list[Hamiltonian]:
        """Predict all structures.

        Args:
            params: the weights.

        Returns:
            H of each sample, in their order.
        """
        found: dict[int, Hamiltonian] = {}
        for members, graph in self._batches:
            prediction = self.predict(params, graph)
            onsite, pairs = np.asarray(prediction.onsite), np.asarray(prediction.pairs)
            atom = pair = 0
            for member in members:
                sample = self.samples[member]
                n_atoms, _, n_pairs = sample.size
                found[member] = predicted_hamiltonian(
                    sample,
                    onsite[atom : atom + n_atoms],
                    pairs[pair : pair + n_pairs],
                    self.layout,
                    self.frame,
                )
                atom, pair = atom + n_atoms, pair + n_pairs
        return [found[index] for index in range(len(self.samples))]

    def measure(self, params: Any, eigenvalues: bool) -> dict[str, float]:
        """Compute the metrics.

        Args:
            params: the weights.
            eigenvalues: whether to compare eigenvalues as well.

        Returns:
            What :func:`hamiltonian_mae` gives, and :func:`eigenvalue_mae` if asked for.
        """
        predicted = self.predictions(params)
        metrics = hamiltonian_mae(
            zip(predicted, (sample.label for sample in self.samples), strict=True)
        )
        if eigenvalues:
            metrics |= eigenvalue_mae(
                predicted[: len(self._references)],
                self._references,
                self.config.window,
                self.config.ghost_distance,
            )
        return metrics

    @cached_property
    def _references(self) -> list[Reference]:
        chosen = self.samples[: self.config.eigenvalue_structures]
        return [Reference.of(sample.label) for sample in chosen]


def _chunks(members: Sequence[int], size: int) -> list[Sequence[int]]:
    return [members[start : start + size] for start in range(0, len(members), size)]
