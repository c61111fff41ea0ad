"""Pictures of band structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.plot import DASHED, ENERGY_LABELS, GREY, Zero, mark_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_bands(
    path: Path | str,
    bands: BandStructure,
    reference: BandStructure | None = None,
    *,
    title: str = "",
    window: tuple[float, float] | None = None,
    zero: Zero = "auto",
    names: tuple[str, str] = ("bands", "reference"),
) -> None:
    """Draw a band structure along a path, with a reference dashed over it.

    Args:
        path: picture to write, .png, .pdf or .svg.
        bands: drawn as lines, one colour for each spin, and shaded by as much as members of an ensemble differ; with
            spin–orbit coupling coloured by the spin along z.
        reference: of the same path.
        title: over the picture.
        window: energies shown, eV from the zero; by default all valence bands and 5 eV above them.
        zero: what energies are counted from, on each side its own.
        names: of bands and reference in the legend.
    """
    zero = zero_of_bands([bands, *([reference] if reference is not None else [])], zero)
    window = window or bands.window(zero)
    with picture(path, (4.6, 4.4)) as (figure, axes):
        if bands.spin is None:
            spins = ["", ", spin up", ", spin down"]
            suffixes = spins[:1] if len(bands.energies) == 1 else spins[1:]
            labels = [names[0] + suffix for suffix in suffixes]
            _draw_bands(axes, bands, window, zero, PALETTE[:2], "-", 1.4, labels)
        else:
            _draw_spin(axes, bands, bands.spin[2], window, zero)
        if reference is not None:
            _draw_bands(axes, reference, window, zero, (INK, GREY), DASHED, 1.0, names[1:])
        ticks, letters = zip(*bands.special, strict=True)
        for tick in ticks:
            axes.axvline(tick, color=INK, linewidth=0.4, alpha=0.5, zorder=0)
        mark_zero(axes, vertical=False)
        axes.set_xticks(ticks, letters)
        axes.set(
            xlim=(bands.distance[0], bands.distance[-1]),
            ylim=window,
            ylabel=ENERGY_LABELS[zero],
            title=title,
        )
        if reference is not None or len(axes.get_legend_handles_labels()[0]) > 1:
            figure.legend(loc="outside lower center", ncols=3, fontsize=8)


def zero_of_bands(known: Sequence[BandStructure], zero: Zero) -> Literal["fermi", "valence"]:
    """Return what energies are counted from: with `auto` the valence band's top where all have a gap."""
    if zero != "auto":
        return zero
    return "valence" if all(bands.gap > 0 for bands in known) else "fermi"


def _draw_bands(
    axes: Axes,
    bands: BandStructure,
    window: tuple[float, float],
    zero: Literal["fermi", "valence"],
    colours: Sequence[str],
    style: str | tuple,
    width: float,
    labels: Sequence[str],
) -> None:
    for spin, energies in enumerate(bands.energies - bands.zero(zero)):
        inside = (energies.max(axis=0) > window[0]) & (energies.min(axis=0) < window[1])
        lines = axes.plot(
            bands.distance,
            energies[:, inside],
            color=colours[spin],
            linestyle=style,
            linewidth=width,
        )
        if lines and spin < len(labels):
            lines[0].set_label(labels[spin])
        if bands.energies_uncertainty is None:
            continue
        deviation = bands.energies_uncertainty[spin]
        for number, band in enumerate(np.flatnonzero(inside)):
            middle, half = energies[:, band], deviation[:, band]
            filled = axes.fill_between(
                bands.distance,
                middle - half,
                middle + half,
                color=colours[spin],
                alpha=0.25,
                linewidth=0,
            )
            if number == spin == 0:
                filled.set_label("± standard deviation")


def _draw_spin(
    axes: Axes,
    bands: BandStructure,
    spin: Float[np.ndarray, "kpoints bands"],
    window: tuple[float, float],
    zero: Literal["fermi", "valence"],
) -> None:
    """Draw bands coloured by a component of the spin, with a scale beside them."""
    from matplotlib.collections import LineCollection

    energies = bands.energies[0] - bands.zero(zero)
    inside = (energies.max(axis=0) > window[0]) & (energies.min(axis=0) < window[1])
    if not inside.any():
        return
    distance = np.broadcast_to(bands.distance[:, None], energies[:, inside].shape)
    points = np.stack([distance, energies[:, inside]], axis=-1)
    segments = np.stack([points[:-1], points[1:]], axis=2).reshape(-1, 2, 2)
    middle = 0.5 * (spin[:-1, inside] + spin[1:, inside])
    # Grey in the middle, which on white can be seen.
    lines = LineCollection(
        list(segments), array=middle.ravel(), cmap=_spin_colours(), linewidths=1.4
    )
    lines.set_clim(-1, 1)
    axes.add_collection(lines)
    bar = axes.figure.colorbar(lines, ax=axes, pad=0.02, aspect=30, ticks=[-1, 0, 1])
    bar.set_label("spin along z, $\\langle\\sigma_z\\rangle$")


def _spin_colours():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("spin", [PALETTE[0], "#b0b0b0", PALETTE[1]])
