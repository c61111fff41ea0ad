"""What stands for an installed command in tests: it has the server fork the command, and ends as that ends.

The process it asks for has what this one has: arguments, folder, environment, standard streams. Signals go on to
it. Where anything is out of the ordinary that a forked process would not inherit (other open files, a closed
stream, other limits or ignored signals, variables that libraries read while they are imported), the installed command is
started in the place of this process. `server` writes this into a script of the name of each command.
"""

import json
import os
import resource
import signal
import socket
import sys

FORWARDED = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2
# What libraries do not look at while they are imported.
FREE = set(
    "PATH PS1 PWD OLDPWD SHLVL _ PYTEST_CURRENT_TEST TMPDIR COLUMNS LINES TERM NO_COLOR FORCE_COLOR "
    "MAKEFLAGS MAKELEVEL MAKEOVERRIDES MAKE_TERMERR MAKE_TERMOUT MFLAGS".split()
)


def limits():
    """Return the limits of this process, by name."""
    return {
        name: list(resource.getrlimit(getattr(resource, name)))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


def ignored():
    """Return the signals that this process ignores, as those that nohup starts do."""
    return [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN]


def variables(environment, free=FREE):
    """Return the variables that a server's process has to share."""
    return {name: value for name, value in environment.items() if name not in free}


def ordinary(server):
    """Tell whether a process that is forked would differ in nothing from one that is started."""
    listed = os.open("/dev/fd", os.O_RDONLY)
    files = {int(name) for name in os.listdir(listed)} - {listed}
    os.close(listed)
    return (
        files - {listed + 1} == {0, 1, 2}
        and server["ignored"] == ignored()
        and server["limits"] == limits()
        and server["variables"] == variables(os.environ, server["free"])
    )


def main(folder, installed):
    """Run a command and return how it ended, as `os.waitpid` tells."""
    with open(os.path.join(folder, "server.json")) as file:
        server = json.load(file)
    if not ordinary(server):
        os.execv(installed, [installed, *sys.argv[1:]])
    umask = os.umask(0)
    os.umask(umask)
    request = {
        "arguments": [installed, *sys.argv[1:]],
        "folder": os.getcwd(),
        "umask": umask,
        "environment": dict(os.environ),
    }
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.path.join(folder, "socket"))
    text = json.dumps(request).encode()
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(text)
    process = int.from_bytes(connection.recv(8), "big")
    for number in set(FORWARDED) - set(ignored()):
        signal.signal(number, lambda number, frame: os.kill(process, number))
    return int.from_bytes(connection.recv(8), "big")
