"""Samples with their labels, of more structures than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.training.data.batches import sizes_of
from gh_tools.training.data.samples import LabelledSample, Sample, SampleMaker


class LabelledSamples(Sequence[LabelledSample]):
    """Samples whose labels are read when asked for; as many as there is room for stay in memory.

    Which ones stay is decided by who comes first, because all are read in turn: to drop those that were
    not used for longest would be to drop each right before it is needed.

    Args:
        samples: of the structures.
        read: gives the label of one of them, by its index here.
        maker: what made the samples.
        room: bytes that labels in memory may take.

    Attributes:
        sizes: numbers of atoms, edges and pairs of each sample.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        read: Callable[[int], Hamiltonian],
        maker: SampleMaker,
        room: int,
    ):
        self._samples, self._read, self._maker, self._room = samples, read, maker, room
        self._held: dict[int, LabelledSample] = {}
        self.sizes: Int[np.ndarray, "n 3"] = sizes_of(samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> LabelledSample:  # type: ignore[override]  # one at a time
        if index in self._held:
            return self._held[index]
        sample = self._maker.labelled(self._samples[index], self._read(index))
        size = _bytes(sample)
        if size <= self._room:
            self._room -= size
            self._held[index] = sample
        return sample


def _bytes(sample: LabelledSample) -> int:
    blocks = [
        getattr(group, name)
        for _, group in sample.label.groups()
        for name in ("hamiltonian", "overlap")
    ]
    arrays = [*blocks, *sample.onsite_terms, *sample.pairs_terms, sample.onsite_draws]
    return sum(array.nbytes for array in arrays if array is not None)
