"""What a person sees while a command works: progress, tables and logs, all on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

log = logging.getLogger("gh_tools")

Item = TypeVar("Item")

_quiet = False
_PLAIN_INTERVAL = 10.0  # seconds between plain progress lines when standard error is no terminal


def configure(quiet: bool = False, verbose: bool = False) -> None:
    """Set how much is said: ``quiet`` leaves errors only, ``verbose`` adds details."""
    from rich.logging import RichHandler

    global _quiet
    _quiet = quiet
    if sys.stderr.isatty():
        handler = RichHandler(console=stderr(), show_time=False, show_path=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
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
        self.description, self.total, self.done = description, total, 0
        self._start = self._last = time.monotonic()
        self._bar = self._task = None
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
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
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
        self._text = text
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
    if total is None and hasattr(items, "__len__"):
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

    shown = Table(*columns, title=title)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    # Where nobody set a width (a pipe, a log file), 80 columns would fold the numbers away.
    Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(shown)
