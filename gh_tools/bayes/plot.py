"""Pair plots of a posterior and of the data behind it, as in Fig. 2 of arXiv:2506.10298."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gh_tools.bayes.design import R2
from gh_tools.bayes.summary import Estimate, rounded
from gh_tools.bayes.table import Table
from gh_tools.plotting import INK, PALETTE, picture

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

_PANEL = 1.75  # inches
_BINS = 20  # of the data's histograms at most, as in the paper
_GRID = 80  # bins a side that densities are smoothed on
_FRACTIONS = (0.94, 0.75, 0.5, 0.25)  # parts of the posterior that the contours enclose
_SHADES = ("#E3EEF7", "#BAD6EB", "#7FB5DA", "#3F8FC5")  # one for each fraction, outermost first
_FAINT = "#999999"


def plot_posterior(
    path: Path | str,
    posterior: xarray.Dataset,
    estimates: Sequence[Estimate],
    probability: float = 0.94,
) -> None:
    """Draw marginals of all parameters on the diagonal and iso-likelihood contours below it.

    On the diagonal the highest-density interval is shaded and the mean marked; above it stand the
    correlations, as the caption says. Dashed lines mark zero where it is in sight.

    Args:
        path: picture to write, .png, .pdf or .svg.
        posterior: parameters over chain and draw.
        estimates: their summary.
        probability: of the highest-density intervals in it.
    """
    shown = [estimate for estimate in estimates if estimate.name != R2]
    draws = [posterior[estimate.name].values.ravel() for estimate in shown]
    powers = [_power(values) for values in draws]
    draws = [values / 10.0**power for values, power in zip(draws, powers, strict=True)]
    # Enough to see every shape: beyond these few draws in ten thousand lie alone.
    limits = [tuple(np.quantile(values, (5e-4, 1 - 5e-4))) for values in draws]
    correlation = np.atleast_2d(np.corrcoef(draws))
    labels = [_with_unit(e.name, e.unit, power) for e, power in zip(shown, powers, strict=True)]
    k = len(shown)
    with picture(path, _size(k), nrows=k, ncols=k, squeeze=False) as (figure, panels):
        for row in range(k):
            for column in range(k):
                axes = panels[row, column]
                if column > row:
                    _write_correlation(axes, correlation[row, column])
                    continue
                axes.set_xlim(limits[column])
                if row == column:
                    _draw_marginal(axes, draws[row], shown[row], powers[row])
                else:
                    axes.set_ylim(limits[row])
                    _draw_contours(axes, draws[column], draws[row], limits[column], limits[row])
                    _mark_zero(axes, limits[row], axes.axhline)
                _mark_zero(axes, limits[column], axes.axvline)
                _label(axes, row, column, k, labels)
        figure.suptitle(
            _caption(probability, k),
            x=0.01,
            ha="left",
            fontsize=9,
        )


def _caption(probability: float, k: int) -> str:
    """Say what is shown where, in lines that the picture of so many parameters has room for."""
    parts = [f"Diagonal: posterior, mean and {100 * probability:g} % highest-density interval."]
    if k > 1:
        percent = ", ".join(f"{100 * fraction:g}" for fraction in _FRACTIONS)
        parts += [
            f"Below: regions that hold {percent} % of two parameters' posterior.",
            "Above: their correlation coefficients.",
        ]
    return textwrap.fill(" ".join(parts), int(14 * _size(k)[0]))


def plot_data(path: Path | str, table: Table, predictors: Sequence[str], response: str) -> None:
    """Draw the predictors against each other, coloured by the response, over the response itself.

    On the diagonal are histograms; the last row shows the response against each predictor.

    Args:
        path: picture to write, .png, .pdf or .svg.
        table: the data.
        predictors: columns to show.
        response: column that colours.
    """
    names = [*predictors, response]
    powers = [_power(table.columns[name]) for name in names]
    labels = [_with_unit(n, table.units[n], power) for n, power in zip(names, powers, strict=True)]
    values = [table.columns[n] / 10.0**power for n, power in zip(names, powers, strict=True)]
    k = len(names)
    with picture(path, _size(k), nrows=k, ncols=k, squeeze=False) as (figure, panels):
        points = None
        for row in range(k):
            for column in range(k):
                axes = panels[row, column]
                if column > row:
                    axes.set_axis_off()
                    continue
                if row == column:
                    bins = min(_BINS, math.ceil(len(values[row]) ** 0.5))
                    axes.hist(values[row], bins=bins, color=PALETTE[0], alpha=0.75)
                    axes.set_yticks([])
                else:
                    points = axes.scatter(
                        values[column],
                        values[row],
                        c=values[-1],
                        s=14,
                        cmap="viridis",
                        edgecolors="white",
                        linewidths=0.3,
                    )
                _label(axes, row, column, k, labels)
        if points is not None:
            where = list(panels[: k - 1, -1])
            figure.suptitle(
                f"Diagonal: numbers of structures. Colour: {response}.",
                x=0.01,
                ha="left",
                fontsize=9,
            )
            figure.colorbar(points, ax=where, label=labels[-1].replace("\n", " "), shrink=0.8)


def _size(k: int) -> tuple[float, float]:
    side = max(3.2, _PANEL * k + 0.6)
    return side, side


def _power(values: Float[np.ndarray, " n"]) -> int:
    """Return the power of ten that makes values short to write; 0 where they are already."""
    largest = float(np.abs(values).max())
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return 0 if -3 <= power <= 3 else power


def _with_unit(name: str, unit: str, power: int) -> str:
    factor = f"10^{power}" if power else ""
    unit = " × ".join(filter(None, (factor, unit)))
    text = f"{name}\n({unit})" if unit else name
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", text)


def _fitting(label: str, largest: float = 9.0, smallest: float = 5.0) -> float:
    """Return the size of letters in which the longest line of a label is no longer than its panel."""
    # Letters are 0.58 of their size wide on average; those raised, and their marks, are not counted.
    longest = max(len(re.sub(r"\$[^$]*\$", ".", line)) for line in label.splitlines())
    return float(np.clip(0.92 * 72 * _PANEL / (0.58 * longest), smallest, largest))


def _label(axes: Axes, row: int, column: int, k: int, labels: Sequence[str]) -> None:
    """Label the outer axes only; the diagonal's heights mean nothing by themselves."""
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", nbins=3)
    if row == k - 1:
        axes.set_xlabel(labels[column], fontsize=_fitting(labels[column]))
    else:
        axes.tick_params(labelbottom=False)
    if row != column:
        axes.locator_params(axis="y", nbins=3)
        if column == 0:
            axes.set_ylabel(labels[row], fontsize=_fitting(labels[row]))
        else:
            axes.tick_params(labelleft=False)


def _mark_zero(axes: Axes, limits: tuple[float, float], line) -> None:
    margin = 0.02 * (limits[1] - limits[0])
    if limits[0] + margin < 0 < limits[1] - margin:
        line(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=4)


def _draw_marginal(
    axes: Axes, draws: Float[np.ndarray, " draws"], estimate: Estimate, power: int
) -> None:
    density, edges = np.histogram(draws, bins=_GRID, range=axes.get_xlim(), density=True)
    centers = (edges[1:] + edges[:-1]) / 2
    mean, low, high = (value / 10.0**power for value in (estimate.mean, *estimate.hdi))
    axes.stairs(density, edges, color=PALETTE[0], linewidth=0.8)
    inside = (centers >= low) & (centers <= high)
    axes.bar(
        centers[inside], density[inside], edges[1] - edges[0], color=PALETTE[0], alpha=0.35, lw=0
    )
    axes.plot([mean] * 2, [0, density.max()], color=PALETTE[1], linewidth=1.2)
    axes.set_ylim(0, 1.05 * density.max())
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    sd = estimate.sd / 10.0**power
    texts = [rounded(value, sd).replace("-", "−") for value in (mean, low, high)]
    axes.set_title(f"{texts[0]}  [{texts[1]}, {texts[2]}]", fontsize=7.5, loc="center")


def _draw_contours(
    axes: Axes,
    x: Float[np.ndarray, " draws"],
    y: Float[np.ndarray, " draws"],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> None:
    """Draw the highest-density regions of two parameters, from a smoothed histogram."""
    from scipy.ndimage import gaussian_filter

    counts, x_edges, y_edges = np.histogram2d(x, y, bins=_GRID, range=(x_limits, y_limits))
    # Scott's rule for a normal distribution: its standard deviation times n^(-1/6).
    widths = np.array([x.std() / np.diff(x_edges)[0], y.std() / np.diff(y_edges)[0]])
    density = gaussian_filter(counts, widths * len(x) ** (-1 / 6))
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    heights = np.unique([ordered[np.searchsorted(held, fraction)] for fraction in _FRACTIONS])
    centers = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    axes.contourf(*centers, density.T, [*heights, density.max()], colors=_SHADES)
    axes.contour(*centers, density.T, heights, colors=PALETTE[0], linewidths=0.7)


def _write_correlation(axes: Axes, value: float) -> None:
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        f"{round(value, 2) + 0.0:+.2f}".replace("-", "−"),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=INK if abs(value) >= 0.3 else _FAINT,
        fontsize=9 + 4 * abs(value),
    )
