"""Batches on the devices, where those that come again stay while there is room: bringing one to a GPU takes longer than a step."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from gh_tools.training.data.batches import Batch, collate
from gh_tools.training.data.samples import Sample
from gh_tools.training.devices import Devices, without_weight

# One part in so many of a device's free memory keeps batches.
_SHARE_OF_MEMORY = 8


class DeviceBatches:
    """Makes batches and puts them on the devices.

    Args:
        samples: of the training set.
        devices: that share a step.
    """

    def __init__(self, samples: Sequence[Sample], devices: Devices):
        self._samples, self._devices = samples, devices
        self._kept: dict[tuple[int, ...], Batch] = {}
        self._room = devices.free_memory() // _SHARE_OF_MEMORY

    def __call__(self, planned: tuple[tuple[int, int, int], list[int]]) -> Batch:
        """Return a batch of an epoch's plan, made unless it is on the devices already.

        Args:
            planned: padded size (atoms, edges, pairs) and the batch's samples, as `plan_epoch` gives them.
        """
        size, members = planned
        if tuple(members) in self._kept:
            return self._kept[tuple(members)]
        parts = [
            collate([self._samples[member] for member in part], size)
            if part
            else without_weight(collate([self._samples[members[0]]], size))
            for part in self._devices.parts(members)
        ]
        batch = self._devices.put(parts)
        if len(members) == 1:  # others do not come again
            self._room -= sum(leaf.nbytes for leaf in jax.tree.leaves(parts))
            if self._room >= 0:
                self._kept[tuple(members)] = batch
        return batch
