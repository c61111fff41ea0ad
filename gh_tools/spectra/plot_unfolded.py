"""Pictures of unfolded bands: the spectral function as density."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.plot import DASHED, ENERGY_LABELS
from gh_tools.spectra.unfolded_bands import UnfoldedBands

# Exponent of the colours: weak weights are what disorder is seen by.
_GAMMA = 0.5


def plot_unfolded(
    path: Path | str,
    bands: UnfoldedBands,
    reference: BandStructure | None = None,
    *,
    title: str = "",
    name: str = "primitive cell",
) -> None:
    """Draw the spectral function against k and energy, dashed over it the bands of a primitive cell.

    The darkest colour is that of one whole state; two spin channels are added.

    Args:
        path: picture to write, .png, .pdf or .svg.
        bands: of the supercell.
        reference: of the primitive cell, along the same path.
        title: over the picture.
        name: of the reference in the legend.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    colours = LinearSegmentedColormap.from_list(
        "density", ["white", "#9ecae9", PALETTE[0], "#0b2545"]
    )
    density = bands.spectral_function.sum(axis=0)
    # Of one state at its own energy, by the Gaussian's height.
    whole = bands.degeneracy / (np.sqrt(2 * np.pi) * bands.width)
    with picture(path, (5.0, 4.4)) as (figure, axes):
        shown = axes.pcolormesh(
            _edges(bands.distance),
            _edges(bands.energy),
            np.clip(density, 0, None).T,
            cmap=colours,
            norm=PowerNorm(_GAMMA, 0, whole),
            rasterized=True,
            zorder=0,
        )
        if reference is not None:
            zero = reference.zero(bands.zero)
            for spin, energies in enumerate(reference.energies):
                axes.plot(
                    bands.distance,
                    energies - zero,
                    color=PALETTE[1],
                    linestyle=DASHED,
                    linewidth=0.7,
                    zorder=2,
                    label=None,
                )
                if spin == 0:
                    axes.plot([], [], color=PALETTE[1], linestyle=DASHED, label=name)
        for tick, _ in bands.special:
            axes.axvline(tick, color=INK, linewidth=0.4, alpha=0.5, zorder=1)
        axes.axhline(0.0, color=INK, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        ticks, letters = zip(*bands.special, strict=True)
        axes.set_xticks(ticks, letters)
        axes.set(
            xlim=(bands.distance[0], bands.distance[-1]),
            ylim=(bands.energy[0], bands.energy[-1]),
            ylabel=ENERGY_LABELS[bands.zero],
            title=title,
        )
        bar = figure.colorbar(shown, ax=axes, pad=0.02, aspect=30, extend="max")
        bar.set_label("spectral function $A(k, E)$ (1/eV)")
        bar.outline.set_linewidth(0.6)
        if reference is not None:
            figure.legend(loc="outside lower center", fontsize=8)


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the ends of the cells around values, the outermost of which have half a cell."""
    middle = 0.5 * (values[1:] + values[:-1])
    return np.concatenate([values[:1], middle, values[-1:]])
