"""Tasks in processes of this machine, whose death costs no more than the task at hand."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gh_tools.console import configure, log
from gh_tools.workers.task import Key, Tasks, WorkerDied, attempt, checked

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Processes:
    """An executor of freshly spawned processes; there are never more of them than tasks.

    Args:
        number: how many processes work at once.
        threads: of each, unless the environment says otherwise.
    """

    def __init__(self, number: int, threads: int = 1):
        self.at_once = number
        self._threads = threads

    def run(self, function: Callable[..., Any], tasks: Tasks[Key]) -> Iterator[tuple[Key, Any]]:
        """See `Executor.run`."""
        waiting = iter(tasks)
        task = next(waiting, None)
        busy: dict[Any, _Worker] = {}  # by their pipes
        try:
            while task is not None or busy:
                while task is not None and len(busy) < self.at_once:
                    worker = _Worker(function, self._threads)
                    worker.start(*task)
                    busy[worker.pipe] = worker
                    task = next(waiting, None)
                pipe: Any
                for pipe in multiprocessing.connection.wait(list(busy)):
                    worker = busy[pipe]
                    try:
                        result = pipe.recv()
                    except (EOFError, ConnectionResetError):
                        result = WorkerDied(worker.exit_reason())
                        del busy[pipe]
                    yield worker.key, checked(result)
                    if pipe in busy and task is not None:
                        worker.start(*task)
                        task = next(waiting, None)
                    elif pipe in busy:
                        busy.pop(pipe).stop()
        finally:
            for worker in busy.values():
                worker.stop()


class _Worker:
    """A process and the parent's end of the pipe to it."""

    def __init__(self, function: Callable[..., Any], threads: int):
        # Spawned, not forked: Zarr and JAX run threads. BLAS looks at its surroundings when it is loaded.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(function, theirs, log.getEffectiveLevel()), daemon=True
        )
        unset = [name for name in _THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(unset, str(threads)))
        try:
            self.process.start()
        finally:
            for name in unset:
                del os.environ[name]
        theirs.close()  # so that the pipe ends when the process does
        self.key: Any = None

    def start(self, key: Any, arguments: tuple) -> None:
        self.key = key
        self.pipe.send(arguments)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()

    def exit_reason(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed (out of memory?)"
        return f"its process died with {signal.Signals(-code).name if code < 0 else code}"


def _work(
    function: Callable[..., Any], pipe: multiprocessing.connection.Connection, level: int
) -> None:
    # Ctrl-C reaches the parent, which ends us; so does its death, of which nobody else would tell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Standard output is for the command's results alone, and the parent shows progress.
    os.dup2(sys.stderr.fileno(), 1)
    configure(quiet=True)
    log.setLevel(max(level, logging.WARNING))
    while True:
        arguments = pipe.recv()
        result = attempt(function, arguments)
        pipe.send(result)
        # GPAW's objects refer to each other in circles, and their arrays do not make Python look for
        # circles: without this a worker grows by some 40 MB with each structure of 12 atoms.
        del arguments, result
        gc.collect()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in workers
    parent.join()
    os._exit(1)
