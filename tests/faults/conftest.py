"""What the tests of faults share: processes to kill, and where randomness comes from."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

# How many times as long as in CI, and where all draws of this session come from.
REPEATS = int(os.environ.get("GH_FAULTS", "1"))
SEED = int(os.environ.get("GH_FAULTS_SEED", np.random.SeedSequence().entropy % 2**32))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"faults: GH_FAULTS={REPEATS} GH_FAULTS_SEED={SEED}")


def alive(pid):
    """Return whether a process runs: one that has ended stays until it is waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def until(condition, *pids):
    """Wait until a condition holds, which one of these processes brings about while it lives."""
    while not condition():
        if not any(map(alive, pids)):
            assert condition(), f"{pids} ended before"
            return
        time.sleep(0.001)


class Processes:
    """Starts jobs of `jobs` in real processes."""

    def __init__(self, errors, *options):
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("jobs.py"), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            text=True,
        )

    def _ask(self, *command):
        self._server.stdin.write(json.dumps(command, default=str) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, job, *arguments):
        """Return the number of a process that does a job."""
        return self._ask("start", job, *arguments)

    def wait(self, pid):
        """Wait for the end of a process, and return its exit code."""
        return self._ask("wait", pid)

    def run(self, job, *arguments):
        return self.wait(self.start(job, *arguments))

    def kill(self, pid):
        os.kill(pid, 9)
        return self.wait(pid)

    def close(self):
        self._server.stdin.close()
        self._server.wait()


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    with (tmp_path_factory.mktemp("faults") / "errors").open("w+") as errors:
        found = Processes(errors)
        found.errors = lambda: Path(errors.name).read_text()
        yield found
        found.close()


@pytest.fixture
def rng():
    """Random numbers of the session's seed, which is told at its end; GH_FAULTS_SEED repeats one."""
    return np.random.default_rng(SEED)
