"""What a crew is, and what becomes of a task that fails."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Protocol

from gh_tools.errors import TryAgainError

Key = Hashable
Tasks = Iterable[tuple[Key, tuple]]


class Crew(Protocol):
    """Who runs tasks.

    Attributes:
        at_once: how many tasks share the memory of this machine; None where it is not this machine's.
    """

    at_once: int | None

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[Key, Any]]:
        """Call ``function`` with the arguments of each task.

        Args:
            function: importable by name, unless the crew is of this process.
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


class Death(Failure):
    """What is known of the end of the process that worked on a task."""

    died = True


class Stop(Failure):
    """Why no task can be done."""


def attempt(function: Callable[..., Any], arguments: tuple) -> Any:
    """Return what a function returns, or a `Failure` with what it raised."""
    try:
        return function(*arguments)
    except TryAgainError as error:
        return Stop(error)
    except Exception as error:
        known = type(error).__module__.startswith("gh_tools")
        kind = "" if known else f"{type(error).__name__}: "
        return Failure(kind + (" ".join(str(error).split()) or "no reason given"))


def checked(result: Any) -> Any:
    """Return a result; raise `TryAgainError` if it is a `Stop`."""
    if isinstance(result, Stop):
        raise TryAgainError(f"{result}; what is finished is kept: go on with --resume")
    return result
