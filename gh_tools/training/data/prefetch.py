"""Batches made ahead, while the device works on those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(
    make: Callable[[Item], Made], items: Iterable[Item], n_ahead: int = 2
) -> Generator[Made, None, None]:
    """Yield ``make(item)`` for all items in their order, each made by a thread before it is asked for.

    The thread ends with the iterator: close it (``contextlib.closing``) where it may be left early.

    Args:
        make: what a batch takes on the host.
        items: what it is called with.
        n_ahead: at most so many results wait.

    Raises:
        Exception: what ``make`` raised, in place of its result.
    """
    remaining = iter(items)
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        try:
            waiting.extend(pool.submit(make, item) for item in islice(remaining, n_ahead))
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(pool.submit(make, item) for item in islice(remaining, 1))
                yield made
        finally:
            for future in waiting:
                future.cancel()
