"""What an executor is, and what becomes of a task that fails."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from gh_tools.errors import TryAgainError
from gh_tools.resources import disk_error

Key = TypeVar("Key", bound=Hashable)
Tasks = Iterable[tuple[Key, tuple]]


@runtime_checkable
class Executor(Protocol):
    """Who runs tasks.

    Attributes:
        at_once: how many tasks share the memory of this machine; None where it is not this machine's.
    """

    @property
    def at_once(self) -> int | None:
        """See above."""
        ...

    def run(self, function: Callable[..., Any], tasks: Tasks[Key]) -> Iterator[tuple[Key, Any]]:
        """Call ``function`` with the arguments of each task.

        Args:
            function: importable by name, unless the executor is of this process.
            tasks: key and arguments of each; taken one by one, when there is somebody to do it.

        Yields:
            Key and result, or `Failure`, as they finish.

        Raises:
            TryAgainError: a task found that where it runs none can be done, or nobody is left to do them.
        """
        ...


class Failure(str):
    """Why a task has no result."""

    died = False


class WorkerDied(Failure):
    """What is known of the end of the process that worked on a task."""

    died = True


class Stop(Failure):
    """Why no task can be done."""


class DiskFull(Stop):
    """A disk takes no more: no task can be done either.

    Args:
        error: what the system says.
    """

    arguments: tuple[Any, ...]

    def __new__(cls, error: OSError):
        """Keep what is needed to raise the error where the command runs."""
        self = super().__new__(cls, error.strerror)
        self.arguments = (error.errno, error.strerror, error.filename)
        return self

    def __reduce__(self):
        """Travel between processes as the error."""
        return DiskFull, (OSError(*self.arguments),)


def attempt(function: Callable[..., Any], arguments: tuple) -> Any:
    """Return what a function returns, or a `Failure` with what it raised."""
    try:
        return function(*arguments)
    except TryAgainError as error:
        return Stop(error)
    except Exception as error:
        if (full := disk_error(error)) is not None:
            return DiskFull(full)
        known = type(error).__module__.startswith("gh_tools")
        kind = "" if known else f"{type(error).__name__}: "
        return Failure(kind + (" ".join(str(error).split()) or "no reason given"))


def checked(result: Any) -> Any:
    """Return a result; raise `TryAgainError` if it is a `Stop`, and `OSError` if a disk is full."""
    if isinstance(result, DiskFull):
        raise OSError(*result.arguments)
    if isinstance(result, Stop):
        raise TryAgainError(f"{result}; what is finished is kept: go on with --resume")
    return result
