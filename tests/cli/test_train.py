"""gh-train as a person runs it, in processes of its own."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gh_tools.store.read import open_store
from tests.commands.server import forked

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
    "last_layers": 0,
}
SMALL = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]


def train(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [forked() / "gh-train", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def kill_when_trained(signal_number, checkpoints: Path, steps: int, *arguments) -> int:
    """Send a signal once so many checkpoints were written; return the exit code."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def latest() -> int:
        names = checkpoints.iterdir() if checkpoints.exists() else ()
        return max((int(p.name) for p in names if p.name.isdigit()), default=-1)

    while latest() < steps and process.poll() is None:
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
    # The store's name is enough: inputs and options are in its history.
    resumed = train("--resume", "-o", broken)
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

    # A finished model is not touched, and tells the same.
    before = (whole / "zarr.json").stat().st_mtime_ns
    again = train(tiny_scaleshift, "-o", whole, *SMALL, "--json", "--resume")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == facts
    assert (whole / "zarr.json").stat().st_mtime_ns == before
    assert not list(tmp_path.glob("*.partial"))


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


@pytest.fixture(scope="module")
def short(tiny_scaleshift, tmp_path_factory):
    """A model of four epochs, its facts, and the picture of its learning curve."""
    folder = tmp_path_factory.mktemp("short")
    run = train(
        *(tiny_scaleshift, "-o", folder / "m.model.zarr", *SMALL, "--set", "epochs=4"),
        *("--set", "optimizer.learning_rate=0.02", "--plot", folder / "m.png", "--json"),
    )
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout), run.stderr


def test_the_report_is_the_same_from_the_store(short, call):
    folder, facts, shown = short
    assert facts["verdict"]["sentence"] in shown
    assert set(facts["errors"]["by_species_pair"]) == {"Se", "W", "Se-Se", "Se-W", "W-W"}
    # The average over pairs and on-site blocks is between the least and the largest of its parts.
    parts = facts["errors"]["by_species_pair"].values()
    assert min(parts) < facts["validation"]["hamiltonian"] < max(parts)
    curve = facts["learning_curve"]
    assert curve["epoch"] == [0, 1, 2, 3, 4]
    assert curve["hamiltonian_train"][-1] < curve["hamiltonian_train"][0]
    assert all(a < b for a, b in itertools.pairwise(curve["seconds"]))
    assert (folder / "m.png").read_bytes().startswith(b"\x89PNG")

    told = call("gh-info m.model.zarr --json --check --plot again.png", folder)
    assert json.loads(told.stdout)["training"] == {
        name: facts[name] for name in ("verdict", "validation", "errors", "learning_curve")
    }
    assert (folder / "again.png").exists()
    lines = call("gh-info m.model.zarr", folder).stdout
    # Material, verdict, errors, domain, in this order; weights only where they are asked for.
    order = [
        "Se, W: ",
        "verdict: " + facts["verdict"]["sentence"],
        "H MAE",
        "trained on:",
        "basis:",
    ]
    places = [lines.index(part) for part in order]
    assert places == sorted(places)
    assert "parameters/" not in lines
    assert call("gh-info m.model.zarr --weights", folder).stdout.startswith(lines)


def tuned(parent, scaleshift, output, *settings) -> dict:
    """Fine-tune for two epochs, and give the facts."""
    epochs = ["--set", "metrics.interval=1", "--set", "epochs=2"]
    run = train(scaleshift, "--from", parent, "-o", output, *epochs, *settings, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def child(short, tiny_scaleshift):
    """The short model, fine-tuned to the tiny labels once more."""
    folder, _, _ = short
    path = folder / "child.model.zarr"
    return path, tuned(folder / "m.model.zarr", tiny_scaleshift, path)


def test_fine_tuning_starts_where_the_parent_ended(short, child, tiny_scaleshift, tmp_path):
    folder, facts, _ = short
    parent, (path, found) = folder / "m.model.zarr", child
    started = found["learning_curve"]["hamiltonian"][0]
    assert started == pytest.approx(facts["best"]["hamiltonian"]["value"], rel=1e-5)
    assert found["validation"]["hamiltonian"] <= facts["validation"]["hamiltonian"]
    assert found["n_parameters"] == facts["n_parameters"]
    entry = open_store(path).history[-1]
    assert open_store(parent).id in [source["id"] for source in entry["inputs"]]
    assert entry["config"]["model"]["bond_centered"]["n_radial"] == 4

    other = train(
        *(tiny_scaleshift, "--from", parent, "-o", tmp_path / "x.zarr"),
        *("--set", "model.mlp.layers=[5]"),
    )
    assert other.returncode == 2
    assert "model.mlp" in other.stderr


def test_double_precision_gives_the_same_error(short, child, tiny_scaleshift, tmp_path):
    """Four steps from the same weights: those that are drawn differ between precisions.

    Rounding (6e-8) enters each gradient, and Adam divides by its size: it moves weights by parts of
    the learning rate only where gradients all but vanish, and there they hardly matter.
    """
    (folder, _, _), (_, single) = short, child
    path = tmp_path / "double.model.zarr"
    parent = folder / "m.model.zarr"
    double = tuned(parent, tiny_scaleshift, path, "--set", "precision=float64")
    for name in ("hamiltonian", "onsite", "loss"):
        found, expected = double["learning_curve"][name][1:], single["learning_curve"][name][1:]
        assert found == pytest.approx(expected, rel=1e-4), name
    key = open_store(path).keys("parameters/")[0]
    assert open_store(path)[key].dtype == "float64"
