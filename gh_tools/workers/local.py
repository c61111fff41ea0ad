"""Tasks in this process: one by one, or in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from gh_tools.workers.task import Key, Tasks, attempt, checked


class Local:
    """An executor in this process.

    Args:
        threads: how many tasks run at once; with 0 the caller's own thread does one after the other, so
            that it may show how a task gets on.
    """

    def __init__(self, threads: int = 0):
        self.at_once = max(1, threads)
        self._threads = threads

    def run(self, function: Callable[..., Any], tasks: Tasks[Key]) -> Iterator[tuple[Key, Any]]:
        """See `Executor.run`."""
        if not self._threads:
            for key, arguments in tasks:
                yield key, checked(attempt(function, arguments))
            return
        waiting = iter(tasks)
        busy: dict[Future, Any] = {}
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                while True:
                    while len(busy) < self._threads and (task := next(waiting, None)):
                        busy[pool.submit(attempt, function, task[1])] = task[0]
                    if not busy:
                        return
                    for future in wait(busy, return_when=FIRST_COMPLETED).done:
                        yield busy.pop(future), checked(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
