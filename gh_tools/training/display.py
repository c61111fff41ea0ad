"""What a person sees of a training run: a bar on a terminal, lines of the log elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator

import numpy as np

from gh_tools.console import Progress, log, progress
from gh_tools.training.pace import Pace

_PLAIN_INTERVAL = 5.0  # seconds between lines of metrics where standard error is no terminal
# What a bar tells of metrics: key, name, format; the most important first.
_BAR = (
    ("hamiltonian", "H MAE", ".3f"),
    ("eigenvalue", "eigenvalues", ".1f"),
    ("onsite", "on-site", ".1f"),
)


class Display:
    """Shows the records of epochs.

    Args:
        bar: what is shown on a terminal.
        pace: the clock of the run.
    """

    def __init__(self, bar: Progress, pace: Pace):
        self._bar, self._pace = bar, pace
        self._plain = -math.inf
        self._metrics: dict[str, float] = {}

    def show(self, record: dict[str, float]) -> None:
        """Show the record of an epoch that has ended."""
        timed = self._pace.config.budget is not None
        done = round(self._pace.elapsed) if timed else int(record["epoch"])
        text = describe_epoch(record)
        if sys.stderr.isatty():  # else lines of the log tell more
            self._bar.update(*self._on_bar(record))
        if done > self._bar.done:
            self._bar.advance(done - self._bar.done)
        now = time.monotonic()
        if not sys.stderr.isatty() and now - self._plain > _PLAIN_INTERVAL:
            self._plain = now
            log.info(text)

    def _on_bar(self, record: dict[str, float]) -> list[str]:
        """Return what a bar tells of a record and the last metrics, the most important first."""
        self._metrics |= {name: value for name, value in record.items() if np.isfinite(value)}
        known = self._metrics
        texts = []
        if self._pace.config.budget is not None:
            rate = record["epoch"] / max(self._pace.elapsed, 1e-9)
            texts.append(f"epoch {record['epoch']:.0f}, {rate:.3g}/s")
        texts += [
            f"{label} {known[name]:{form}} meV" for name, label, form in _BAR if name in known
        ]
        if "learning_rate" in record:
            texts.append(f"learning rate {record['learning_rate']:.1e}")
        return texts


@contextlib.contextmanager
def display(pace: Pace) -> Iterator[Display]:
    """Show the progress of a run while it lasts.

    Args:
        pace: the clock of the run.
    """
    budget = pace.config.budget
    total = int(pace.config.most_epochs) if budget is None else round(budget)
    # With a budget steps are seconds, which the ETA tells already.
    with progress("training", total=total, counted=budget is None) as bar:
        yield Display(bar, pace)


def describe_epoch(record: dict[str, float]) -> str:
    """Put a record of metrics into one line of a log."""
    text = f"epoch {record['epoch']:.0f}"
    if "loss" in record:
        text += f"  loss {record['loss']:.4f}  lr {record['learning_rate']:.1e}"
    if "hamiltonian" in record:
        text += (
            f"  H MAE {record['hamiltonian']:.3f} meV (pairs {record['pairs']:.3f}, "
            f"on-site {record['onsite']:.3f})"
        )
    if "eigenvalue" in record:
        text += (
            f"  eigenvalues {record['eigenvalue']:.1f} meV  E_F {record['fermi']:.1f} meV  "
            f"ghosts {record['ghosts']:.0f}"
        )
    return text
