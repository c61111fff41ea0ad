"""No damaged or hostile store is accepted, hangs a command, or ends in anything but one sentence."""

import os
import subprocess
import sys
from pathlib import Path


def test_damaged_and_hostile_stores():
    """A thousand, of which a hundred and fifty go to commands; ``GH_TOOLS_FUZZ`` sets how many, and a new seed.

    Longer, and each through all commands: ``python -m tests.faults.fuzz --count 5000 --all``.
    """
    count = os.environ.get("GH_TOOLS_FUZZ")
    chosen = ["--count", count] if count else ["--count", "1000", "--seed", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fuzz", "--jobs", "2", *chosen],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
