"""Tasks on a Dask cluster: any machines that see the same files."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gh_tools
from gh_tools.console import log
from gh_tools.errors import DataError, MissingExtraError, NoInputError, TryAgainError
from gh_tools.resources import free_memory, memory_used
from gh_tools.workers.task import Key, Tasks, WorkerDied, attempt, checked

# Tasks that the scheduler knows of at most: enough for any cluster, and for one that grows with its tasks.
_AHEAD = 1000
# A scheduler file: seconds until it must be whole, and bytes that it cannot exceed.
_FILE_PATIENCE, _LARGEST_FILE = 10.0, 1 << 20


class Cluster:
    """An executor of the workers of a Dask cluster, as many as there are, also if some come later.

    Dask runs a task elsewhere if its worker dies, and gives up when several have died of it (three more than
    the first, by default: the scheduler's setting ``distributed.scheduler.allowed-failures``).

    Args:
        address: of the scheduler, such as ``tcp://node1:8786``, or the path of its scheduler file.

    Raises:
        MissingExtraError: Dask's ``distributed`` is not installed.
        NoInputError: there is no such scheduler file.
        DataError: the file cannot be one.
        TryAgainError: no scheduler answers, or its file is not whole.
    """

    at_once = None

    def __init__(self, address: str):
        try:
            import distributed
        except ImportError:
            raise MissingExtraError(
                "--scheduler needs Dask, which is not installed; "
                "install the extra 'cluster': pip install 'gh-tools[cluster]'"
            ) from None
        # Its own words on lost connections would come before ours.
        for name in [name for name in logging.root.manager.loggerDict if "distributed" in name]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address = address
        where = address if "://" in address else _address_in(Path(address))
        try:
            asyncio.run(_greet(where))
            self._client = distributed.Client(where, set_as_default=False, name="gh-tools")
        except Exception as error:  # what answers may be anything
            reason = " ".join(str(error).split()) or "no answer in time"
            raise TryAgainError(
                f"--scheduler {address}: no scheduler answers there ({reason}); start one with 'dask scheduler'"
            ) from None
        self._look_at_workers()

    def _look_at_workers(self) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        log.info("%s: %d workers", self.address, len(workers))
        if not workers:
            log.warning("the scheduler has no workers yet; work begins when there are some")
        threads = max((worker["nthreads"] for worker in workers), default=1)
        if threads > 1:
            log.warning(
                "workers have up to %d threads, but tasks of one process take turns: start more workers "
                "with one thread each (dask worker --nthreads 1 --nworkers %d)",
                threads,
                threads,
            )

    def run(self, function: Callable[..., Any], tasks: Tasks[Key]) -> Iterator[tuple[Key, Any]]:
        """See `Executor.run`."""
        suspects: list[tuple[Key, tuple]] = []
        for task, result in self._round(function, tasks, lambda: _AHEAD):
            if isinstance(result, WorkerDied):
                suspects.append(task)
            else:
                yield task[0], result
        # Dask blames all tasks that were given to a worker that died, of which one or none was its death.
        # So they are tried again, no more of them than there are workers.
        for (key, _), result in self._round(function, suspects, self._n_threads):
            yield key, result

    def _round(
        self, function: Callable[..., Any], tasks: Tasks[Key], at_most: Callable[[], int]
    ) -> Iterator[tuple[tuple[Key, tuple], Any]]:
        """Run tasks, so many at a time; yield each with its result."""
        from distributed import as_completed

        work, version = _portable(), gh_tools.__version__
        name = f"{function.__name__}-{uuid.uuid4().hex[:8]}"
        waiting = enumerate(tasks)
        busy: dict[Any, Any] = {}
        completed = as_completed(loop=self._client.loop)
        try:
            while True:
                while len(busy) < at_most() and (item := next(waiting, None)):
                    number, task = item
                    content = pickle.dumps((function, task[1]))
                    future = self._client.submit(
                        work, version, content, key=(name, number), pure=False
                    )
                    busy[future] = task
                    completed.add(future)
                if not busy:
                    return
                future = next(completed)
                yield busy.pop(future), checked(self._result(future))
        finally:
            if busy:
                with suppress(Exception):
                    self._client.cancel(list(busy), force=True)

    def _n_threads(self) -> int:
        with suppress(OSError):  # that the scheduler is lost shows elsewhere
            return max(1, sum(self._client.nthreads().values()))
        return 1

    def _result(self, future: Any) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            # Waits if the worker with the result has died since: the task is run again then.
            return future.result()
        except CancelledError:
            raise TryAgainError(
                f"lost the scheduler {self.address}; what is finished is kept: start it again and go on "
                "with --resume"
            ) from None
        except KilledWorker as error:
            return WorkerDied(f"{error.allowed_failures + 1} workers died of it (out of memory?)")
        except Exception as error:
            # Tasks hand over what they raise. So this is of the machine that was to run one.
            raise TryAgainError(
                f"{' '.join(str(error).split())}; what is finished is kept: mend it and go on with --resume"
            ) from None

    def close(self) -> None:
        """Leave the cluster."""
        with suppress(Exception):
            self._client.close(timeout=2)


def _address_in(file: Path) -> str:
    """Return the address that a scheduler file holds, which the scheduler may be about to write."""
    deadline = time.monotonic() + _FILE_PATIENCE
    while True:
        if not file.name or not file.exists():
            raise NoInputError(
                f"--scheduler {file}: no such scheduler file, and no address such as tcp://node1:8786"
            )
        if not file.is_file() or file.stat().st_size > _LARGEST_FILE:
            raise DataError(f"--scheduler {file}: expected a scheduler file, found something else")
        try:
            return str(json.loads(file.read_bytes())["address"])
        except (ValueError, KeyError, TypeError, RecursionError):
            if time.monotonic() > deadline:
                raise TryAgainError(
                    f"--scheduler {file}: expected the address of a scheduler as JSON, found none; is it a scheduler "
                    "file, and has the scheduler started?"
                ) from None
        time.sleep(0.5)


async def _greet(address: str) -> None:
    """Ask who is at an address, and raise an error unless it is a scheduler: Dask would wait for ever."""
    import dask
    import distributed.comm

    seconds = dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    arguments = distributed.Security().get_connection_args("client")

    async def ask() -> object:
        comm = await distributed.comm.connect(address, timeout=seconds, **arguments)
        try:
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()
        finally:
            comm.abort()

    answer = await asyncio.wait_for(ask(), seconds + 1)
    if not isinstance(answer, dict) or answer.get("type") != "Scheduler":
        raise ValueError("what answers is no scheduler")


def _portable() -> Callable[[str, bytes], Any]:
    """Return what workers run. It travels by value, so that it works where gh-tools is another or missing."""

    def work(version: str, task: bytes) -> Any:
        import socket

        try:
            import gh_tools
        except ImportError:
            found = "has no gh-tools"
        else:
            found = f"has gh-tools {gh_tools.__version__}"
            if gh_tools.__version__ == version:
                from gh_tools.workers.cluster import run_alone

                return run_alone(task)
        raise RuntimeError(
            f"the worker on {socket.gethostname()} {found}; all workers need {version}, that of the command"
        )

    return work


_alone = threading.Lock()


def run_alone(task: bytes) -> Any:
    """Run a task in a worker that may have several threads: one at a time.

    GPAW was not made for threads, and each task may use the memory and the cores that the worker has.
    """
    with _alone:
        # From the scheduler, over Dask's connection, and never from a file: who may submit to a Dask
        # cluster can run anything there. Packed here so that the version is checked before it is opened.
        function, arguments = pickle.loads(task)
        result = attempt(function, arguments)
        gc.collect()  # see `processes._work`
        return result


def free_here() -> int:
    """Return the bytes that a task may use: what is free, within the limit of the Dask worker if it runs in one."""
    free = free_memory()
    with suppress(ImportError, ValueError):
        from distributed import get_worker

        limit = get_worker().memory_manager.memory_limit
        if limit:
            # Dask ends a worker at 95 %.
            free = min(free, int(0.9 * limit) - memory_used())
    return max(free, 0)
