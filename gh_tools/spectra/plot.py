"""Pictures of densities of states and band structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.store import Spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHED = (0, (3.0, 1.6))


def plot_dos(
    path: Path | str,
    spectra: Spectra,
    reference: Spectra | None = None,
    *,
    carrier_window: tuple[float, float] | None = None,
) -> None:
    """Draw total and species-projected densities of states against E - E_F.

    One structure is drawn as it is. Of several the mean per atom is drawn, with a band of one
    standard deviation around the total.

    Args:
        path: picture to write, .png, .pdf or .svg.
        spectra: what is drawn as lines.
        reference: of the same structures in the same order, drawn dashed.
        carrier_window: energies shaded, eV.
    """
    per_atom = len(spectra) > 1
    curves, spread = _curves(spectra, per_atom)
    with picture(path, (5.6, 3.5)) as (_, axes):
        energy = spectra.energy
        for label, (density, colour) in curves.items():
            axes.plot(energy, density, color=colour, label=label, zorder=3)
            if label != "total":
                axes.fill_between(energy, density, color=colour, alpha=0.12, linewidth=0)
        if spread is not None:
            low, high = curves["total"][0] - spread, curves["total"][0] + spread
            axes.fill_between(energy, low, high, color=INK, alpha=0.15, linewidth=0)
        if reference is not None:
            expected, _ = _curves(reference, per_atom)
            for density, colour in expected.values():
                axes.plot(
                    reference.energy,
                    density,
                    color=colour,
                    linestyle=DASHED,
                    linewidth=1.0,
                    zorder=4,
                )
            axes.plot([], [], color=INK, linestyle=DASHED, linewidth=1.0, label="reference")
        if carrier_window is not None:
            axes.axvspan(
                *carrier_window, color=PALETTE[4], alpha=0.25, linewidth=0, label="carriers"
            )
        _mark_fermi(axes, vertical=True)
        _, top = axes.get_ylim()
        axes.set(
            xlim=_extent(spectra),
            ylim=(0, 1.12 * top),  # room for the legend
            xlabel="$E - E_\\mathrm{F}$ (eV)",
            ylabel=f"density of states (1/eV{' per atom' if per_atom else ''})",
            title=_dos_title(spectra, reference),
        )
        axes.legend(ncols=6, loc="upper left", fontsize=8, columnspacing=1.2, handlelength=1.6)


def plot_bands(
    path: Path | str,
    bands: BandStructure,
    reference: BandStructure | None = None,
    *,
    title: str = "",
    window: tuple[float, float] = (-4.0, 4.0),
) -> None:
    """Draw a band structure along a path, with a reference dashed over it.

    Args:
        path: picture to write, .png, .pdf or .svg.
        bands: drawn as lines, one colour for each spin; with spin–orbit coupling coloured by the spin along z.
        reference: of the same path.
        title: over the picture.
        window: energies shown, eV from E_F.
    """
    with picture(path, (4.6, 4.0)) as (_, axes):
        if bands.spin is None:
            _draw_bands(axes, bands, window, PALETTE[:2], "-", 1.4, _spin_labels(bands))
        else:
            _draw_spin(axes, bands, bands.spin[2], window)
        if reference is not None:
            labels = ["reference"] * reference.energies.shape[0]
            colours = (INK, "#777777")
            _draw_bands(axes, reference, window, colours, DASHED, 1.0, labels[:1])
        ticks, names = zip(*bands.special, strict=True)
        for tick in ticks:
            axes.axvline(tick, color=INK, linewidth=0.4, alpha=0.5, zorder=0)
        _mark_fermi(axes, vertical=False)
        axes.set_xticks(ticks, names)
        axes.set(
            xlim=(bands.distance[0], bands.distance[-1]),
            ylim=window,
            ylabel="$E - E_\\mathrm{F}$ (eV)",
            title=title,
        )
        if reference is not None or len(bands.energies) > 1:
            axes.legend(
                loc="upper right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none"
            )


def _draw_bands(
    axes: Axes,
    bands: BandStructure,
    window: tuple[float, float],
    colours: Sequence[str],
    style: str | tuple,
    width: float,
    labels: Sequence[str],
) -> None:
    for spin, energies in enumerate(bands.energies - bands.fermi_level):
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


def _draw_spin(
    axes: Axes,
    bands: BandStructure,
    spin: Float[np.ndarray, "kpoints bands"],
    window: tuple[float, float],
) -> None:
    """Draw bands coloured by a component of the spin, with a scale beside them."""
    from matplotlib.collections import LineCollection

    energies = bands.energies[0] - bands.fermi_level
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


def _spin_labels(bands: BandStructure) -> list[str]:
    return ["bands"] if len(bands.energies) == 1 else ["spin up", "spin down"]


def _curves(
    spectra: Spectra, per_atom: bool
) -> tuple[
    dict[str, tuple[Float[np.ndarray, " points"], str]], Float[np.ndarray, " points"] | None
]:
    """Return what to draw, as label: (density, colour), and the total's standard deviation."""
    atoms = np.array([len(a) for a in spectra.structures.atoms])[:, None] if per_atom else 1
    total = spectra.total / atoms
    curves = {"total": (total.mean(axis=0), INK)}
    # The projection on the only species would hide the total.
    species = spectra.species if len(spectra.species) > 1 else {}
    for colour, (z, density) in zip(_colours(len(species)), species.items(), strict=True):
        curves[chemical_symbols[z]] = ((density / atoms).mean(axis=0), colour)
    return curves, total.std(axis=0) if per_atom else None


def _colours(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def _extent(spectra: Spectra) -> tuple[float, float]:
    """Return the energies between which there is a density."""
    total = spectra.total.max(axis=0)
    filled = np.flatnonzero(total > max(1e-3 * total.max(), 0.0))
    if len(filled) == 0:
        return float(spectra.energy[0]), float(spectra.energy[-1])
    return float(spectra.energy[filled[0]]), float(spectra.energy[filled[-1]])


def _mark_fermi(axes: Axes, vertical: bool) -> None:
    line = axes.axvline if vertical else axes.axhline
    line(0.0, color=INK, linewidth=0.8, linestyle=":", zorder=1)


def _dos_title(spectra: Spectra, reference: Spectra | None) -> str:
    gaps = spectra.scalars["band_gap"]
    what = spectra.names[0] if len(spectra) == 1 else f"mean of {len(spectra)} structures"
    if reference is None:
        return f"{what}: {describe_gap(gaps.mean())}"
    expected = reference.scalars["band_gap"]
    if len(spectra) == 1:
        error = f"{1000 * (gaps[0] - expected[0]):+.0f} meV"
    else:
        error = f"MAE {1000 * np.abs(gaps - expected).mean():.0f} meV"
    return f"{what}: gap {gaps.mean():.3f} eV, reference {expected.mean():.3f} eV ({error})"


def describe_gap(gap: float) -> str:
    """Return a gap in eV in words."""
    return f"gap {gap:.3f} eV" if gap > 0 else "metal"
