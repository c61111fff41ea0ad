"""Checkpoints that a run goes on from as if it had never stopped."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from gh_tools.console import log
from gh_tools.errors import CannotCreateError

# Orbax tells each file that it writes, and of each error what its threads were doing.
logging.getLogger("absl").setLevel(logging.CRITICAL)
# Bytes that a checkpoint takes beside its arrays.
_OVERHEAD = 1 << 18


@dataclass
class RunState:
    """Where a run stands; with the arrays it is all that the rest of the run depends on.

    Attributes:
        step: training steps done.
        epoch: of the next step.
        batch: of the next step, within its epoch.
        loss_sum: of the steps of the present epoch.
        elapsed: wall-clock seconds spent, interruptions left out.
        history: one record of metrics an epoch, and before them one of the initial weights.
        clock: wall-clock seconds at which each of them began, which no two runs share.
        best: by metric, the lowest value so far and the epoch that it stems from.
        eigenvalue_epoch: at which eigenvalues were measured last.
        reserve: seconds that the end of the run is expected to take.
        done: whether training ended and only publishing is left.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    elapsed: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    eigenvalue_epoch: int = 0
    reserve: float = 0.0
    done: bool = False


class Checkpoints:
    """The last two checkpoints of a run; each appears only when it is whole.

    Of several processes that train together, all read them and the first one writes.

    Args:
        directory: where they are kept.
    """

    def __init__(self, directory: Path):
        self._process, self._directory = jax.process_index(), directory
        directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=False,
            enable_async_checkpointing=False,
            read_only=self._process > 0,
            # Each process on its own: all of them hold all weights.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=self._process,
                active_processes={self._process},
                barrier_sync_key_prefix=f"process{self._process}",
            ),
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, arrays: Any, progress: RunState) -> None:
        """Keep a checkpoint.

        Args:
            arrays: tree of all arrays that training changes.
            progress: where the run stands.

        Raises:
            OSError: the disk has no room for it; those before it are kept.
        """
        if self._process > 0:
            return
        # Orbax would find out in threads of its own, whose words nobody understands.
        needed = _OVERHEAD + sum(
            leaf.nbytes for leaf in jax.tree.leaves(arrays) if hasattr(leaf, "nbytes")
        )
        if shutil.disk_usage(self._directory).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))
        # A number of its own, since two checkpoints may belong to the same training step.
        latest = self._manager.latest_step()
        self._manager.save(
            0 if latest is None else latest + 1,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(arrays),
                progress=ocp.args.JsonSave(
                    {**asdict(progress), "crc32": _checksum(arrays, progress)}
                ),
            ),
        )

    def restore(self, like: Any) -> tuple[Any, RunState] | None:
        """Read the last checkpoint that is not damaged: training from the one before gives the same.

        Args:
            like: a tree of arrays of the same structure, shapes and types.

        Returns:
            The arrays and the progress, or None if there is no checkpoint.

        Raises:
            CannotCreateError: all of them are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._read(step, like)
            except (MemoryError, PermissionError):
                raise
            except Exception as error:  # of many kinds, by which bytes are damaged
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("%s: damaged (%.200s)", self._directory / str(step), reason)
        if steps:
            raise CannotCreateError(
                f"{self._directory}: none of the checkpoints can be read; start anew with --overwrite"
            )
        return None

    def _read(self, step: int, like: Any) -> tuple[Any, RunState]:
        found = self._manager.restore(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(like), progress=ocp.args.JsonRestore()
            ),
        )
        told = dict(found["progress"])
        checksum = told.pop("crc32", None)
        arrays, progress = found["arrays"], RunState(**told)
        # Orbax has no checksums of large arrays. Earlier versions of gh-tools had none, either.
        if checksum != _checksum(arrays, progress):
            raise ValueError("its content is not what was written")
        return arrays, progress

    def close(self) -> None:
        """Let go of the directory."""
        self._manager.close()


def _checksum(arrays: Any, progress: RunState) -> int:
    found = zlib.crc32(json.dumps(asdict(progress), sort_keys=True).encode())
    for leaf in jax.tree.leaves(arrays):
        found = zlib.crc32(np.ascontiguousarray(leaf).data, found)
    return found
