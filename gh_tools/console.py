"""What a person sees while a command works: progress, tables and logs, all on standard error.

Names, histories and reasons come out of files that others made. What is shown of them passes `printable`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
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


class Progress:
    """A running count of work done, shown as a bar on a terminal and as plain lines elsewhere."""

    def __init__(self, description: str, total: int | None):
        self.description, self.total, self.done = printable(description), total, 0
        self._start = self._last = time.monotonic()
        self._bar: Any = None  # rich's, which is loaded where it is shown
        self._task: Any = None
        self._text = ""

    def _open(self) -> None:
        if _quiet or not sys.stderr.isatty():
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=stderr(),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.description, total=self.total, rate="", text="")

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more as done."""
        self.done += n
        elapsed = max(time.monotonic() - self._start, 1e-9)
        if self._bar is not None:
            rate = f"{self.done / elapsed:.3g}/s"
            self._bar.update(self._task, completed=self.done, rate=rate)
        elif not _quiet and time.monotonic() - self._last > _PLAIN_INTERVAL:
            self._last = time.monotonic()
            of = f"/{self.total}" if self.total else ""
            left = (
                f", ETA {elapsed / self.done * (self.total - self.done):.0f} s"
                if self.total and self.done
                else ""
            )
            text = self._text and f", {self._text}"
            print(f"{self.description}: {self.done}{of}{left}{text}", file=sys.stderr, flush=True)

    def update(self, text: str) -> None:
        """Show ``text`` behind the bar, or at the end of the next plain line."""
        self._text = text = printable(text)
        if self._bar is not None:
            self._bar.update(self._task, text=text)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not _quiet and time.monotonic() - self._start > 2.0:
            seconds = time.monotonic() - self._start
            print(
                f"{self.description}: {self.done} in {seconds:.1f} s", file=sys.stderr, flush=True
            )


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show progress for the length of a ``with`` block.

    Args:
        description: what is being done.
        total: how many steps there are, if known; brings an ETA.
    """
    shown = Progress(description, total)
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
    """Print a table to standard error, unless quiet."""
    if _quiet:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # As Text, in which square brackets are no markup.
    shown = Table(*columns, title=None if title is None else Text(printable(title)))
    for row in rows:
        shown.add_row(*(Text(printable(str(cell))) for cell in row))
    # Where nobody set a width (a pipe, a log file), 80 columns would fold the numbers away.
    Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(shown)
