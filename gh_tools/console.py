"""What a person sees while a command works: progress, tables and logs, all on standard error.

Names, histories and reasons come out of files that others made. What is shown of them passes `printable`.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import io
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, TextIO, TypeVar

log = logging.getLogger("gh_tools")

STANDARD_OUTPUT = "standard output"
# Control characters of ASCII and Latin-1, and those of Unicode that end lines or change the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Item = TypeVar("Item")

_quiet = False
_PLAIN_INTERVAL = 10.0  # seconds between plain progress lines when standard error is no terminal
_RATES = {"s": 1, "min": 60, "h": 3600}


def printable(content: Any) -> Any:
    r"""Return text in which each control character stands as its escape, such as ``\x1b``.

    Args:
        content: text; or mappings and lists, whose texts (keys, too) are treated so; anything else is
            returned as it is.
    """
    if isinstance(content, str):
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), content)
    if isinstance(content, Mapping):
        return {printable(key): printable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [printable(item) for item in content]
    return content


def open_streams() -> None:
    """Make standard output and error what all else may rely on.

    Where one was closed, its descriptor is taken, or the next file to be opened would become it, and what a
    library says would go into a store. A character that the encoding lacks is written as its escape. What
    cannot be written to standard error is lost; of standard output it is an `OSError` that names it.
    """
    # Read-only: what is written to a closed output is an error as it would have been.
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Opening gives the lowest number that is free: this one. Processes that are started have it, too.
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Error(2, "w", closefd=False), sys.stderr)


def reader_gone() -> bool:
    """Tell whether who read standard output had enough of it, as ``head`` does."""
    return _Output.reader_gone


def _text(raw: io.FileIO, old: TextIO | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(old, "line_buffering", False) or isinstance(raw, _Error),
        write_through=getattr(old, "write_through", False),
    )


class _Error(io.FileIO):
    def write(self, data, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Output(io.FileIO):
    reader_gone = False

    def write(self, data, /) -> int:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            # What waits in buffers would fail again when Python ends.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            error.filename = STANDARD_OUTPUT
            _Output.reader_gone = isinstance(error, BrokenPipeError)
            if error.errno == errno.EBADF:
                error.strerror = "it is closed"
            raise


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure(quiet: bool = False, verbose: bool = False) -> None:
    """Set how much is said: ``quiet`` leaves errors only, ``verbose`` adds details."""
    from rich.logging import RichHandler

    global _quiet
    _quiet = quiet
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=stderr(), show_time=False, show_path=False, markup=False
        )
        handler.setFormatter(_Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)


def stderr():
    """Return a rich console on the present standard error."""
    from rich.console import Console

    return Console(stderr=True)


def columns() -> int | None:
    """Return the width of the terminal that standard output is, or None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Progress:
    """A running count of work done, shown as a bar on a terminal and as plain lines elsewhere.

    Args:
        description: what is being done.
        total: how many steps there are, if known.
        counted: whether the number of steps says something to a person; that of seconds does not.
    """

    def __init__(self, description: str, total: int | None, counted: bool = True):
        self.description, self.total, self.done = printable(description), total, 0
        self._counted = counted
        self._start = self._last = time.monotonic()
        self._bar: Any = None  # rich's, which is loaded where it is shown
        self._texts: Sequence[str] = ()

    def _open(self) -> None:
        if _quiet or not sys.stderr.isatty():
            return
        from gh_tools.progress_bar import FittedBar

        self._bar = FittedBar(stderr(), self.description, self.total, self._counted)
        self._bar.start()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more as done."""
        self.done += n
        if self._bar is not None:
            self._tell()
        elif not _quiet and time.monotonic() - self._last > _PLAIN_INTERVAL:
            self._last = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def update(self, *texts: str) -> None:
        """Show texts, the most important one first, behind the bar or at the end of the next plain line."""
        self._texts = printable(texts)
        if self._bar is not None:
            self._tell()

    def _tell(self) -> None:
        self._bar.tell(self.done, self._rate() if self._counted else "", self._texts)

    def _rate(self) -> str:
        """Return the steps a second, minute or hour, whichever is the first with a whole one."""
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        unit = next((u for u, seconds in _RATES.items() if rate * seconds >= 1), "h")
        number = rate * _RATES[unit]
        return (
            f"{number:,.0f}/{unit}"
            if number >= 100
            else f"{number:.3g}/{unit}"
            if self.done
            else ""
        )

    def _line(self) -> str:
        said = [f"{self.done}/{self.total}" if self.total else str(self.done)] * self._counted
        if self.done and self._counted:
            said.append(self._rate())
        if self.total and self.done:
            elapsed = time.monotonic() - self._start
            left = max(0.0, elapsed / self.done * (self.total - self.done))
            said.append(f"ETA {datetime.timedelta(seconds=round(left))}")
        return f"{self.description}: {', '.join([*said, *self._texts])}"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not _quiet and time.monotonic() - self._start > 2.0:
            seconds = time.monotonic() - self._start
            count = f"{self.done} in " if self._counted else ""
            print(f"{self.description}: {count}{seconds:.1f} s", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(
    description: str, total: int | None = None, counted: bool = True
) -> Iterator[Progress]:
    """Show progress for the length of a ``with`` block.

    Args:
        description: what is being done.
        total: how many steps there are, if known; brings an ETA.
        counted: whether the number of steps says something to a person.
    """
    shown = Progress(description, total, counted)
    shown._open()
    try:
        yield shown
    finally:
        shown._close()


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield from ``items``, with progress."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(description, total) as shown:
        for item in items:
            yield item
            shown.advance()


def table(
    rows: Sequence[Sequence[object]], columns: Sequence[str], title: str | None = None
) -> None:
    """Print a table to standard error, unless quiet, in parts where it is wider than the terminal or 80 columns."""
    if _quiet:
        return
    from gh_tools.tables import layout

    console = stderr()
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    for shown in layout(console, cells, columns, None if title is None else printable(title)):
        console.print(shown)
        console.print()
