"""Homes that cannot be written, disks that are full, and what is no scheduler."""

import errno
import http.server
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dask
import numpy as np
import pytest

from gh_tools.cli.command import _describe
from gh_tools.errors import DataError, NoInputError, TryAgainError
from gh_tools.resources import disk_error
from gh_tools.training.checkpoints import Checkpoints, RunState
from gh_tools.workers.cluster import Cluster
from gh_tools.workers.task import attempt, checked
from tests.faults.cases import call

BIN = Path(sys.executable).parent


def bash(line, folder, **environment):
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_home_that_cannot_be_written_is_a_warning(tmp_path):
    """Where the home would be there is a file: so it cannot be written by root either."""
    home = tmp_path / "file"
    home.touch()
    code = (
        "from gh_tools import console; console.configure()\n"
        "from gh_tools.trained_model.runtime import configure_jax; configure_jax('float32')\n"
        "import jax, os, subprocess, sys; jax.jit(lambda x: 2 * x)(1.0).block_until_ready()\n"
        "folder = os.environ['XDG_CACHE_HOME']; print(folder, len(os.listdir(folder + '/jax')), flush=True)\n"
        "again = 'from gh_tools.resources import cache_folder; print(cache_folder())'\n"
        "subprocess.run([sys.executable, '-c', again], check=True)\n"
    )
    (tmp_path / "run.py").write_text(code)
    environment = {"HOME": str(home), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": ""}
    done = bash(f"{sys.executable} run.py", tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1
    assert "Traceback" not in done.stderr and "Error writing" not in done.stderr
    (first, entries), (second,) = (line.split() for line in done.stdout.splitlines())
    assert int(entries) > 0
    assert Path(second).parent == Path(first)
    assert not Path(first).exists()


@pytest.fixture
def impatient():
    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        yield


def test_what_answers_but_is_no_scheduler_is_not_waited_for(impatient):
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        for port in (web.server_port, silent.getsockname()[1]):
            with pytest.raises(TryAgainError, match="no scheduler answers"):
                Cluster(f"tcp://127.0.0.1:{port}")
        for address in (f"http://127.0.0.1:{web.server_port}", "tcp://", "tcp://127.0.0.1:99999"):
            with pytest.raises(TryAgainError, match="no scheduler answers"):
                Cluster(address)
    finally:
        web.shutdown()
        silent.close()


def test_a_scheduler_file_is_waited_for_but_not_for_ever(impatient, tmp_path, monkeypatch):
    monkeypatch.setattr("gh_tools.workers.cluster._FILE_PATIENCE", 1.0)
    file = tmp_path / "scheduler.json"
    for content in ("", '{"addr', "[1]", "{}", "[" * 100_000):
        file.write_text(content)
        with pytest.raises(TryAgainError, match=r"scheduler\.json: expected the address"):
            Cluster(str(file))
    monkeypatch.setattr("gh_tools.workers.cluster._FILE_PATIENCE", 60.0)
    writer = threading.Timer(0.3, file.write_text, ['{"address": "tcp://127.0.0.1:1"}'])
    writer.start()
    with pytest.raises(
        TryAgainError, match="no scheduler answers"
    ):  # it was read when it was whole
        Cluster(str(file))
    writer.join()
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(DataError, match="expected a scheduler file"):
            Cluster(name)
    for name in ("", "no-such-file"):
        with pytest.raises(NoInputError, match="no such scheduler file"):
            Cluster(name)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, and a function that makes it larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    # A full disk is a small one here: nothing else makes all system calls fail as they do on a full one, and CI and
    # containers mostly are root. Who is not, or is in a container without the right to mount, is told of the skip.
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)

    yield folder, enlarge
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, left):
    size = shutil.disk_usage(folder).free - left
    (folder / "fill").write_bytes(bytes(size))


def write_much(folder):
    (Path(folder) / "much").write_bytes(bytes(1 << 20))


def test_a_full_disk_is_a_sentence_with_its_path(small_disk):
    folder, enlarge = small_disk
    fill(folder, 20_000)
    line = "gh-build wse2 -n 2 --set size=[1,1] --set orthogonal=false -o small/x.zarr"
    failed = bash(line, folder.parent)
    assert failed.returncode == 73
    assert failed.stderr.startswith(f"gh-build: error: {folder}")
    assert failed.stderr.count("\n") == 1 and "No space left on device" in failed.stderr
    assert not (folder / "x.zarr").exists()
    enlarge()
    assert bash(line, folder.parent).returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        "gh-bands h.zarr --points 3 --kpts 1 1 1 -o small/x.json",
        "gh-bands h.zarr --points 3 --kpts 1 1 1 -o small/x.png",
        "gh-eval h.zarr h.zarr --plot small/x.pdf",
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o small/x.zarr",
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o d.zarr --plot small/x.svg",
        "gh-info m.zarr --plot small/x.png",
    ],
)
def test_a_full_disk_leaves_no_half_of_a_picture_or_of_data(
    small_disk, small_stores, line, monkeypatch
):
    folder, enlarge = small_disk
    monkeypatch.chdir(folder.parent)
    Path("h.zarr").symlink_to(small_stores["hamiltonians"])
    Path("m.zarr").symlink_to(small_stores["model"])
    fill(folder, 0)
    code, _, err = call(line)
    assert code == 73, err
    assert "No space left on device" in err and err.count("error:") == 1
    assert {entry.name.removesuffix(".partial") for entry in folder.iterdir()} <= {"fill", "x.zarr"}
    assert not (folder / "x.zarr").exists()
    enlarge()
    go_on = " --resume" if "gh-dos" in line and Path("d.zarr").exists() else ""
    code, _, err = call(line + (go_on or " --overwrite"))
    assert code == 0, err


def test_an_output_in_a_folder_that_cannot_be_written_is_refused_before_any_work(
    small_stores, tmp_path, monkeypatch
):
    """Whoever runs this: root may write anywhere but where the kernel lets nobody."""
    monkeypatch.chdir(tmp_path)
    Path("h.zarr").symlink_to(small_stores["hamiltonians"])
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for line in (
        "gh-build wse2 --set size=[1,1] -o /proc/x.zarr",
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o /proc/x.zarr",
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o d.zarr --plot /proc/x.png",
        "gh-bands h.zarr --points 3 -o /proc/x.json",
        "gh-eval h.zarr h.zarr --plot /proc/x.png",
        "gh-fit-scaleshift h.zarr -o /proc/x.zarr",
    ):
        code, out, err = call(line)
        assert (code, out) == (73, ""), (line, err)
        assert "/proc/x." in err and err.count("\n") == 1, err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_a_disk_that_is_full_where_a_task_works_ends_the_run_and_fails_no_structure(small_disk):
    folder, _ = small_disk
    result = attempt(write_much, (folder,))
    with pytest.raises(OSError, match="No space left on device"):
        checked(pickle.loads(pickle.dumps(result)))


def test_a_full_disk_is_found_in_whatever_a_library_makes_of_it():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wrapped = ValueError("driver failed")
    wrapped.__cause__ = ExceptionGroup("several", [KeyError("x"), full])
    assert disk_error(wrapped) is full
    told = disk_error(ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code=28]"))
    assert told.errno == errno.ENOSPC
    assert disk_error(OSError(errno.ENOENT, "no such file")) is None
    assert disk_error(ValueError("no")) is None


def test_a_checkpoint_that_has_no_room_leaves_those_before_it(small_disk):
    folder, enlarge = small_disk
    enlarge()
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save({"a": np.ones(10)}, RunState(step=1))
    fill(folder, 400_000)
    with pytest.raises(OSError, match="No space left on device") as raised:
        checkpoints.save({"a": np.ones(100_000)}, RunState(step=2))
    assert raised.value.filename == str(folder / "checkpoints")
    assert checkpoints.restore({"a": np.zeros(10)})[1].step == 1
    checkpoints.close()


def test_what_nobody_thought_of_is_a_sentence_too():
    assert _describe(ValueError("a\nb")) == (
        "unexpected ValueError: a b (run again with --debug to see where)",
        70,
    )
