"""Help, man pages, completions and reference: there for every command, quick, and up to date."""

import importlib.util
import resource
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.text import Text

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NAMES = sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


@pytest.fixture(scope="session")
def generate():
    """Return the script that writes pages, completions and reference, as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "share/gh_tools/generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def commands(generate):
    return {command.name: command for command in generate.commands()}


def seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("name", NAMES)
def test_help_is_quick_and_ends_with_an_example(name):
    times = []
    for _ in range(2):
        before = seconds_of_children()
        done = subprocess.run([BIN / name, "--help"], capture_output=True, text=True)
        times.append(seconds_of_children() - before)
    assert done.returncode == 0
    assert f"Usage: {name}" in done.stdout
    assert f"Example: {name}" in done.stdout
    assert done.stderr == ""
    # Processor time: on a busy machine the time on the clock says nothing about the command. The
    # first run may have compiled modules.
    assert min(times) < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained_and_the_example_uses_real_ones(name, commands):
    command = commands[name]
    for parameter in [*command.arguments, *command.options]:
        assert parameter.help, f"{name}: {parameter.flags or parameter.metavar} has no help"
        # What looks like markup is not shown, such as [default: 5].
        assert Text.from_markup(parameter.help).plain == parameter.help, parameter.help
    flags = {flag for option in command.options for flag in option.flags}
    program, *words = shlex.split(command.example.split("|")[0].split(">")[0])
    assert program == name
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in flags]
    assert unknown == []


def test_generated_files_are_up_to_date(generate):
    stale = [
        str(path.relative_to(ROOT))
        for path, text in generate.files().items()
        if not path.exists() or path.read_text() != text
    ]
    assert stale == [], "run python share/gh_tools/generate.py"


def test_every_command_has_a_man_page_and_every_page_a_command():
    pages = {path.stem for path in (ROOT / "share/gh_tools/man").glob("*.1")}
    assert pages == set(NAMES)


def test_troff_has_no_accidental_requests(generate):
    # A line that starts with a dot is a request: only those that the pages mean to make.
    known = {".TH", ".SH", ".PP", ".TP", ".B", ".nf", ".fi"}
    for path, text in generate.files().items():
        if path.suffix == ".1":
            starts = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
            assert starts <= known, path


@pytest.mark.parametrize(
    "name, typed, previous, expected",
    [
        ("gh-build", "ws", "gh-build", ["wse2"]),
        ("gh-build", "--ov", "wse2", ["--overwrite"]),
        ("gh-info", "--de", "gh-info", ["--deep", "--debug"]),
        ("gh-info", "x", "gh-info", []),
    ],
)
def test_bash_completes(name, typed, previous, expected):
    script = ROOT / "share/gh_tools/completions/gh-tools.bash"
    line = f'source {script}; _gh_tools {name} "{typed}" {previous}; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
