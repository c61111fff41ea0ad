"""The right to write an output, which one run has at a time.

A claim is a lock of the kernel (``flock``) on the file ``.NAME.gh-lock`` beside the output. It ends with the
process that holds it, however that process ends, so that no claim is left to be removed by hand. The file goes
when the claim is given up; what a killed run leaves is taken over by the next.

On network file systems this relies on locks that all machines see: NFS has them (Linux turns ``flock`` into a
lock of the server, unless mounted with ``local_lock``), Lustre with the mount option ``flock``. Where the file
system refuses locks a warning says so.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any

from gh_tools.console import log
from gh_tools.errors import CannotCreateError, TryAgainError

# A process that was killed, or one that is giving up its claim, keeps the lock for a moment.
_ATTEMPTS, _PAUSE = 20, 0.05
_NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EBADF)

_claims: dict[Path, Claim] = {}


class Claim:
    """A claim that this process holds.

    Attributes:
        path: of the output.
        shared: whether other runs may work on parts of the output at the same time.
        certain: whether the file system has locks, so that no other run can be at work.
    """

    def __init__(self, path: Path, file: Path, shared: bool):
        self.path, self.shared = path, shared
        self._file, self._users = file, 1
        self._descriptor, self.certain = _acquire(path, file, shared)

    def add_user(self, shared: bool) -> None:
        """Let one more part of this process use the claim, alone if it asks for that."""
        if self.shared and not shared:
            _lock(self._descriptor, False, self.path, self._file)
            self.shared = False
        self._users += 1

    def drop(self) -> None:
        """Give the claim up when the last part of this process that uses it has dropped it."""
        self._users -= 1
        if self._users == 0:
            self.end()

    def end(self) -> None:
        """Give the claim up: the output is published, or the command has ended."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor, self._users = self._descriptor, -1, 0
        if _claims.get(self._file) is self:
            del _claims[self._file]
        with contextlib.suppress(OSError):
            # Who shares the claim with others leaves the file to the last of them.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(descriptor, self._file):
                self._file.unlink()
        os.close(descriptor)


def claim(path: Path | str, shared: bool = False) -> Claim:
    """Claim an output; what this process has claimed already stays claimed.

    Args:
        path: of the output; its folder must exist.
        shared: whether the run works on a part of the output beside others that say so, too.

    Returns:
        The claim, which ends with the process at the latest.

    Raises:
        TryAgainError: another run holds it; the message says which.
        CannotCreateError: the folder does not exist, or cannot be written.
    """
    path = Path(path)
    check_folder(path)
    file = Path(os.path.realpath(path.absolute().parent)) / f".{path.name}.gh-lock"
    if file in _claims:
        _claims[file].add_user(shared)
    else:
        _claims[file] = Claim(path, file, shared)
    return _claims[file]


def _forget() -> None:
    """Leave the claims to the parent: a forked process that outlives it must not keep them."""
    for held in _claims.values():
        os.close(held._descriptor)
        held._descriptor = -1
    _claims.clear()


os.register_at_fork(after_in_child=_forget)


def claimed() -> list[Path]:
    """Return the outputs that this process has claimed."""
    return [held.path for held in _claims.values()]


def end_claims() -> None:
    """Give up all claims of this process."""
    for held in list(_claims.values()):
        held.end()


def check_folder(path: Path) -> None:
    """Raise `CannotCreateError` if nothing may be created at ``path`` because of its name, or the folder it is in."""
    if "\n" in str(path.absolute()):
        raise CannotCreateError(
            f"{path}: a line break is in its name, so that the next command would read two; name another --output"
        )
    if path.name in ("", ".", "..") or not path.absolute().parent.is_dir():
        raise CannotCreateError(
            f"{path}: cannot be created: its folder does not exist; make it first"
        )
    folder = Path(os.path.realpath(path.absolute().parent))
    for above in (folder, *folder.parents):
        # A Zarr store, or what is unfinished of one: it would be damaged, or removed with what is in it.
        if (above / "zarr.json").exists() or (
            (above / "run.json").exists() and (above / "parts").is_dir()
        ):
            raise CannotCreateError(
                f"{path}: would lie inside the store {above}, and damage it; name another --output"
            )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotCreateError(f"{path}: cannot be created: its folder is not writable")


def _acquire(path: Path, file: Path, shared: bool) -> tuple[int, bool]:
    """Open and lock the file; return its descriptor and whether it is locked."""
    for attempt in range(_ATTEMPTS):
        descriptor = _open(path, file)
        try:
            locked = _lock(descriptor, shared, path, file)
        except BaseException:
            os.close(descriptor)
            raise
        # Who held it before may have removed the file between our opening and locking it. Some file systems
        # give a file another number each time that it is asked for.
        if not locked or _is_file(descriptor, file) or attempt == _ATTEMPTS - 1:
            break
        os.close(descriptor)
    with contextlib.suppress(OSError):  # another user's file can be locked, but not written
        if not shared:
            os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_ourselves()).encode() + b"\n")
    return descriptor, locked


def _open(path: Path, file: Path) -> int:
    flags = os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            return os.open(file, flags | os.O_RDWR, 0o666)
        except PermissionError:
            return os.open(file, flags & ~os.O_CREAT | os.O_RDONLY)
    except OSError as error:
        raise CannotCreateError(
            f"{path}: cannot be created, because {file} cannot be opened ({error.strerror})"
        ) from error


def _lock(descriptor: int, shared: bool, path: Path, file: Path) -> bool:
    """Lock an open file; tell whether the file system has locks."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise CannotCreateError(f"{path}: cannot be locked ({error.strerror})") from error
            log.warning(
                "%s: its file system has no locks (%s); start no other run on this output",
                path,
                error.strerror,
            )
            return False
    raise TryAgainError(
        f"{path}: {_holder(file)} is at work on it; wait for its end and try again, or name another "
        "--output"
    )


def _is_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _ourselves() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _holder(file: Path) -> str:
    """Describe the run that holds a lock: the last one that is not known to be dead."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(line)
            pid, host = int(found["pid"]), str(found["host"])
            if host == socket.gethostname() and not is_alive(pid):
                continue
            text = f"process {pid} on {host} ({found['command']:.200}, since {found['since']})"
            return "".join(letter if letter.isprintable() else "?" for letter in text)
    return "another run"


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except PermissionError:  # it is another user's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
