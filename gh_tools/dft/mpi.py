"""The processes of one MPI run of GPAW as an executor: all take part in each task, the first one decides."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from gh_tools.console import printable
from gh_tools.errors import DataError, TryAgainError, UsageError
from gh_tools.workers.task import Failure, Key, Tasks


class MPI:
    """An executor that does one task at a time, all processes together.

    The first process goes through the whole command; the others `follow` it.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are; 1 where GPAW was built without MPI.
    """

    at_once = 1

    def __init__(self):
        from gpaw.mpi import broadcast, world

        self.rank, self.size = world.rank, world.size
        self._world, self._broadcast = world, broadcast
        if self.size > 1 and self._broadcast(sys.argv if self.rank == 0 else None) != sys.argv:
            self._abort("the processes of MPI were given different arguments", UsageError.exit_code)

    def run(self, function: Callable[..., Any], tasks: Tasks[Key]) -> Iterator[tuple[Key, Any]]:
        """See `Executor.run`; for the first process."""
        for key, arguments in tasks:
            self._broadcast((function, arguments))
            yield key, self._attempt(function, arguments)

    def follow(self) -> None:
        """Take part in the tasks of the first process until it releases the others."""
        while task := self._broadcast(None):
            self._attempt(*task)

    def release(self) -> None:
        """Let the others go; for the first process."""
        self._broadcast(())

    def _attempt(self, function: Callable[..., Any], arguments: tuple) -> Any:
        try:
            return function(*arguments)
        except DataError as error:  # all processes find out alike
            return Failure(error)
        except BaseException as error:
            # Others may be amid a sum over all processes, and would wait for this one for ever.
            reason = " ".join(str(error).split()) or type(error).__name__
            self._abort(
                f"process {self.rank} of MPI failed: {reason}; what is finished is kept: go on with "
                "--resume, without mpiexec if this structure is to be left out",
                TryAgainError.exit_code,
            )

    def _abort(self, message: str, code: int) -> None:
        sys.stderr.write(
            f"gh-label: error: {printable(message)}\n"
        )  # whole, as other processes write, too
        sys.stderr.flush()
        self._world.abort(code)
