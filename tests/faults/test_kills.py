"""Runs that are killed at any instant: there is a whole store or none, and finished work stays finished.

GH_FAULTS=20 repeats twenty times as often.
"""

import subprocess
import time

import pytest

from gh_tools.store.hashes import verify_id
from gh_tools.store.output_checks import root_attributes
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures
from tests.cli.conftest import BIN
from tests.faults.conftest import REPEATS, until
from tests.faults.jobs import MADE, PARTS, PartialStore


def test_there_is_a_whole_store_at_every_instant(processes, tmp_path, rng):
    """A store is replaced for ever, and the process that does it killed: a reader never finds none, nor half."""
    path = tmp_path / "x.zarr"
    processes.run("write", path, 1, False)
    ids = {open_store(path).id}
    processes.run("write", path, 2, True)
    ids.add(open_store(path).id)
    period = 0.1  # seconds that a replacement takes on this machine, now
    for _ in range(40 * REPEATS):
        pid = processes.start("rewrite", path)
        before, began = (path / "zarr.json").stat().st_ino, time.monotonic()
        until(lambda before=before: (path / "zarr.json").stat().st_ino != before, pid)
        period = 0.5 * period + 0.5 * min(1.0, time.monotonic() - began)
        end = time.monotonic() + rng.uniform(0, period)
        while time.monotonic() < end:
            assert (path / "zarr.json").exists()
            time.sleep(0.0005)
        assert processes.kill(pid) == -9
        store = open_store(path)
        assert store.id in ids
        assert verify_id(store)
    assert processes.run("write", path, 3, True) == 0, processes.errors()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_publication_that_is_killed_repeats_nothing(processes, tmp_path, rng, overwrite):
    """Parts are computed once, whenever the run is killed from then on: joining, renaming, removing."""
    whole = tmp_path / "whole.zarr"
    path, log = tmp_path / "x.zarr", tmp_path / "log"
    pid = processes.start("combine", whole, False, False)
    last = tmp_path / f"whole.zarr.partial/parts/{PARTS - 1:06d}.npz"
    while not last.exists() and not whole.exists():
        time.sleep(0.001)
    began = time.monotonic()
    processes.wait(pid)
    period = 1.2 * (time.monotonic() - began)
    outcomes = set()
    for _ in range(20 * REPEATS):
        log.unlink(missing_ok=True)
        processes.run("write", path, 1, True) if overwrite else None
        old = open_store(path).id if overwrite else None
        pid = processes.start("combine", path, False, overwrite)
        parts = tmp_path / "x.zarr.partial/parts"
        while not (parts / f"{PARTS - 1:06d}.npz").exists():
            if (root_attributes(path) or {}).get("id") == root_attributes(whole)["id"]:
                break  # it was faster than we looked
            time.sleep(0.001)
        time.sleep(rng.uniform(0, period))
        processes.kill(pid)
        if path.exists():
            assert open_store(path).id in (old, open_store(whole).id)
        outcomes.add((path.exists(), parts.exists()))
        # On a machine that others use a run takes longer than the first one did.
        period *= 1.5 if parts.exists() else 0.8
        # make goes on like this, also after a run with --overwrite
        assert processes.run("combine", path, True, False) == 0, processes.errors()
        assert log.read_text().split() == [str(index) for index in range(PARTS)]
        store = open_store(path)
        assert (store.id, verify_id(store)) == (open_store(whole).id, True)
        before = (path / "zarr.json").stat().st_mtime_ns
        assert processes.run("combine", path, True, False) == 0
        assert (path / "zarr.json").stat().st_mtime_ns == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "whole.zarr", "x.zarr"]
        processes.run("write", path, 5, True) if overwrite else subprocess.run(["rm", "-r", path])
    assert len(outcomes) > 1, outcomes  # kills hit before and after


def test_work_that_is_killed_goes_on(processes, tmp_path, rng):
    path, log = tmp_path / "x.zarr", tmp_path / "log"
    for _ in range(20 * REPEATS):
        log.unlink(missing_ok=True)
        pid = processes.start("combine", path, False, False, 0.02)
        while not log.exists():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        processes.kill(pid)
        assert not path.exists()
        assert (
            processes.run("combine", path, False, False) == 73
        )  # there is something to go on with
        assert processes.run("combine", path, True, False) == 0, processes.errors()
        # At most the part that was under way is computed again
        assert len(log.read_text().split()) <= PARTS + 1
        assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "x.zarr"]
        subprocess.run(["rm", "-r", path])


def test_a_run_that_finished_before_its_unfinished_store_was_removed(processes, tmp_path):
    """The one instant that random kills may miss: between the two renames."""
    path = tmp_path / "x.zarr"
    processes.run("combine", path, False, False)
    partial = PartialStore(tmp_path / "y.zarr", MADE)
    partial.directory.rename(tmp_path / "x.zarr.partial")
    (tmp_path / "x.zarr.partial/published.json").write_text(f'{{"id": "{open_store(path).id}"}}')
    del partial
    (tmp_path / "log").unlink()
    before = (path / "zarr.json").stat().st_mtime_ns
    assert processes.run("combine", path, True, False) == 0, processes.errors()
    assert (path / "zarr.json").stat().st_mtime_ns == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]


def test_gh_build_is_killed(tmp_path, rng):
    """The installed command, killed around the moment of publication."""
    line = "gh-build wse2 --set size=[1,1] --set orthogonal=false -q -o x.zarr --overwrite --seed"
    command = [BIN / "gh-build", *line.split()[1:]]
    subprocess.run([*command, "0"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    path = tmp_path / "x.zarr"
    for seed in range(1, 1 + 4 * REPEATS):
        process = subprocess.Popen([*command, str(seed)], cwd=tmp_path, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(list(tmp_path.glob(".x.zarr.*"))) < 2:
            time.sleep(0.001)  # until its staging folder is there, beside the lock
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        assert verify_id(open_store(path))
        assert len(read_structures(path)) == 1
    subprocess.run([*command, "99"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]
