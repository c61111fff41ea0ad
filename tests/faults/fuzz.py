"""Damaged and hostile inputs through the commands: ``python -m tests.faults.fuzz --seed N --count N``.

Every third case draws a store of some kind, changes it (see `mutate`), and opens and checks it as ``gh-info --deep``
does; every seventh of these goes to a command that computes. Most others are text that users name, and options (see
`texts`); some are parts of unfinished stores, and the cache of samples. Processes are forked from one that has imported
everything, and take some cases each. What must hold: an exit code of the table, one sentence on standard error, no
traceback, no hang, no memory without bound; damage is refused or has no effect; what cannot be is refused. ``--case K``
repeats one case of a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.commands.server import import_everything
from tests.faults.cases import (
    COMMANDS,
    OPEN,
    cache_case,
    parts_case,
    publish_parts,
    results,
    store_case,
    text_case,
)
from tests.faults.texts import configurations, write_texts

MEMORY = 3 * 2**30  # bytes that a case may take beside what was imported
# A process runs so many cases; they take some seconds, and a minute where all cores are busy.
BATCH = 100
CPU_SECONDS, SECONDS = 100, 900
# Files need not reach a disk; what is synced there, the tests of outputs look at.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def enter(stores: Path, folder: Path) -> None:
    """Go to a folder where all the stores are, and one of them by another name, too."""
    os.chdir(folder)
    for store in stores.glob("*.zarr"):
        (folder / store.name).symlink_to(store)
    (folder / "sound.zarr").symlink_to(stores / "x.hamiltonians.zarr")


def run_case(stores: Path, seed: int, case: int, every: bool) -> tuple[str, list[str]]:
    """Run one case in a folder of its own."""
    rng = np.random.default_rng((seed, case))
    kind = store_case if case % 3 == 0 else text_case
    if case % 75 == 1:
        kind = parts_case
    elif case % 750 == 2:
        kind = cache_case
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        enter(stores, Path(name))
        try:
            return kind(stores, rng, every)
        except Exception:
            return f"{kind.__name__}", [traceback.format_exc()]


def prepare(stores: Path) -> None:
    """Write the stores, and what all commands make of them as they are."""
    from tests.store.small import write_small_stores

    write_small_stores(stores)
    write_texts(stores)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        enter(stores, Path(name))
        sound = {line: results(line) for lines in COMMANDS.values() for line, _ in lines}
        sound |= {line: results(line) for line in map(OPEN.format, COMMANDS)}
        for line, found in sound.items():
            assert found[0] == "0", (line, found)
        more = {"parts": publish_parts(Path("p.zarr")), "configurations": configurations(stores)}
    (stores / "sound.json").write_text(json.dumps(sound | more))


def forked(work: Callable[[], None]) -> int:
    """Start a process that does some work under limits; return its number."""
    child = os.fork()
    if child:
        return child
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def run_cases(stores: Path, seed: int, cases: list[int], every: bool, answers: Path) -> None:
    """Run cases one after the other; write a line of JSON for each."""
    with answers.open("w") as stream:
        for case in cases:
            print(json.dumps(run_case(stores, seed, case, every)), file=stream, flush=True)


def fuzz(seed: int, cases: range, jobs: int, every: bool) -> int:
    """Run cases, some at once; print what is wrong, and return how many cases were."""
    import_everything()
    # A process takes several: to fork one that has imported everything takes longer than a case.
    waiting = [list(cases[start : start + BATCH]) for start in range(0, len(cases), BATCH)][::-1]
    failures, running = 0, {}

    def tell(case: int, what: str, wrong: list[str]) -> None:
        nonlocal failures
        failures += 1
        print(f"--seed {seed} --case {case}: {what}", *wrong, sep="\n    ", flush=True)

    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        _, status = os.waitpid(forked(lambda: prepare(folder)), 0)
        assert status == 0, "the stores could not be made"
        while waiting or running:
            while waiting and len(running) < jobs:
                batch = waiting.pop()
                answers = folder / f"{batch[0]}.jsonl"
                child = forked(lambda b=batch, a=answers: run_cases(folder, seed, b, every, a))
                running[child] = batch, answers, time.monotonic()
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                for pid, (_, _, begun) in running.items():
                    if time.monotonic() - begun > SECONDS:
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
                continue
            batch, answers, _ = running.pop(child)
            lines = answers.read_text().splitlines() if answers.exists() else []
            for case, line in zip(batch, lines, strict=False):
                what, wrong = json.loads(line)
                if wrong:
                    tell(case, what, wrong)
            if len(lines) < len(batch):
                tell(batch[len(lines)], f"killed, or out of its limits (status {status})", [])
                if rest := batch[len(lines) + 1 :]:
                    waiting.append(rest)
    return failures


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of all draws; new if not given")
    parser.add_argument("--count", type=int, default=1000, help="number of cases")
    parser.add_argument("--case", type=int, default=None, help="this one alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--all", action="store_true", help="each through all commands of its kind")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    cases = range(given.count) if given.case is None else range(given.case, given.case + 1)
    print(f"seed {seed}, {len(cases)} cases", flush=True)
    failures = fuzz(seed, cases, given.jobs, given.all)
    print(f"seed {seed}: {failures} of {len(cases)} cases failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
