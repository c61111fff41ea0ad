"""Data parallel training: the devices, and the processes, that share a step.

Each device predicts its part of a batch with the same weights. The loss is a ratio of sums over all
parts, so that it and its gradient are those of one device with the whole batch but for the order of
sums. What is decided by the clock, the first process decides for all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.errors import UsageError
from gh_tools.resources import free_memory
from gh_tools.training.data.batches import Batch

_AXIS = "structures"
Item = TypeVar("Item")


def join_processes() -> int:
    """Connect to the other processes of this run, where the environment speaks of any.

    That is so under SLURM (a step of several tasks), or where JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID are set.

    Returns:
        Index of this process; 0 where it is alone.
    """
    environ = os.environ
    if "JAX_NUM_PROCESSES" in environ:
        given = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
        try:
            numbers = {name: int(environ[variable]) for name, variable in given.items()}
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"JAX_NUM_PROCESSES is set, so JAX_PROCESS_ID is expected, and both as integers: {error}"
            ) from None
        _join(numbers)
    elif int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        _join({})
    return jax.process_index()


def _join(given: dict[str, Any]) -> None:
    """Set JAX up for several processes; what it does not get it finds in the environment."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Gloo tells of its connections on file descriptor 1, which is for results: Python gets another one.
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jax.distributed.initialize(**given)


@dataclass(frozen=True)
class _Parallel:
    """A network whose every device sees its own rows of a graph, as a graph of its own."""

    network: Any
    mesh: Mesh

    def apply(self, params: Any, graph: Any) -> Any:
        rows = PartitionSpec(_AXIS)
        return jax.shard_map(
            self.network.apply,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), rows),
            out_specs=rows,
            # Constants within the network are alike on all devices, which it need not say.
            check_vma=False,
        )(params, graph)


class Devices:
    """Those of all processes that a run uses: as many as divide its batch.

    Args:
        batch_size: structures in a training step.

    Attributes:
        count: number of devices.
        is_first: whether this process is the one that writes and tells.

    Raises:
        UsageError: the batch cannot be divided by the processes.
    """

    def __init__(self, batch_size: int):
        processes, local = jax.process_count(), jax.local_devices()
        if batch_size % processes:
            raise UsageError(
                f"data.batch_size is {batch_size}, but {processes} processes train together; "
                f"set it to a multiple of {processes}"
            )
        each = batch_size // processes
        used = max(n for n in range(1, len(local) + 1) if each % n == 0)
        if used < len(local):
            log.info(
                "training on %d of %d devices: data.batch_size is %d",
                used * processes,
                len(local) * processes,
                batch_size,
            )
        self.count, self.per_device = used * processes, each // used
        self.is_first = jax.process_index() == 0
        chosen = [
            device
            for process in range(processes)
            for device in jax.local_devices(process_index=process)[:used]
        ]
        mesh = Mesh(np.array(chosen), (_AXIS,))
        self._own = range(jax.process_index() * used, (jax.process_index() + 1) * used)
        self._mesh = mesh
        self._rows = NamedSharding(mesh, PartitionSpec(_AXIS))
        self._everywhere = NamedSharding(mesh, PartitionSpec())

    def distributed(self, network: Any) -> Any:
        """Return a network that takes batches of :meth:`put`: the same one where there is one device."""
        return network if self.count == 1 else _Parallel(network, self._mesh)

    def parts(self, members: Sequence[Item]) -> list[Sequence[Item]]:
        """Return the members of a batch that each device of this process gets; may be none."""
        size = self.per_device
        return [members[index * size : (index + 1) * size] for index in self._own]

    def put(self, parts: Sequence[Batch]) -> Batch:
        """Put the parts of this process on its devices, as rows of the whole batch.

        Args:
            parts: one of the same size for each.
        """
        if self.count == 1:
            return jax.device_put(parts[0])
        return jax.tree.map(
            lambda *rows: jax.make_array_from_process_local_data(self._rows, np.concatenate(rows)),
            *parts,
        )

    def replicate(self, arrays: Any) -> Any:
        """Give all devices a copy of what all processes hold."""
        if self.count == 1:
            return jax.device_put(arrays)
        return jax.tree.map(
            lambda array: jax.make_array_from_process_local_data(
                self._everywhere, np.asarray(array)
            ),
            arrays,
        )

    def free_memory(self) -> int:
        """Return the bytes that a device could still hold."""
        stats = jax.local_devices()[0].memory_stats()  # None of CPUs
        return stats["bytes_limit"] - stats["bytes_in_use"] if stats else free_memory()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("gh-train")

    def agree(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return what the first process has for some values that its own clock or rounding decides."""
        if jax.process_count() == 1:
            return values
        # As bits, because JAX would round them to single precision.
        bits = np.asarray(values, np.float64).view(np.uint32)
        return np.asarray(multihost_utils.broadcast_one_to_all(bits)).view(np.float64)


def without_weight(batch: Batch) -> Batch:
    """Return a batch that the loss does not see: the part of a device that there are no structures for."""
    return batch._replace(
        onsite_weight=np.zeros_like(batch.onsite_weight),
        pairs_weight=np.zeros_like(batch.pairs_weight),
    )
