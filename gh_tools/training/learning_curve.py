"""The picture of a learning curve."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.training.report import History, judge

_CURVES = (
    ("hamiltonian", "H, validation", PALETTE[0], "-"),
    ("hamiltonian_train", "H, training", PALETTE[0], "--"),
    ("onsite", "on-site, validation", PALETTE[2], "-"),
    ("eigenvalue", "eigenvalues, validation", PALETTE[1], "-"),
)


def plot_learning_curve(path: Path | str, history: History) -> None:
    """Draw errors and the learning rate against training steps, with the time as a second axis.

    Args:
        path: picture to write, .png, .pdf or .svg.
        history: columns of a model's history, with ``seconds`` where they are known.
    """
    step = np.asarray(history["step"])
    with picture(path, (5.6, 4.4), nrows=2, sharex=True, height_ratios=(3, 1)) as (figure, axes):
        errors, rates = axes
        for name, label, colour, style in _CURVES:
            values = np.asarray(history.get(name, np.full(len(step), np.nan)))
            known = np.isfinite(values)
            if known.any():
                marker = "o" if name == "eigenvalue" else None
                errors.plot(
                    step[known],
                    values[known],
                    color=colour,
                    linestyle=style,
                    marker=marker,
                    markersize=2.5,
                    label=label,
                )
        errors.set_yscale("log")
        errors.set_ylabel("mean absolute error (meV)")
        errors.legend(ncols=2)
        verdict = textwrap.fill(judge(history).sentence, 90)
        figure.suptitle(verdict[:1].upper() + verdict[1:], x=0.01, ha="left", fontsize=8)
        rates.plot(step, history["learning_rate"], color=INK)
        rates.set_ylabel("learning rate")
        rates.set_ylim(bottom=0.0)
        rates.set_xlabel("training step")
        seconds = history.get("seconds")
        if seconds is not None and np.all(np.diff(step[[0, -1]]) > 0):
            ticks = np.linspace(step[0], step[-1], 6)
            above = errors.secondary_xaxis("top")
            above.set_xticks(ticks, [f"{t:.0f}" for t in np.interp(ticks, step, seconds)])
            above.set_xlabel("time (s)")
            above.spines["top"].set_visible(True)
