"""Pictures of the errors of predictions, as in Figs. 1 and 3 of arXiv:2506.10298."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gh_tools.evaluation.coverage import NOMINAL, Coverage
from gh_tools.evaluation.distribution import CDF_THRESHOLD, QUARTILES, ErrorDistribution
from gh_tools.evaluation.evaluate import Evaluation
from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.units import MEV

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 32, 128  # a side, of few and of many data
# Of what coverage is counted.
_LABELS = {
    "hamiltonian": "elements of $H$",
    "eigenvalues": "eigenvalues",
    "fermi_level": "Fermi level",
    "band_gap": "band gap",
}


def plot_errors(path: Path | str, evaluation: Evaluation) -> None:
    """Draw errors against reference values, and their cumulative distributions.

    Above are 2D histograms of eigenvalues within ±5 eV of E_F and of matrix elements, their colours scaled
    by asinh, with the MAE averaged over structures; below the cumulative distributions of all absolute
    errors above 0.1 meV, with quartiles and the mean of all errors. Without eigenvalues only
    the matrix elements are drawn. Where predictions have uncertainties, a last column has reliability diagrams: how many
    errors lie within intervals of each probability, and the rms error in bins of the uncertainty.

    Args:
        path: picture to write, .png, .pdf or .svg.
        evaluation: from `gh_tools.evaluation.evaluate.evaluate`.
    """
    mean = evaluation.to_json()["mean"]
    shown = [
        (
            evaluation.elements,
            f"matrix elements of $H$: MAE {_mev(mean['hamiltonian']['all'])}",
            "$H_{ij}$ of the reference (eV)",
            "matrix elements",
        )
    ]
    if "eigenvalues" in mean:
        window = mean["eigenvalues"]["window"]
        shown.insert(
            0,
            (
                evaluation.all_eigenvalues,
                f"eigenvalues within ±5 eV: MAE {_mev(window)}",
                "$E - E_\\mathrm{F}$ of the reference (eV)",
                "eigenvalues",
            ),
        )
    columns = len(shown) + bool(evaluation.coverage.to_json())
    with picture(path, (4.0 * columns, 6.4), nrows=2, ncols=columns, squeeze=False) as (
        figure,
        panels,
    ):
        for column, (distribution, title, label, what) in enumerate(shown):
            _draw_histogram(figure, panels[0, column], distribution, what)
            panels[0, column].set(title=title, xlabel=label, ylabel=f"error of {what} (meV)")
            _draw_cdf(panels[1, column], distribution, what)
        if columns > len(shown):
            _draw_reliability(panels[0, -1], evaluation.coverage)
            _draw_error_by_uncertainty(panels[1, -1], evaluation.coverage)


def _draw_histogram(figure: Figure, axes: Axes, distribution: ErrorDistribution, what: str) -> None:
    from matplotlib.colors import AsinhNorm

    total = distribution.histogram.counts.sum()
    # Few data in fine bins would be lone dots.
    most = int(np.clip(2 * np.sqrt(total), *_BINS))
    counts, reference, error = distribution.histogram.cropped(most)
    top = max(counts.max(), 1)
    mesh = axes.pcolormesh(
        reference,
        MEV * error,
        np.ma.masked_equal(counts.T, 0),
        norm=AsinhNorm(vmin=0, vmax=top),
        cmap="viridis_r",
        linewidth=0,
        rasterized=True,
    )
    axes.axhline(0, color=INK, linewidth=0.6, linestyle=":", zorder=3)
    axes.margins(0.03)
    steps = (1, 2, 5) if top < 100 else (1,)
    ticks = [0, *(step * 10**power for power in range(int(np.log10(top)) + 1) for step in steps)]
    bar = figure.colorbar(mesh, ax=axes, label=f"{what} in a bin", pad=0.02)
    bar.set_ticks([t for t in ticks if t <= top], labels=[f"{t:,}" for t in ticks if t <= top])
    bar.minorticks_off()


def _draw_cdf(axes: Axes, distribution: ErrorDistribution, what: str) -> None:
    size, smaller = distribution.cdf()
    axes.plot(MEV * size, smaller, color=PALETTE[0], zorder=3)
    quartiles = [MEV * distribution.quantile(part) for part in QUARTILES]
    mean = MEV * distribution.mean
    numbers = ", ".join(f"{value:.3g}" for value in quartiles)
    label = f"their quartiles {numbers} meV"
    axes.plot(quartiles, QUARTILES, "o", color=PALETTE[0], markersize=4, label=label, zorder=4)
    label = f"MAE of all {what} {mean:.3g} meV"
    axes.axvline(mean, color=PALETTE[1], linewidth=1.0, linestyle="--", label=label)
    axes.set(
        xscale="log",
        ylim=(0, 1.02),
        yticks=[0, *QUARTILES, 1],
        xlabel=f"absolute error of {what} (meV)",
        ylabel="cumulative fraction of these",
    )
    axes.set_xlim(left=min(MEV * CDF_THRESHOLD, 0.5 * mean))
    # Above the axes, because the curve may be anywhere on them.
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1), borderaxespad=0.0, fontsize=8)
    axes.set_title(
        f"errors above {MEV * CDF_THRESHOLD:g} meV: {100 * distribution.above:.1f} % of all {what}",
        pad=32,
    )


def _draw_reliability(axes: Axes, coverage: Coverage) -> None:
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, linestyle=":")
    for k, (name, found) in enumerate(coverage.to_json().items()):
        parts = [100 * part for part in found["intervals"].values()]
        axes.plot(
            [100 * p for p in NOMINAL],
            parts,
            "o-",
            color=PALETTE[k],
            markersize=4,
            label=_LABELS[name],
        )
    axes.set(
        title="intervals of predictions",
        xlabel="nominal probability (%)",
        ylabel="errors inside (%)",
        xlim=(45, 100),
        ylim=(0, 103),
    )
    axes.legend(loc="lower right", fontsize=8)


def _draw_error_by_uncertainty(axes: Axes, coverage: Coverage) -> None:
    ends = []
    # Of Fermi levels and gaps there is one a structure: too few for bins.
    for k, name in enumerate(("hamiltonian", "eigenvalues")):
        if not coverage.total.get(name):
            continue
        uncertainty, error = MEV * coverage.error_by_uncertainty(name)
        axes.plot(uncertainty, error, "o-", color=PALETTE[k], markersize=3, label=_LABELS[name])
        ends += [uncertainty.min(), uncertainty.max()]
    line = [min(ends), max(ends)]
    axes.plot(line, line, color=INK, linewidth=0.6, linestyle=":", label="error = uncertainty")
    axes.set(
        title="errors by their uncertainty",
        xscale="log",
        yscale="log",
        xlabel="predicted standard deviation (meV)",
        ylabel="rms error (meV)",
    )
    axes.legend(loc="upper left", fontsize=8)


def _mev(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} meV"
