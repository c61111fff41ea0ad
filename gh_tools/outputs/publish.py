"""How an output appears under its name: whole, on disk, and without a moment in which there is none.

It is made in a hidden folder of its own beside its place, ``.NAME.XXXXXXXX``, synced, and renamed. Linux renames
without replacing what has appeared meanwhile, and exchanges the new for the old in one step (``renameat2``,
`man 2 renameat2 <https://man7.org/linux/man-pages/man2/rename.2.html>`_). NFS and old kernels can do neither.
There a folder is renamed as ever, which fails where another folder has anything in it, and what is replaced is
moved aside first: for a moment there is neither, and if the run is killed in it the next one puts the old back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gh_tools.errors import CannotCreateError
from gh_tools.outputs.claim import check_folder, is_alive

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
# File systems commit many syncs together.
_SYNCS_AT_ONCE = 16
# What may be in a staging folder: the new output, what it replaced, and the unfinished store that it was made of.
NEW, OLD, PARTIAL = "new", "old", "partial"
_CONTENT = {NEW, OLD, PARTIAL, "store"}  # the last of earlier versions


class _Unsupported(Exception):
    """The kernel or the file system has no such rename."""


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path``, on the same file system, and remove it with all that is left in it."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        yield folder
    finally:
        _clear(folder, path)


def sweep(path: Path) -> None:
    """Remove what runs that were killed left beside ``path``; only for a run that has claimed it alone."""
    path = path.absolute()
    own = re.compile(rf"\.{re.escape(path.name)}\.(?:[a-z0-9_]{{8}}|replaced-(\d+))")
    try:
        entries = list(os.scandir(path.parent))
    except PermissionError:
        return
    for entry in entries:
        match = own.fullmatch(entry.name)
        if match is None or not entry.is_dir(follow_symlinks=False):
            continue
        if match[1] is None:
            with contextlib.suppress(OSError):
                if set(os.listdir(entry.path)) <= _CONTENT:
                    _clear(Path(entry.path), path)
        elif not is_alive(int(match[1])):
            _restore(Path(entry.path), path)
            shutil.rmtree(entry.path, ignore_errors=True)


def publish(new: Path, path: Path, check: Callable[[Path], None]) -> None:
    """Let a folder appear under its name.

    Args:
        new: the folder, whole, in one of `staging`.
        path: where it is to appear.
        check: raises `CannotCreateError` where what stands at a path must not be replaced.

    Raises:
        CannotCreateError: something stands at ``path`` that must not be replaced; it is as it was.
    """
    sync(new)
    while True:
        try:
            rename_new(new, path)
            break
        except FileExistsError:
            check(path)
        if _replace(new, path):
            try:
                check(new)  # now what stood there, which may have changed since it was checked
            except CannotCreateError as error:
                _replace(new, path)
                raise CannotCreateError(
                    f"{path}: something else has appeared there meanwhile; it was left as it is: move "
                    "it away, or name another --output"
                ) from error
            break
    _sync(path.absolute().parent)


@contextlib.contextmanager
def new_file(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give a path to write a file at, and let the file appear at ``path`` when the block ends without an error.

    Args:
        path: where the file is to appear.
        overwrite: replace a file that is there.

    Raises:
        CannotCreateError: something is at ``path`` that is not to be replaced, or cannot be.
    """
    check_output_file(path, overwrite)
    with staging(path) as folder:
        new = folder / NEW
        yield new
        _sync(new)
        check_output_file(path, overwrite)
        if overwrite:
            os.replace(new, path)
        else:
            try:
                rename_new(new, path)
            except FileExistsError:
                check_output_file(path, overwrite)
                raise
        _sync(path.absolute().parent)


def check_output_file(path: Path, overwrite: bool) -> None:
    """Raise `CannotCreateError` if writing the file ``path`` would destroy something or cannot work."""
    check_folder(path)
    try:
        found = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found):
        raise CannotCreateError(
            f"{path}: cannot be created: {describe_path(path)} is there; name another file"
        )
    if not overwrite:
        raise CannotCreateError(f"{path}: exists already; use --overwrite or another --output")


def describe_path(path: Path) -> str:
    """Say what stands at a path: ``a symbolic link``, ``a file``, ``a folder``, or ``a special file``."""
    mode = os.stat(path, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a file" if stat.S_ISREG(mode) else "a special file"


def move_away(path: Path, folder: Path) -> None:
    """Move an unfinished store into a folder of `staging`, in one step, to be removed with it."""
    with contextlib.suppress(FileNotFoundError):  # another run that shares the work was faster
        path.rename(folder / PARTIAL)


def rename_new(new: Path, path: Path) -> None:
    """Rename a folder or file; raise `FileExistsError` where anything is at ``path``."""
    try:
        _renameat2(new, path, _NOREPLACE)
        return
    except _Unsupported:
        pass
    if not new.is_dir():
        try:
            os.link(new, path)  # unlike a rename, refuses where something is
            return
        except FileExistsError:
            raise
        except OSError:  # no hard links, either: what appears between the next two lines is lost
            pass
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        new.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise


def sync(path: Path) -> None:
    """Bring a file, or a folder with all that it holds, to disk."""
    found = [path]
    for parent, folders, files in os.walk(path):
        found += [Path(parent) / name for name in (*folders, *files)]
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync, found))


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder in which one may create, but that one may not list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some file systems cannot sync folders
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _replace(new: Path, path: Path) -> bool:
    """Exchange two folders, or return False where nothing is at ``path``."""
    try:
        _renameat2(new, path, _EXCHANGE)
    except FileNotFoundError:
        return False
    except _Unsupported:
        old = new.with_name(OLD)
        try:
            path.rename(old)
        except FileNotFoundError:
            return False
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        old.rename(new)
    return True


def _renameat2(source: Path, target: Path, flag: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise _Unsupported
    paths = os.fsencode(source), os.fsencode(target)
    if function(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(flag)) != 0:
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            raise _Unsupported
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def _clear(folder: Path, path: Path) -> None:
    """Remove a staging folder; what was moved aside to be replaced goes back if nothing has replaced it."""
    _restore(folder / OLD, path)
    shutil.rmtree(folder, ignore_errors=True)


def _restore(old: Path, path: Path) -> None:
    with contextlib.suppress(OSError):
        rename_new(old, path)
