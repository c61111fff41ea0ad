"""The picture of fat bands: a panel for each group, with bands as wide as its weight in their states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.plot import Zero
from gh_tools.spectra.plot_bands import zero_of_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {"fermi": "$E - E_\\mathrm{F}$ (eV)", "valence": "$E - E_\\mathrm{v}$ (eV)"}
_PANELS, _COLUMNS = 8, 4
# Points: width of a band that is a group's alone.
_WIDTH = 5.0
_GREY = "#b8b8b8"


def plot_fat_bands(
    path: Path | str,
    bands: BandStructure,
    *,
    title: str = "",
    window: tuple[float, float] | None = None,
    zero: Zero = "auto",
) -> None:
    """Draw bands along a path in a panel for each group that states are projected on.

    Bands are thin lines, and over them one as wide as the group's weight. Of more than 8 groups, those with the most weight in the
    energies shown are drawn.

    Args:
        path: picture to write, .png, .pdf or .svg.
        bands: with weights.
        title: over the picture.
        window: energies shown, eV from the zero; by default all valence bands and 5 eV above them.
        zero: what energies are counted from.
    """
    from matplotlib.lines import Line2D

    assert bands.weights is not None  # of the groups
    counted = zero_of_bands([bands], zero)
    window = window or bands.window(counted)
    energies = bands.energies - bands.zero(counted)
    shown = _most_weight(bands, energies, window)
    rows = int(np.ceil(len(shown) / _COLUMNS))
    columns = int(np.ceil(len(shown) / rows))
    size = (1.0 + 2.0 * columns if columns > 1 else 4.6, 0.9 + 3.1 * rows)
    options = {"nrows": rows, "ncols": columns, "sharex": True, "sharey": True, "squeeze": False}
    with picture(path, size, **options) as (figure, panels):
        for number, axes in enumerate(panels.flat):
            if number >= len(shown):
                axes.set_visible(False)
                continue
            group = shown[number]
            _draw(
                axes, bands, energies, bands.weights[group], window, PALETTE[number % len(PALETTE)]
            )
            axes.set_title(bands.groups[group], loc="center")
            if number + columns >= len(shown):
                axes.tick_params(labelbottom=True)
            if number % columns == 0:
                axes.set_ylabel(_LABELS[counted])
        scale = [Line2D([], [], color=_GREY, linewidth=_WIDTH * part) for part in (1, 0.5, 0.1)]
        texts = ["weight 1", "0.5", "0.1"]
        figure.legend(scale, texts, loc="outside lower center", ncols=3, fontsize=8)
        figure.suptitle(title, fontsize=9, x=0.02, ha="left")


def _most_weight(
    bands: BandStructure,
    energies: Float[np.ndarray, "spins kpoints bands"],
    window: tuple[float, float],
) -> list[int]:
    assert bands.weights is not None
    inside = (energies >= window[0]) & (energies <= window[1])
    held = np.sum(bands.weights * inside, axis=(1, 2, 3))
    return sorted(np.argsort(-held, kind="stable")[:_PANELS].tolist())


def _draw(
    axes: Axes,
    bands: BandStructure,
    energies: Float[np.ndarray, "spins kpoints bands"],
    weights: Float[np.ndarray, "spins kpoints bands"],
    window: tuple[float, float],
    colour: str,
) -> None:
    from matplotlib.collections import LineCollection

    for spin, of_spin in enumerate(energies):
        inside = (of_spin.max(axis=0) > window[0]) & (of_spin.min(axis=0) < window[1])
        axes.plot(bands.distance, of_spin[:, inside], color=_GREY, linewidth=0.5, zorder=1)
        distance = np.broadcast_to(bands.distance[:, None], of_spin[:, inside].shape)
        points = np.stack([distance, of_spin[:, inside]], axis=-1)
        segments = np.stack([points[:-1], points[1:]], axis=2).reshape(-1, 2, 2)
        middle = 0.5 * (weights[spin, :-1, inside].T + weights[spin, 1:, inside].T)
        width = _WIDTH * np.clip(middle, 0.0, 1.0).ravel()
        lines = LineCollection(
            list(segments), linewidths=width, colors=colour, capstyle="round", zorder=2
        )
        lines.set_rasterized(True)
        axes.add_collection(lines)
    ticks, letters = zip(*bands.special, strict=True)
    for tick in ticks:
        axes.axvline(tick, color=INK, linewidth=0.4, alpha=0.5, zorder=0)
    axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xticks(ticks, letters)
    axes.set(xlim=(bands.distance[0], bands.distance[-1]), ylim=window)
