"""Help, man pages, completions and reference: there for every command, without heavy imports, and up to date."""

import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.text import Text

from gh_tools import __version__
from gh_tools.trained_model.shipped import names

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NAMES = sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


# Packages that take long to import; commands import them once they know that they work.
HEAVY = set(
    "arviz ase e3x flax gpaw jax matplotlib numba numpy optax orbax pandas pydantic pymc pytensor scipy spglib xarray "
    "zarr".split()
)


@pytest.mark.parametrize("name", NAMES)
def test_help_imports_nothing_heavy_and_ends_with_an_example(name):
    # What is imported, not how long it takes: other programs lengthen processor time as well.
    line = [sys.executable, "-X", "importtime", BIN / name, "--help"]
    done = subprocess.run(line, capture_output=True, text=True)
    told = done.stderr.splitlines()
    report = [line for line in told if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in report}
    assert done.returncode == 0
    assert f"Usage: {name}" in done.stdout
    assert f"Example: {name}" in done.stdout
    assert "<bool>" not in done.stdout
    assert "list[str]" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert told == report
    assert {"gh_tools", "typer"} <= imported  # so that the report has been understood
    assert imported & HEAVY == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shows_the_version_of_the_project(name):
    done = subprocess.run([BIN / name, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gh-tools {__version__}\n", "")


def test_gh_tools_lists_every_other_command_in_80_columns():
    done = subprocess.run([BIN / "gh-tools"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line[0] != " ") == [
        name for name in NAMES if name != "gh-tools"
    ]
    assert max(map(len, lines)) < 80


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


def test_every_configuration_stands_in_the_reference(generate, commands):
    text = (ROOT / "share/gh_tools/docs/reference/commands.md").read_text()
    for command in commands.values():
        takes_keys = any("--set" in option.flags for option in command.options)
        found = generate.configurations(command)
        assert bool(found) == takes_keys, command.name
        for title, model in found:
            assert f"### {title}\n" in text
            for name, field in model.model_fields.items():
                assert field.description, f"{model.__name__}.{name} has no docstring"


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
        ("gh-label", "hfo2-", "--preset", ["hfo2-wse2"]),
        ("gh-dos", "s", "--solver", ["slices"]),
        ("gh-dos", "", "--fermi", ["count", "label"]),
        ("gh-build", "se", "--anneal", ["sevennet"]),
        ("gh-train", "loss.pair", "--set", ["loss.pairs="]),
    ],
)
def test_bash_completes(name, typed, previous, expected):
    assert _completed([name, previous, typed]) == expected


@pytest.mark.parametrize(
    "words, expected",
    [
        (["gh-build", "wse2", "--set", "se"], ["se_vacancies="]),
        (["gh-train", "--set", "optimizer.name", "=", "ad"], ["adan", "adam", "adamw"]),
        (["gh-dos", "--set", "projection", "="], ["mulliken", "lowdin"]),
    ],
)
def test_bash_completes_keys_and_their_values(words, expected):
    assert _completed(words) == expected


def test_models_are_completed_and_no_other_stores(tmp_path):
    """Those of the folder, and the names of those that come with gh-tools."""
    for kind in ("model", "spectra"):
        (tmp_path / f"x.{kind}.zarr").mkdir()
        history = '"history": [{"inputs": [{\n            "kind": "model"}]}]'
        text = f'{{\n  "attributes": {{\n    "kind": "{kind}",\n{history}}}}}'
        (tmp_path / f"x.{kind}.zarr/zarr.json").write_text(text)
    (tmp_path / "folder").mkdir()
    expected = sorted([*names(), "folder/", "x.model.zarr"])
    assert sorted(_completed(["gh-infer", "--model", ""], tmp_path)) == expected
    assert sorted(_completed_by_fish("gh-infer --model ", tmp_path)) == expected
    assert _completed_by_zsh("gh-infer --model x", tmp_path) == "gh-infer --model x.model.zarr "


def _completed(words, folder=ROOT):
    script = ROOT / "share/gh_tools/completions/gh-tools.bash"
    line = (
        f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_gh_tools "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", line, "bash", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("gh-label --preset ag", ["agau"]),
        ("gh-dos --solver sl", ["slices"]),
        ("gh-train --set optimizer.na", ["optimizer.name="]),
        ("gh-train --set schedule.name=cos", ["schedule.name=cosine"]),
        ("gh-info --tab", ["--table"]),
    ],
)
def test_fish_and_zsh_complete_the_same(line, completed, tmp_path):
    assert _completed_by_fish(line, tmp_path) == completed
    after = "" if completed[0].endswith("=") else " "
    assert _completed_by_zsh(line, tmp_path) == line.rpartition(" ")[0] + f" {completed[0]}{after}"


def _completed_by_fish(line, folder):
    # A shell that the machine lacks cannot be asked; bash, which all have, is.
    if shutil.which("fish") is None:
        pytest.skip("there is no fish")
    script = ROOT / "share/gh_tools/completions/gh-tools.fish"
    command = f"source {script}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [row.split("\t")[0] for row in done.stdout.splitlines()]


def _completed_by_zsh(line, folder):
    """Return the line after a tab, as zsh's line editor has it in a terminal of its own."""
    if shutil.which("zsh") is None:  # as for fish
        pytest.skip("there is no zsh")
    script = f"""
        zmodload zsh/zpty
        zpty -b inner zsh -f -i
        zpty -w inner 'PS1=; fpath=({ROOT}/share/gh_tools/completions $fpath); unsetopt beep'
        zpty -w inner 'autoload -Uz compinit; compinit -u -D'
        zpty -w inner 'show() {{ print -r -- "<$BUFFER>" > out; BUFFER=; zle .accept-line }}; zle -N show'
        zpty -w inner 'bindkey "^X" show; print ready > ready'
        repeat 400 {{ [[ -s ready ]] && break; sleep 0.05 }}
        zpty -w -n inner {shlex.quote(line)}$'\\t\\x18'
        repeat 400 {{ [[ -s out ]] && break; sleep 0.05; zpty -r -t inner ignored }}
        cat out
    """
    done = subprocess.run(["zsh", "-f", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()[1:-1]
