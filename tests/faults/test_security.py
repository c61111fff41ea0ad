"""Configurations that others wrote: what they name is not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gh_tools.structures.calculators import keys_that_run_code

BIN = Path(sys.executable).parent


def bash(line, folder):
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("emt", {}, []),
        ("chgnet", {"device": "cuda", "layers": [1, 2]}, []),
        ("sevennet", {"model": "7net-0"}, []),
        ("sevennet", {"model": "./evil.pth"}, ["anneal.options.model"]),
        ("sevennet", {"model": "evil.pth"}, ["anneal.options.model"]),
        ("chgnet", {"a": {"b": ["c", "evil.pth"]}}, ["anneal.options.a"]),
        ("mace:mpa0.model", {"device": "cpu"}, ["anneal.calculator"]),
        ("lammps:hfo2", {}, []),
        ("lammps:my.lammps", {}, ["anneal.calculator"]),
        ("os:system", {"command": "true"}, ["anneal.calculator", "anneal.options.command"]),
    ],
)
def test_what_runs_code_is_known(tmp_path, monkeypatch, name, options, keys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").touch()
    assert keys_that_run_code(name, options) == keys


def test_a_configuration_runs_nothing_that_the_command_line_does_not_name(tmp_path):
    (tmp_path / "evil.py").write_text(
        "from ase.calculators.emt import EMT as Evil\n\nopen('owned', 'w').close()\n"
    )
    (tmp_path / "c.toml").write_text(
        'recipe = "agau"\nsize = [1, 1, 1]\n[anneal]\ncalculator = "evil:Evil"\n'
        "temperatures = [300]\nsteps = [2]\nfinal_fmax = 10.0\n"
    )
    refused = bash("gh-build -c c.toml -o x.zarr", tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert "c.toml: anneal.calculator names code" in refused.stderr
    assert not (tmp_path / "owned").exists() and not (tmp_path / "x.zarr").exists()
    trusted = bash("gh-build -c c.toml --anneal evil:Evil -o x.zarr", tmp_path)
    assert trusted.returncode == 0, trusted.stderr
    assert (tmp_path / "owned").exists()
