"""The picture of a density of states against position and energy: a band diagram."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.local_edges import LocalDensities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# eV that a picture shows beyond the outermost local edges, if it is not told what to show.
_BEYOND = 3.0
# Part of the densities shown that are not as dark as the darkest.
_DARKEST = 0.998
# Atoms in a bin, as a part of those in the fullest, below which local edges are those of tails.
_MATTER = 0.15
_NAMES = 8  # groups that there is room for above the picture
_ROOM = 0.16  # between names, as a part of the picture's width


def plot_positions(
    path: Path | str,
    energy: Float[np.ndarray, " points"],
    positions: LocalDensities,
    groups: LocalDensities | None = None,
    *,
    title: str = "",
    window: tuple[float, float] | None = None,
) -> None:
    """Draw the density of states against position and energy, with E_F and local band edges.

    Args:
        path: picture to write, .png, .pdf or .svg.
        energy: E - E_F, eV.
        positions: densities of bins along a direction.
        groups: layers or others, whose names stand where their atoms are.
        title: over the picture.
        window: energies shown; by default 3 eV beyond the local edges.
    """
    from matplotlib.colors import PowerNorm

    assert positions.position is not None  # of bins
    low, high = window or _window(energy, positions)
    shown = (energy >= low) & (energy <= high)
    density = np.clip(positions.density[:, shown], 0.0, None)
    top = max(float(np.quantile(density, _DARKEST)), np.finfo(float).tiny)
    with picture(path, (5.6, 3.9)) as (figure, axes):
        mesh = axes.pcolormesh(
            positions.position,
            energy[shown],
            density.T,
            cmap=_colours(),
            norm=PowerNorm(0.5, 0.0, top),
            shading="gouraud",
            rasterized=True,
        )
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=28, extend="max")
        bar.set_label("density of states (1/(eV Å))")
        _draw_edges(axes, positions)
        axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            "$E_\\mathrm{F}$",
            (1, 0),
            (-4, 2),
            axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=INK,
        )
        axes.set(
            xlim=(positions.position[0], positions.position[-1]),
            ylim=(low, high),
            xlabel=axis_label(positions.direction),
            ylabel="$E - E_\\mathrm{F}$ (eV)",
            title=title,
        )
        axes.spines[["top", "right"]].set_visible(True)
        if groups is not None:
            _write_names(axes, groups)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)


def _write_names(axes: Axes, groups: LocalDensities) -> None:
    """Write the names of groups above their atoms, those of larger groups first, as far as there is room."""
    if groups.center is None or not 1 < len(groups.names) <= _NAMES:
        return
    low, high = axes.get_xlim()
    taken: list[float] = []
    for row in np.argsort(-groups.atoms, kind="stable"):
        center = float(groups.center[row])
        if any(abs(center - other) < _ROOM * (high - low) for other in taken):
            continue
        taken.append(center)
        axes.text(
            center,
            0.985,
            _with_subscripts(groups.names[row]),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1.5},
        )


def axis_label(direction: str) -> str:
    """Return a direction in words for an axis, with its unit."""
    if direction in ("x", "y", "z"):
        return f"${direction}$ (Å)"
    others = [name for name in "abc" if name != direction]
    return f"height above the plane of ${others[0]}$ and ${others[1]}$ (Å)"


def _draw_edges(axes: Axes, positions: LocalDensities) -> None:
    """Draw local band edges over the bins in which there is matter."""
    assert positions.position is not None
    matter = positions.atoms > _MATTER * positions.atoms.max()
    edges: tuple[tuple[str, Any, str], ...] = (
        ("local valence band edge", positions.edges.valence, PALETTE[1]),
        ("local conduction band edge", positions.edges.conduction, PALETTE[0]),
    )
    for label, values, colour in edges:
        shown = np.where(matter, values, np.nan)
        axes.step(positions.position, shown, where="mid", color=colour, linewidth=1.4, label=label)


def _window(energy: Float[np.ndarray, " points"], positions: LocalDensities) -> tuple[float, float]:
    matter = positions.atoms > _MATTER * positions.atoms.max()
    ends = np.concatenate([positions.edges.valence[matter], positions.edges.conduction[matter]])
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return float(energy[0]), float(energy[-1])
    low, high = ends.min() - _BEYOND, ends.max() + _BEYOND
    return float(max(energy[0], low)), float(min(energy[-1], high))


def _with_subscripts(name: str) -> str:
    """Return a layer's name with the numbers of its formula below the line."""
    number, _, formula = name.partition(" ")
    if not number.isdecimal() or not formula:
        return name
    return f"{number} " + re.sub(r"(\d+)", r"$_{\1}$", formula)


def _colours():
    """Return colours from white to dark, so that lines in colour can be seen on all of them but the darkest."""
    from matplotlib.colors import LinearSegmentedColormap

    steps = ["#ffffff", "#d9dde3", "#a3abb8", "#666f80", "#2b3140"]
    return LinearSegmentedColormap.from_list("density", steps)
