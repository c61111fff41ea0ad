"""What stands for an installed command behaves as that does."""

import signal
import subprocess

import pytest

from tests.cli.conftest import BIN, run_shell
from tests.commands.server import forked

LINES = [
    "gh-info missing.zarr",
    "gh-tools nothing",
    "gh-build agau --print-config",
    "echo é | gh-info; exit ${PIPESTATUS[1]}",
    "cd elsewhere && umask 027 && gh-build agau --set size=[1,1,1] -q -o x.zarr && stat -c %a x.zarr",
]


@pytest.mark.parametrize("line", LINES)
def test_it_ends_and_says_what_the_installed_command_does(line, tmp_path):
    ends = []
    for name, path in (("forked", forked()), ("installed", BIN)):
        (tmp_path / name / "elsewhere").mkdir(parents=True)
        done = run_shell(path, line, tmp_path / name)
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_the_command(number):
    """Its standard output ends when the last process that holds it does: the command itself, too."""
    process = subprocess.Popen(
        [forked() / "gh-info"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(60) == (130 if number == signal.SIGINT else -number)


def test_where_a_library_would_see_another_environment_the_installed_command_starts(tmp_path):
    done = run_shell(forked(), "gh-tools", tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0 and "import time:" in done.stderr
    assert "import time:" not in run_shell(forked(), "gh-tools", tmp_path).stderr
