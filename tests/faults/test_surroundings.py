"""Homes that cannot be written, disks that are full, and what is no scheduler."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dask
import pytest

from gh_tools.errors import DataError, NoInputError, TryAgainError
from gh_tools.workers.cluster import Cluster

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
        "folder = os.environ['XDG_CACHE_HOME']; print(folder, len(os.listdir(folder + '/jax')))\n"
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
