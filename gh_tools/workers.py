"""Runs tasks in worker processes whose death costs no more than the task at hand."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Failure(str):
    """Why a task has no result."""


def run_tasks(
    function: Callable[..., Any], tasks: Mapping[int, tuple], n_workers: int
) -> Iterator[tuple[int, Any]]:
    """Call ``function`` with the arguments of each task, in freshly spawned processes.

    A task that raises, or whose process dies, gives a `Failure`; the others go on.

    Args:
        function: importable by name.
        tasks: arguments by task number.
        n_workers: how many processes work at once, each on one thread unless the environment says
            otherwise.

    Yields:
        Task number and result, as they finish.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    waiting = list(tasks)[::-1]
    busy: dict[multiprocessing.connection.Connection, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < n_workers:
                worker = _Worker(function)
                worker.start(waiting.pop(), tasks)
                busy[worker.pipe] = worker
            for pipe in multiprocessing.connection.wait(list(busy)):
                worker = busy[pipe]
                try:
                    result = pipe.recv()
                except (EOFError, ConnectionResetError):
                    result = Failure(worker.epitaph())
                    del busy[pipe]
                yield worker.task, result
                if pipe in busy and waiting:
                    worker.start(waiting.pop(), tasks)
                elif pipe in busy:
                    busy.pop(pipe).stop()
    finally:
        for worker in busy.values():
            worker.stop()


class _Worker:
    """A process and the parent's end of the pipe to it."""

    def __init__(self, function: Callable[..., Any]):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.task = -1

    def start(self, task: int, tasks: Mapping[int, tuple]) -> None:
        self.task = task
        self.pipe.send(tasks[task])

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()

    def epitaph(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed (out of memory?)"
        return f"its process died with {signal.Signals(-code).name if code < 0 else code}"


def _work(function: Callable[..., Any], pipe: multiprocessing.connection.Connection) -> None:
    # Ctrl-C reaches the parent, which ends us; so does its death, of which nobody else would tell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Standard output is for the command's results alone.
    os.dup2(sys.stderr.fileno(), 1)
    while True:
        arguments = pipe.recv()
        try:
            result = function(*arguments)
        except Exception as error:
            kind = (
                "" if type(error).__module__.startswith("gh_tools") else f"{type(error).__name__}: "
            )
            result = Failure(kind + (" ".join(str(error).split()) or "no reason given"))
        pipe.send(result)
        # GPAW's objects refer to each other in circles, and their arrays do not make Python look for
        # circles: without this a worker grows by some 40 MB with each structure of 12 atoms.
        del arguments, result
        gc.collect()


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
