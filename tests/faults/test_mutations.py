"""No damaged or hostile input is accepted, hangs a command, or ends in anything but one sentence."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.conftest import REPEATS, SEED


def test_damaged_and_hostile_inputs():
    """Over two thousand, of which eight hundred are stores; GH_FAULTS=20 draws twenty times as many, of a new seed.

    Each store through all commands: ``python -m tests.faults.fuzz --count 5000 --all``.
    """
    seed = SEED if "GH_FAULTS" in os.environ else 0
    command = [sys.executable, "-m", "tests.faults.fuzz", "--jobs", "2", "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--count", str(2400 * REPEATS)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
