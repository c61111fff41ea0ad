"""One process that has imported everything forks one for each command that tests run.

Importing takes two to four seconds of the processor for each command that is started, which is far more than most
of them work. What is forked runs the installed script in a process of its own all the same: with its own exit code,
signals, streams and memory. Nothing is shared but the imports: JAX has no backend yet, and there is one thread.
`client` is what tests start in the place of a command. Tests of help, pipes, make, kills, streams and
surroundings start the installed commands.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from tests.commands import client

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
START = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.commands.server as s; s.main()"
)
# What commands import besides what modules of ours import at their top.
LIBRARIES = "pymc h5py sisl spglib tblite.ase".split()

CLIENT = """#!{python} -IS
{source}

ended = main({folder!r}, {bin!r} + "/" + os.path.basename(sys.argv[0]))
if os.WIFSIGNALED(ended):
    number = os.WTERMSIG(ended)
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
sys.exit(os.waitstatus_to_exitcode(ended))
"""


@functools.cache
def forked() -> Path:
    """Return a folder of what stands for the installed commands; the first call starts the server."""
    folder = Path(tempfile.mkdtemp(prefix="gh-commands-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "bin").mkdir()
    script = folder / "bin/client"
    values = {"python": sys.executable, "source": inspect.getsource(client), "bin": str(BIN)}
    script.write_text(CLIENT.format(folder=str(folder), **values))
    script.chmod(0o755)
    for command in BIN.glob("gh-*"):
        (folder / "bin" / command.name).symlink_to("client")
    # It ends with this process, however that ends: its standard input is closed then.
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", START, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin and server.stdout
    assert server.stdout.readline() == b"ready\n"
    atexit.register(lambda: (server.stdin.close(), server.wait()))
    return folder / "bin"


def import_everything() -> None:
    """Import all modules of ours and what they use, as far as it is installed."""
    import gh_tools

    found = [module.name for module in pkgutil.walk_packages(gh_tools.__path__, "gh_tools.")]
    for name in [*found, *LIBRARIES]:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    from jax._src import xla_bridge

    assert not xla_bridge.backends_are_initialized()
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()  # so that collecting in a process that was forked does not copy all of this


def receive(connection: socket.socket) -> tuple[dict, list[int]]:
    """Return what a client asks for, and its standard streams."""
    length, files, *_ = socket.recv_fds(connection, 8, 3)
    text = b""
    while len(text) < int.from_bytes(length, "big"):
        text += connection.recv(1 << 20)
    return json.loads(text), files


def stream(number: int, old: io.TextIOWrapper) -> io.TextIOWrapper:
    """Open a standard stream as Python does when it starts."""
    unbuffered = bool(number and os.environ.get("PYTHONUNBUFFERED"))
    raw = open(number, "wb" if number else "rb", 0 if unbuffered else -1, closefd=False)
    return io.TextIOWrapper(
        raw,
        old.encoding,
        old.errors,
        line_buffering=number == 2 or os.isatty(number),
        write_through=unbuffered,
    )


def become(request: dict, files: list[int]) -> None:
    """Make this process the one that a client would have been."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.path[0] = str(BIN)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        opened = stream(number, getattr(sys, name))
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)


def run() -> int:
    """Run the installed script to its end; return the exit code that Python would end with."""
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for opened in (sys.stdout, sys.stderr):
        try:
            opened.flush()
        except (OSError, ValueError):
            code = 120
    return code


class Server:
    """Forks commands that clients ask for, and tells them how these ended."""

    def __init__(self, folder: Path):
        self._running: dict[int, socket.socket] = {}
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen(64)
        self._waiting = selectors.DefaultSelector()
        for opened in (self._listener, self._woken, sys.stdin):
            self._waiting.register(opened, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> bool:
        """Serve until standard input is closed; return True in a process that was forked."""
        while True:
            for key, _ in self._waiting.select():
                if key.fileobj is sys.stdin:
                    return False
                if key.fileobj is self._listener:
                    if self._start():
                        return True
                elif key.fileobj is self._woken:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                elif key.data in self._running:  # its client was killed
                    os.kill(key.data, signal.SIGKILL)
                    self._waiting.unregister(key.fileobj)

    def _start(self) -> bool:
        connection, _ = self._listener.accept()
        request, files = receive(connection)
        process = os.fork()
        if process == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._waiting.close()
            ours = (self._listener, self._woken, self._wake, connection)
            for opened in (*ours, *self._running.values()):
                opened.close()
            become(request, files)
            return True
        for file in files:
            os.close(file)
        connection.sendall(process.to_bytes(8, "big"))
        self._running[process] = connection
        self._waiting.register(connection, selectors.EVENT_READ, process)
        return False

    def _reap(self) -> None:
        while self._running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            connection = self._running.pop(process)
            with contextlib.suppress(KeyError):
                self._waiting.unregister(connection)
            with contextlib.suppress(OSError), connection:
                connection.sendall(status.to_bytes(8, "big"))


def main() -> None:
    """Import everything, and serve; in a process that was forked, be the command."""
    ignored = client.ignored()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a person who interrupts the tests
    folder = Path(sys.argv[1])
    before = dict(os.environ)
    import_everything()
    # Libraries set some, in this process and in that of the tests.
    changed = {name for name, _ in before.items() ^ os.environ.items()}
    free = sorted(client.FREE | changed)
    told = {
        "limits": client.limits(),
        "ignored": ignored,
        "free": free,
        "variables": client.variables(before, free),
    }
    (folder / "server.json").write_text(json.dumps(told))
    server = Server(folder)
    print("ready", flush=True)
    if server.serve():
        os._exit(run())
