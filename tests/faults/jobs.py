"""Real processes for the tests beside this file: one that has imported everything forks one for each job.

It reads lines of JSON, ``["start", JOB, ARGUMENTS...]`` or ``["wait", PID]``, and answers each by a line: the
process number, or its exit code (negative for a signal). So a process costs a tenth of a second, not a whole one,
and hundreds can be killed. Nothing but the imports is shared: no array is touched before the fork.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms

from gh_tools.errors import GhError
from gh_tools.outputs.claim import claim
from gh_tools.store.io import put
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures, structure_arrays, write_structures

MADE = Provenance("test", config={"a": 1})
PARTS = 6


def structures(distance):
    return Structures([Atoms("H2", [[0, 0, 0], [0, 0, float(distance)]])], ["h2"])


def filled(distance):
    """Return a function that fills a store."""

    def fill(group):
        for key, values in structure_arrays(structures(distance)).items():
            put(group, key, values)

    return fill


def write(path, distance, overwrite):
    """Write a store at once."""
    write_structures(path, structures(distance), MADE, overwrite)


def rewrite(path):
    """Replace a store for ever by one of two others."""
    for step in range(10**6):
        write(path, 1 + step % 2, True)


def combine(path, resume, overwrite, pause=0.0):
    """Compute the parts of a store that are not there, telling of each in a log, and publish it."""
    path = Path(path)
    partial = PartialStore(path, MADE, resume=resume, overwrite=overwrite)
    if partial.finished:
        return
    for index in range(PARTS):
        if not partial.has_part(index):
            with path.with_name("log").open("a") as log:
                log.write(f"{index}\n")
            time.sleep(pause)
            partial.write_part(index, {"x": np.full(2000, float(index))})
    # As much to remove as training leaves
    rest = partial.directory / "checkpoints"
    rest.mkdir(exist_ok=True)
    for number in range(60):
        (rest / str(number)).touch()
    whole = [partial.open_part(index) for index in range(PARTS)]

    def fill(group):
        filled(1)(group)
        for index, part in enumerate(whole):
            with part as arrays:
                put(group, f"column/c{index}", arrays["x"][:1])

    partial.publish("structures", fill)


def shard(path, index, pause):
    """Compute one part beside others."""
    partial = PartialStore(path, MADE, shared=True)
    time.sleep(pause)
    partial.write_part(index, {"x": np.full(2000, float(index))})


def hold(path, seconds, fork=False):
    """Claim an output, and hold it; with ``fork`` in a process that another one outlives."""
    held = claim(path)
    if fork and os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    time.sleep(seconds)
    held.end()


def command(line, folder):
    """Run a command line of ours, as if it had been started; its errors go where ours do."""
    from tests.faults.cases import call

    os.setpgid(0, 0)  # with its workers it can be killed at once
    os.chdir(folder)
    code, _, errors = call(line)
    print(errors, file=sys.stderr, flush=True)
    os._exit(code)


JOBS = {job.__name__: job for job in (write, rewrite, combine, shard, hold, command)}


def main():
    if "commands" in sys.argv:
        from tests.commands.server import import_everything

        import_everything()
    for line in sys.stdin:
        command, *rest = json.loads(line)
        if command == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
        elif (answer := os.fork()) == 0:
            code = 0
            try:
                JOBS[rest[0]](*rest[1:])
            except GhError as error:
                print(error, file=sys.stderr, flush=True)
                code = error.exit_code
            except BaseException as error:
                print(f"unexpected {error!r}", file=sys.stderr, flush=True)
                code = 70
            os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
