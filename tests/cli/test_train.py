"""gh-train as a person runs it, in processes of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gh_tools.store.io import open_store

COMMAND = [str(Path(sys.executable).with_name("gh-train"))]
SETTINGS = {
    "model.model": "gears-h",
    "model.atom_centered.n_tensor_dense": 0,
    "model.atom_centered.radial_basis.n_radial": 4,
    "model.bond_centered.n_radial": 4,
    "model.bond_centered.features": 4,
    "model.mlp.layers": "[4]",
    "data.bucket_count": 1,
    "metrics.eigenvalue_interval": 4,
    "checkpoint_interval": 0.01,
    "epochs": 8,
}
SMALL = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]


def train(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def kill_when_trained(signal_number, checkpoints: Path, steps: int, *arguments) -> int:
    """Send a signal once so many checkpoints were written; return the exit code."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200

    def latest() -> int:
        names = checkpoints.iterdir() if checkpoints.exists() else ()
        return max((int(p.name) for p in names if p.name.isdigit()), default=-1)

    while latest() < steps and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal_number)
    return process.wait(timeout=100)


def test_interrupted_and_killed_runs_end_as_one_without(tiny_scaleshift, tmp_path):
    whole, broken = tmp_path / "whole.model.zarr", tmp_path / "broken.model.zarr"
    checkpoints = tmp_path / "broken.model.zarr.partial/checkpoints"
    first = (tiny_scaleshift, "-o", broken, *SMALL)
    assert kill_when_trained(signal.SIGINT, checkpoints, 2, *first) == 130
    assert not broken.exists()
    refused = train(*first)
    assert refused.returncode == 73
    assert "--resume" in refused.stderr
    assert kill_when_trained(signal.SIGKILL, checkpoints, 7, *first, "--resume") == -9
    resumed = train(*first, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == f"{broken}\n"

    done = train(tiny_scaleshift, "-o", whole, *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["path"] == str(whole)
    assert facts["steps"] == 16
    assert "H MAE" in done.stderr
    # The id is a hash of all arrays and attributes: weights, history, best metrics.
    assert open_store(broken).id == open_store(whole).id
    assert open_store(broken).history[-1]["program"] == "gh-train"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "optimizer.learnin_rate=1"], 2, "learnin_rate"),
        (["--set", "budget=soon"], 2, "budget"),
        (["-c", "missing.toml"], 66, "missing.toml: no such configuration file"),
        (["--split", "missing.json"], 66, "missing.json"),
        (["--hamiltonians", "missing.zarr"], 66, "missing.zarr: no such store"),
    ],
)
def test_mistakes_are_named_in_one_sentence(tiny_scaleshift, tmp_path, arguments, code, said):
    run = train(tiny_scaleshift, "-o", tmp_path / "m.zarr", *arguments, cwd=tmp_path)
    assert run.returncode == code, run.stderr
    lines = run.stderr.strip().splitlines()
    assert lines[-1].startswith("gh-train: error: ")
    assert said in lines[-1]
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_reads_the_path_from_a_pipe_and_refuses_other_stores(
    tiny_scaleshift, tiny_labels, tmp_path
):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2], "validation": [3]}))
    options = ["-o", tmp_path / "m.zarr", "--split", split, "--dry-run"]
    planned = train("-", *options, input=f"{tiny_scaleshift}\n")
    assert planned.returncode == 0, planned.stderr
    assert "3 training, 1 validation and 0 test" in planned.stderr
    assert planned.stdout == ""
    assert not (tmp_path / "m.zarr.partial").exists()
    assert train("-", *options, input="").returncode == 66
    wrong = train(tiny_labels, *options)
    assert wrong.returncode == 65
    assert "expected a store of kind scaleshift, found hamiltonians" in wrong.stderr


def test_the_printed_configuration_is_a_configuration(tmp_path):
    printed = train("--print-config", "--set", "optimizer.name=lamb", "--seed", 3)
    file = tmp_path / "again.toml"
    file.write_text(printed.stdout)
    assert train("--print-config", "-c", file).stdout == printed.stdout
    assert 'name = "lamb"' in printed.stdout
    assert "seed = 3" in printed.stdout
