"""Run commands in a shell, as a user does."""

import functools
import importlib
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from gh_tools.console import log
from tests.commands.server import forked

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def run_shell(path, line, folder, stdin="", **environment):
    """Run a shell line in a folder, the commands of a path first."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", **environment},
    )


@pytest.fixture(scope="session")
def installed():
    """Return a function that runs a shell line in a folder, with the installed commands."""
    return functools.partial(run_shell, BIN)


@pytest.fixture(scope="session")
def shell():
    """Return such a function whose commands need not import everything anew."""
    return functools.partial(run_shell, f"{forked()}:{BIN}")


@pytest.fixture
def gh(shell, tmp_path):
    """Return a function that runs a shell line in an empty folder."""

    def run(line, stdin="", **environment):
        return shell(line, tmp_path, stdin, **environment)

    run.folder = tmp_path
    return run


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs one command line in a folder, within this process.

    For cases so many that importing everything anew for each would take minutes.
    """
    handlers, propagate, level = log.handlers[:], log.propagate, log.level

    def run(line, folder):
        monkeypatch.chdir(folder)
        name, *arguments = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [name, *arguments])  # what goes into the history
        module, attribute = SCRIPTS[name].split(":")
        app = getattr(importlib.import_module(module), attribute)
        with pytest.raises(SystemExit) as stop:
            app(arguments, prog_name=name)
        captured = capsys.readouterr()
        return SimpleNamespace(returncode=stop.value.code, stdout=captured.out, stderr=captured.err)

    yield run
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture(scope="session")
def generate():
    """Return the script that writes pages, completions and reference, as a module."""
    folder = str(ROOT / "share/gh_tools")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("generate")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="session")
def commands(generate):
    """Return what there is to say about each command, by name."""
    return {command.name: command for command in generate.commands()}
