"""Run the installed commands in a shell, as a user does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def shell():
    """Return a function that runs a shell line in a folder, the commands of this Python first."""

    def run(line, folder, stdin="", **environment):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        )

    return run


@pytest.fixture
def gh(shell, tmp_path):
    """Return a function that runs a shell line in an empty folder."""

    def run(line, stdin="", **environment):
        return shell(line, tmp_path, stdin, **environment)

    run.folder = tmp_path
    return run
