"""Small files that users name: read whole, never waited for without end, and never without a bound."""

from __future__ import annotations

import functools
import os
import select
import stat
from pathlib import Path

from gh_tools.errors import NoInputError, UsageError

# Seconds until a pipe must have begun to deliver what it holds.
_PATIENCE = 10


def read_text(file: Path, what: str, most: int = 1) -> str:
    """Return the text of a file, which may be a pipe, as in ``-c <(sed ...)``.

    Args:
        file: the file.
        what: it is expected to be, such as ``configuration file``.
        most: MiB that it may have.

    Raises:
        NoInputError: no such file, one that cannot be read, or a pipe into which nobody writes.
        UsageError: it is no text in UTF-8, too large, or a folder or a device.
    """
    try:
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise UsageError(f"{file}: expected a {what}, found a folder or a device")
        content = (_drained if stat.S_ISFIFO(mode) else _beginning)(file, most << 20)
    except (FileNotFoundError, NotADirectoryError):
        raise NoInputError(f"{file}: no such {what}") from None
    except OSError as error:
        raise NoInputError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > most << 20:
        raise UsageError(f"{file}: expected a {what}, found more than {most} MiB")
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: expected text in UTF-8: {error}") from None


def _beginning(file: Path, most: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(most + 1)


@functools.cache  # a pipe gives its content once
def _drained(file: Path, most: int) -> bytes:
    content = b""
    # To open a pipe into which nobody writes would wait for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(content) <= most:
            try:
                piece = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                if select.select([descriptor], [], [], _PATIENCE)[0]:
                    continue
                raise NoInputError(f"{file}: a pipe into which nothing is written") from None
            if not piece:
                break
            content += piece
    finally:
        os.close(descriptor)
    if not content:
        raise NoInputError(f"{file}: a pipe into which nobody writes; name a file")
    return content
