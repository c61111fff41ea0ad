"""How a command's work is shared: shards, processes that MPI started, and who runs its tasks."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import typer

from gh_tools.errors import UsageError

if TYPE_CHECKING:
    from gh_tools.workers.task import Executor

Local = TypeVar("Local")

# What Open MPI, MPICH and Intel MPI, MVAPICH, and SLURM with PMIx tell their processes. SLURM_NTASKS alone
# also stands in the script of a job, which is one process.
_MPI = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
)


def mpi_process() -> tuple[int, int]:
    """Return the number of this process and how many there are, as whoever started them by MPI says."""
    for size, rank in _MPI:
        if size in os.environ and rank in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def refuse_copies(program: str) -> None:
    """End a command of which MPI started several processes, and that knows nothing of each other.

    Args:
        program: its name, for the message.

    Raises:
        UsageError: in the first process; the others end with its exit code and say nothing.
    """
    rank, size = mpi_process()
    if rank:
        raise typer.Exit(UsageError.exit_code)  # the first process tells
    if size > 1:
        raise UsageError(
            f"MPI started {size} processes, but {program} is one, and copies would do the same work; start "
            "it without mpiexec (see --jobs, --shard and --scheduler for what works at once)"
        )


def parse_shard(given: str | None) -> tuple[int, int]:
    """Return I and N of the option ``--shard I/N``; 1 and 1 if it was not given.

    Raises:
        UsageError: it is not of this form, or I is not between 1 and N.
    """
    if given is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", given.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {given}: expected I/N with I from 1 to N, such as 2/8")
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def find_executor(
    scheduler: str | None, jobs: int, here: Callable[[], Local]
) -> Iterator[Local | Executor]:
    """Find who works on tasks.

    Args:
        scheduler: the option ``--scheduler``.
        jobs: the option ``--jobs``.
        here: makes the executor of this machine.

    Raises:
        UsageError: both options were given.
        MissingExtraError: Dask is not installed.
        NoInputError: there is no such scheduler file.
        TryAgainError: no scheduler answers.
    """
    if scheduler is None:
        yield here()
        return
    if jobs > 1:
        raise UsageError(
            "--jobs is for this machine alone: with --scheduler all workers are at work"
        )
    from gh_tools.workers.cluster import Cluster

    cluster = Cluster(scheduler)
    try:
        yield cluster
    finally:
        cluster.close()
