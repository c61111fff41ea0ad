"""What the surroundings offer: the files that ship beside the code, a cache, the date, and memory."""

from __future__ import annotations

import atexit
import datetime
import errno
import functools
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from gh_tools.console import log
from gh_tools.errors import NoInputError, UsageError

# No space, more than the quota, a file too large, and a file system that is read-only.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Limit and use of this process's control group, versions 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def share_path(name: str) -> Path:
    """Return the path of a file or folder of ``share/gh_tools``, such as ``presets/wse2.toml``.

    A checkout's own files come before those of the installation.

    Raises:
        NoInputError: it is not there.
    """
    roots = (Path(__file__).parent.parent, Path(sysconfig.get_path("data")), Path(sys.prefix))
    for root in roots:
        path = root / "share" / "gh_tools" / name
        if path.exists():
            return path
    raise NoInputError(
        f"share/gh_tools/{name}: not found in {' or '.join(map(str, roots))}; install gh-tools again"
    )


@functools.cache
def cache_folder() -> Path:
    """Return the folder for what need not be computed twice: the user's, or one for this run alone.

    Where the user's cannot be written (a home that is read-only, full or missing), a temporary folder takes its
    place, with a warning. Processes that this one starts find it by XDG_CACHE_HOME.
    """
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("gh-tools"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"\0")
    except OSError as error:
        temporary = tempfile.mkdtemp(prefix="gh-tools-")
        atexit.register(_remove, temporary, os.getpid())
        os.environ["XDG_CACHE_HOME"] = temporary
        log.warning(
            "%s: cannot be written (%s): compiled programs and samples are kept for this run alone, in %s; "
            "let XDG_CACHE_HOME name a folder",
            folder,
            error.strerror,
            temporary,
        )
        return Path(temporary)
    return folder


def keep_in_cache(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, which appears whole when it is not there yet.

    Args:
        name: of the folder, with a hash of all that decides on its content.
        fill: writes the content into a folder.
    """
    folder = cache_folder() / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as made:
        new = Path(made) / "new"
        new.mkdir()
        fill(new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was faster
                raise
    return folder


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # and not a forked copy of it
        shutil.rmtree(folder, ignore_errors=True)


def disk_error(error: BaseException | None) -> OSError | None:
    """Return the error of a disk that takes no more, which libraries wrap in errors of their own; None if it was none.

    Args:
        error: any; what it stems from is looked at, too.
    """
    seen: list[BaseException | None] = []
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is None or found in seen:
            continue
        if isinstance(found, OSError) and found.errno in _DISK_ERRORS:
            return found
        seen.append(found)
        waiting += [*getattr(found, "exceptions", ()), found.__context__, found.__cause__]
        for code in _DISK_ERRORS:  # told by a library in words alone
            if os.strerror(code) in str(found):
                return OSError(code, os.strerror(code))
    return None


def fullest(folders: Iterable[Path]) -> Path | None:
    """Return the folder whose disk has the least room, of those that there are."""
    there = [folder for folder in folders if folder.is_dir()]
    return min(there, key=lambda folder: shutil.disk_usage(folder).free, default=None)


def source_date() -> datetime.datetime | None:
    """Return the time that SOURCE_DATE_EPOCH gives in the place of the present; None where it is not set.

    Raises:
        UsageError: it is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {epoch!r}; mend it, or unset it"
        ) from None


def memory_limit(given: str | None) -> int:
    """Return how many bytes a command may use.

    Args:
        given: the option ``--memory``, such as ``6G`` or ``800M``; None for what is free.

    Raises:
        UsageError: it is no amount of memory.
    """
    if given is None:
        return free_memory()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", given.strip(), re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"--memory {given}: expected an amount such as 6G or 800M")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def free_memory() -> int:
    """Return the bytes that this process could get: of the machine, or of its control group."""
    import psutil

    free = psutil.virtual_memory().available
    for limit, used in _CGROUPS:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # there is no such file, or the limit is "max"
            continue
    return max(free, 0)


def threads() -> int:
    """Return how many threads this process may run at once: what BLAS is told, else its cores."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(told) if told.isdigit() and int(told) else cores()


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_used() -> int:
    """Return the bytes that this process holds."""
    import psutil

    return psutil.Process().memory_info().rss
