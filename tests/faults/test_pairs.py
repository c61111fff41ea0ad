"""Two runs at once, on one output or on one input.

GH_FAULTS=20 repeats twenty times as often.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from gh_tools.errors import CannotCreateError, DataError
from gh_tools.resources import share_path
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.hashes import verify_id
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures, write_structures
from tests.cli.conftest import BIN
from tests.commands.server import forked
from tests.faults.conftest import REPEATS, until
from tests.faults.jobs import MADE, PARTS, PartialStore, filled, structures


def build(folder, *options):
    line = "wse2 --set size=[1,1] --set orthogonal=false -o x.zarr"
    command = [forked() / "gh-build", *line.split(), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("resume", [False, True])
def test_of_two_runs_at_once_one_works(processes, tmp_path, resume):
    whole = tmp_path / "whole.zarr"
    processes.run("combine", whole, False, False)
    for number in range(8 * REPEATS):
        path = tmp_path / f"{number}" / "x.zarr"
        path.parent.mkdir()
        pids = [processes.start("combine", path, resume, False, 0.002) for _ in range(2)]
        codes = sorted(processes.wait(pid) for pid in pids)
        # The second may come so late that all is done: nothing is left to resume, or something is there.
        assert codes in ([0, 75], [0, 0] if resume else [0, 73]), processes.errors()
        store = open_store(path)
        assert (store.id, verify_id(store)) == (open_store(whole).id, True)
        assert sorted(p.name for p in path.parent.iterdir()) == ["log", "x.zarr"]
        assert (path.parent / "log").read_text().split() == [str(k) for k in range(PARTS)]


def test_two_that_replace_leave_one_of_theirs(processes, tmp_path):
    path = tmp_path / "x.zarr"
    processes.run("write", path, 0, False)
    for _ in range(8 * REPEATS):
        pids = [processes.start("write", path, distance, True) for distance in (1, 2)]
        assert {processes.wait(pid) for pid in pids} <= {0, 75}
        assert verify_id(open_store(path))
        assert read_structures(path).atoms[0].positions[1, 2] in (1, 2)
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]


def test_the_second_run_says_who_is_at_work(processes, tmp_path):
    pid = processes.start("hold", tmp_path / "x.zarr", 60)
    until(lambda: any(f.stat().st_size for f in tmp_path.glob(".x.zarr.gh-lock")), pid)
    done = build(tmp_path, "--overwrite")
    assert (done.returncode, done.stdout) == (75, "")
    assert f"x.zarr: process {pid} on {socket.gethostname()} (jobs.py, since 20" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    # A run that is killed holds nothing, and what it leaves is taken over.
    assert processes.kill(pid) == -signal.SIGKILL
    assert build(tmp_path, "--overwrite").returncode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]


def test_a_forked_process_that_outlives_its_parent_holds_nothing(processes, tmp_path):
    pid = processes.start("hold", tmp_path / "x.zarr", 5, True)
    until(lambda: any(f.stat().st_size for f in tmp_path.glob(".x.zarr.gh-lock")), pid)
    time.sleep(0.1)  # it forks
    processes.kill(pid)
    assert processes.run("write", tmp_path / "x.zarr", 1, False) == 0, processes.errors()


def test_make_deletes_nothing_where_another_run_is_at_work(processes, small_stores, tmp_path):
    """Code 75 is an error to make, which deletes the targets of those if it is told to."""
    shutil.copytree(small_stores["hamiltonians"], tmp_path / "x.hamiltonians.zarr")
    shutil.copytree(small_stores["spectra"], tmp_path / "x.spectra.zarr")
    os.utime(tmp_path / "x.spectra.zarr/zarr.json", (0, 0))
    os.utime(tmp_path / "x.hamiltonians.zarr/zarr.json", (1, 1))
    rules = f"include {share_path('make/gh.mk')}\nDOS_FLAGS = --kpts 1 1 1 --points 20\n"
    (tmp_path / "Makefile").write_text(f"{rules}all: x.spectra.zarr/zarr.json\n.DELETE_ON_ERROR:\n")
    kept = open_store(tmp_path / "x.spectra.zarr").id
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}

    def make():
        return subprocess.run(
            ["make"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    pid = processes.start("hold", tmp_path / "x.spectra.zarr", 60)
    until(lambda: any(f.stat().st_size for f in tmp_path.glob(".x.spectra.zarr.gh-lock")), pid)
    held = make()
    assert held.returncode == 2 and "Error 75" in held.stderr, held.stderr
    assert f"process {pid}" in held.stderr
    assert open_store(tmp_path / "x.spectra.zarr").id == kept
    processes.kill(pid)
    done = make()
    assert done.returncode == 0, done.stderr
    assert verify_id(open_store(tmp_path / "x.spectra.zarr"))


def test_plain_starts_of_a_command_at_the_same_moment(tmp_path):
    line = "gh-build wse2 --set size=[1,1] --set orthogonal=false -q -o x.zarr"
    command = [BIN / "gh-build", *line.split()[1:]]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    codes = sorted(process.wait() for process in both)
    assert codes in ([0, 73], [0, 75]), [process.stderr.read() for process in both]
    assert verify_id(open_store(tmp_path / "x.zarr"))


def test_shards_work_at_once_and_the_join_waits_for_them(processes, tmp_path):
    path = tmp_path / "x.zarr"
    pids = [processes.start("shard", path, index, 2.0) for index in range(3)]
    parts = tmp_path / "x.zarr.partial/parts"
    until(parts.exists, *pids)
    assert processes.run("combine", path, True, False) == 75
    assert {processes.wait(pid) for pid in pids} == {0}, processes.errors()
    assert processes.run("combine", path, True, False) == 0
    assert (tmp_path / "log").read_text().split() == [str(k) for k in range(3, PARTS)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "x.zarr"]


def test_what_appears_meanwhile_is_left_as_it_is(tmp_path):
    other = write_structures(tmp_path / "other.zarr", structures(1), MADE)
    path = tmp_path / "x.zarr"
    partial = PartialStore(path, MADE)
    shutil.copytree(other, path)
    kept = open_store(path).id
    with pytest.raises(CannotCreateError, match="has appeared while this run was at work"):
        partial.publish("structures", filled(2))
    assert open_store(path).id == kept
    del partial
    with pytest.raises(CannotCreateError, match="has appeared, or was replaced"):
        PartialStore(path, MADE, resume=True)
    PartialStore(path, MADE, resume=True, overwrite=True).publish("structures", filled(2))
    assert open_store(path).id != kept
    # Anything else is not replaced, with --overwrite either.
    partial = PartialStore(path, MADE, overwrite=True)
    shutil.rmtree(path)
    path.mkdir()
    (path / "precious").touch()
    with pytest.raises(CannotCreateError, match="no store of gh-tools"):
        partial.publish("structures", filled(2))
    assert (path / "precious").exists()


def test_a_store_that_is_replaced_while_it_is_read_is_an_error(tiny_labels, tmp_path):
    """Every block comes from the store that was opened, or there is an error."""
    path, other = tmp_path / "x.zarr", tmp_path / "y.zarr"
    shutil.copytree(tiny_labels, path)
    shutil.copytree(tiny_labels, other)
    reader = HamiltonianReader(path)
    first = reader.read(0)
    os.utime(path / "zarr.json")  # what make does with what it is told to make anew
    second = reader.read(1)
    positions = reader.store["atoms/position"]
    path.rename(tmp_path / "z.zarr")
    other.rename(path)
    key = next(iter(first.pairs))
    for read in (
        lambda: reader.read(2),
        lambda: reader.store.read(f"pairs/{key[0]}-{key[1]}/hamiltonian", slice(1, None)),
    ):
        with pytest.raises(DataError, match="was replaced or removed while it was read"):
            read()
    # What was read already is still that of the store that was opened.
    assert np.array_equal(reader.store["atoms/position"], positions)
    again = HamiltonianReader(path)
    assert np.array_equal(second.pairs[key].hamiltonian, again.read(1).pairs[key].hamiltonian)


def test_a_store_that_is_copied_over_while_it_is_read_is_an_error(tmp_path):
    path = write_structures(tmp_path / "x.zarr", structures(1), MADE)
    other = write_structures(tmp_path / "y.zarr", structures(2), MADE)
    store = open_store(path)
    shutil.copytree(other, path, dirs_exist_ok=True)
    with pytest.raises(DataError, match="was replaced"):
        store.read("atoms/position", slice(1, None))


def test_a_command_whose_input_is_replaced_ends_with_an_error(tiny_labels, tmp_path):
    """gh-dos is stopped when it has opened its input, and goes on when that is another store."""
    source = tmp_path / "h.zarr"
    shutil.copytree(tiny_labels, source)
    command = [BIN / "gh-dos", "h.zarr", "--kpts", "2", "2", "1", "-q", "-o", "d.zarr"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "d.zarr.partial").exists() or process.poll() is not None, process.pid)
    process.send_signal(signal.SIGSTOP)
    shutil.copytree(tiny_labels, tmp_path / "new")
    document = json.loads((tmp_path / "new/zarr.json").read_text())
    document["attributes"]["id"] = "0" * 64
    (tmp_path / "new/zarr.json").write_text(json.dumps(document))
    source.rename(tmp_path / "old")
    (tmp_path / "new").rename(source)
    process.send_signal(signal.SIGCONT)
    assert process.wait() in (65, 75)
    assert "h.zarr: " in process.stderr.read()
    assert not (tmp_path / "d.zarr").exists()
