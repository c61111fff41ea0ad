"""Two runs of gh-label, gh-train and gh-infer at once, after one that was killed, each with --resume or --overwrite.

GH_FAULTS=20 repeats twenty times as often.
"""

import itertools
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from ase import Atoms

from gh_tools.store.audit import check_store
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, write_structures
from tests.faults.conftest import REPEATS, Processes, until
from tests.faults.jobs import MADE

TINY = (
    "model.model=gears-h model.atom_centered.n_tensor_dense=0 model.atom_centered.radial_basis.n_radial=4 "
    "model.bond_centered.n_radial=4 model.bond_centered.features=4 model.mlp.layers=[4] data.bucket_count=1 epochs=2 last_layers=0 "
    "metrics.eigenvalue_interval=4"
)
TRAIN = "gh-train x.scaleshift.zarr -o y.zarr " + " ".join(f"--set {key}" for key in TINY.split())
LABEL = "gh-label x.structures.zarr --set h=0.4 --set vacuum=2.0 -o y.zarr"
BONDS = (0.7, 0.75, 0.8)
PAIRS = list(itertools.combinations_with_replacement(["--resume", "--overwrite"], 2))


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """Processes that have imported all that commands do."""
    with (tmp_path_factory.mktemp("commands") / "errors").open("w+") as errors:
        found = Processes(errors, "commands")
        found.errors = lambda: Path(errors.name).read_text()
        yield found
        found.close()


def kill(commands, pid):
    """Kill a command with its workers."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not begun, or has ended
        os.kill(pid, signal.SIGKILL)
    return commands.wait(pid)


def sound(path):
    assert check_store(open_store(path), deep=True)[0] == []
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")] == []
    assert not path.with_name("y.zarr.partial").exists()
    return open_store(path).id


def at_once(commands, folder, line, rng):
    """Start a run, kill it, and let two go on; return the id of what they leave."""
    pid = commands.start("command", line, folder)
    partial, path = folder / "y.zarr.partial", folder / "y.zarr"
    until(lambda: partial.exists() or path.exists(), pid)
    time.sleep(rng.uniform(0, 1))
    kill(commands, pid)
    pair = PAIRS[rng.integers(len(PAIRS))]
    pids = [commands.start("command", f"{line} {option}", folder) for option in pair]
    codes = sorted(commands.wait(pid) for pid in pids)
    # One works, and the other one ends with 75, or comes when all is done.
    assert codes in ([0, 0], [0, 75]), (pair, codes, commands.errors())
    return sound(path)


def test_two_that_label(commands, tmp_path, rng):
    atoms = [Atoms("H2", [[0, 0, 0], [0, 0, bond]]) for bond in BONDS]
    for number in range(REPEATS):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = [f"h2-{k}" for k in range(len(atoms))]
        write_structures(folder / "x.structures.zarr", Structures(atoms, names), MADE)
        at_once(commands, folder, LABEL, rng)
        assert len(open_store(folder / "y.zarr")["structures/name"]) == len(BONDS)


def test_two_that_train(commands, small_stores, tmp_path, rng):
    ids = set()
    for number in range(REPEATS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for kind in ("hamiltonians", "scaleshift"):
            shutil.copytree(small_stores[kind], folder / small_stores[kind].name)
        ids.add(at_once(commands, folder, TRAIN, rng))
    assert len(ids) == 1


def test_two_that_predict(commands, tiny_labels, random_model, tmp_path, rng):
    line = f"gh-infer {tiny_labels} -m {random_model} -o y.zarr"
    ids = set()
    for number in range(REPEATS):
        folder = tmp_path / str(number)
        folder.mkdir()
        ids.add(at_once(commands, folder, line, rng))
    assert len(ids) == 1


def test_several_that_label_are_killed_while_parts_are_joined(commands, tmp_path, rng):
    """No structure is computed twice, whether the kill comes before, in, or after the join."""
    atoms = [Atoms("H2", [[0, 0, 0], [0, 0, bond]]) for bond in BONDS]
    names = [f"h2-{k}" for k in range(len(atoms))]
    write_structures(tmp_path / "x.structures.zarr", Structures(atoms, names), MADE)
    parts, path = tmp_path / "y.zarr.partial/parts", tmp_path / "y.zarr"
    for _ in range(REPEATS):
        pid = commands.start("command", f"{LABEL} -j 2", tmp_path)
        until(lambda: len(list(parts.glob("[0-9]*.npz"))) == len(BONDS) or path.exists(), pid)
        time.sleep(rng.uniform(0, 0.3))
        kill(commands, pid)
        written = {file.name: file.stat().st_mtime_ns for file in parts.glob("[0-9]*.npz")}
        finished = path.exists()
        assert finished or len(written) == len(BONDS)
        before = time.time_ns()
        code = commands.wait(commands.start("command", f"{LABEL} -j 2 --resume -v", tmp_path))
        assert code == 0, commands.errors()
        assert finished or "3 of 3 structures are there already" in commands.errors()
        assert not finished or (path / "zarr.json").stat().st_mtime_ns < before
        sound(path)
        shutil.rmtree(path)
