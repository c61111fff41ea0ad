"""Pictures of densities of states and band structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture, shortened
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.spectra import Spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Which energy is zero in a picture: the Fermi level, or the top of the valence band of an insulator. `auto` is the
# latter for insulators alone.
Zero = Literal["auto", "fermi", "valence"]

DASHED = (0, (3.0, 1.6))
_GREY = "#777777"
_TITLE = 70  # characters that a line of a title has room for
ENERGY_LABELS = {"fermi": "$E - E_\\mathrm{F}$ (eV)", "valence": "$E - E_\\mathrm{v}$ (eV)"}


def plot_dos(
    path: Path | str,
    spectra: Spectra,
    reference: Spectra | None = None,
    *,
    carrier_window: tuple[float, float] | None = None,
    zero: Zero = "auto",
    groups: Mapping[str, Float[np.ndarray, "structures points"]] | None = None,
) -> None:
    """Draw total and species-projected densities of states.

    One structure is drawn as it is. Of several the mean per atom is drawn, with a band of one
    standard deviation around the total.

    Args:
        path: picture to write, .png, .pdf or .svg.
        spectra: what is drawn as lines.
        reference: of the same structures in the same order, drawn dashed.
        carrier_window: energies shaded, eV from E_F.
        zero: what energies are counted from; `auto` is the Fermi level also where carriers are shown.
        groups: densities that take the place of those of species, by name; if there are many, those with the most
            states are drawn, and the sum of all others.
    """
    per_atom = len(spectra) > 1
    known = [spectra, *([reference] if reference is not None else [])]
    zero = zero_of_spectra(known, "fermi" if zero == "auto" and carrier_window else zero)
    if groups is None:
        groups = {chemical_symbols[z]: density for z, density in spectra.species.items()}
    curves, deviation = _curves(spectra, per_atom, zero, groups)
    mine, other = names_of(spectra.origin, None if reference is None else reference.origin)
    with picture(path, (6.4, 3.4)) as (figure, axes):
        energy = spectra.energy
        for label, (density, colour) in curves.items():
            axes.plot(energy, density, color=colour, label=label, zorder=3)
            if label != "total":
                axes.fill_between(energy, density, color=colour, alpha=0.12, linewidth=0)
        if deviation is not None:
            low, high = curves["total"][0] - deviation, curves["total"][0] + deviation
            label = "total ± 1 standard\ndeviation"
            axes.fill_between(energy, low, high, color=INK, alpha=0.15, linewidth=0, label=label)
        if reference is not None:
            species = {chemical_symbols[z]: density for z, density in reference.species.items()}
            expected, _ = _curves(reference, per_atom, zero, species)
            for density, colour in expected.values():
                style = {"color": colour, "linestyle": DASHED, "linewidth": 1.0, "zorder": 4}
                axes.plot(reference.energy, density, **style)
            axes.plot([], [], color=_GREY, label=mine)
            axes.plot([], [], color=_GREY, linestyle=DASHED, linewidth=1.0, label=other)
        if carrier_window is not None:
            label = f"carriers: {carrier_window[0]:g} to\n{carrier_window[1]:g} eV from $E_\\mathrm{{F}}$"
            shift = float(np.mean(_shifts(spectra, zero)))
            ends = (end + shift for end in carrier_window)
            axes.axvspan(*ends, color=PALETTE[4], alpha=0.25, linewidth=0, label=label)
        _mark_zero(axes, vertical=True)
        axes.set(
            xlim=_extent(spectra.energy, curves["total"][0]),
            xlabel=ENERGY_LABELS[zero],
            ylabel=f"density of states (1/eV{' per atom' if per_atom else ''})",
            title=_dos_title(spectra, reference),
        )
        axes.set_ylim(bottom=0)
        # The only curve of a single element needs no name. Beside the axes, because curves may be anywhere on them.
        if len(axes.get_legend_handles_labels()[0]) > 1:
            figure.legend(loc="outside right center", fontsize=8, handlelength=1.6)


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
            _draw_bands(axes, reference, window, zero, (INK, _GREY), DASHED, 1.0, names[1:])
        ticks, letters = zip(*bands.special, strict=True)
        for tick in ticks:
            axes.axvline(tick, color=INK, linewidth=0.4, alpha=0.5, zorder=0)
        _mark_zero(axes, vertical=False)
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


def zero_of_spectra(known: Sequence[Spectra], zero: Zero) -> Literal["fermi", "valence"]:
    """Return what energies are counted from: with `auto` the valence band's top where all structures have a gap."""
    if zero != "auto":
        return zero
    return "valence" if all((s.scalars["band_gap"] > 0).all() for s in known) else "fermi"


def names_of(origin: str, reference: str | None) -> tuple[str, str]:
    """Return what two sides are called, by where they come from: not both the same."""
    first, second = origin or "compared", reference or "reference"
    return first, second if second != first else "reference"


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


def _curves(
    spectra: Spectra,
    per_atom: bool,
    zero: Literal["fermi", "valence"],
    groups: Mapping[str, Float[np.ndarray, "structures points"]],
) -> tuple[
    dict[str, tuple[Float[np.ndarray, " points"], str]], Float[np.ndarray, " points"] | None
]:
    """Return what to draw, as label: (density, colour), and the total's standard deviation."""
    atoms = np.array([len(a) for a in spectra.structures.atoms])[:, None] if per_atom else 1
    shifts = _shifts(spectra, zero)
    total = _shifted(spectra.energy, spectra.total / atoms, shifts)
    curves = {"total": (total.mean(axis=0), INK)}
    # The projection on the only group would hide the total.
    shown = _most_states(groups) if len(groups) > 1 else {}
    for colour, (name, density) in zip(_colours(len(shown)), shown.items(), strict=True):
        shifted = _shifted(spectra.energy, density / atoms, shifts)
        curves[name] = (shifted.mean(axis=0), colour)
    return curves, total.std(axis=0) if per_atom else None


def _most_states(
    groups: Mapping[str, Float[np.ndarray, "structures points"]],
) -> Mapping[str, Float[np.ndarray, "structures points"]]:
    """Return as many groups as there are colours: those with the most states, and the sum of the others."""
    if len(groups) <= len(PALETTE):
        return groups
    order = sorted(groups, key=lambda name: -float(groups[name].sum()))[: len(PALETTE) - 1]
    shown = {name: density for name, density in groups.items() if name in order}
    others = [density for name, density in groups.items() if name not in order]
    return {**shown, f"{len(others)} others": np.sum(others, axis=0)}


def _shifts(
    spectra: Spectra, zero: Literal["fermi", "valence"]
) -> Float[np.ndarray, " structures"]:
    """Return by how much energies from E_F are larger from the zero, eV."""
    if zero == "fermi":
        return np.zeros(len(spectra))
    return spectra.scalars["fermi_level"] - spectra.scalars["valence_band_maximum"]


def _shifted(
    energy: Float[np.ndarray, " points"],
    density: Float[np.ndarray, "structures points"],
    shifts: Float[np.ndarray, " structures"],
) -> Float[np.ndarray, "structures points"]:
    """Return densities against energies from another zero, on the same energies."""
    if not shifts.any():
        return density
    return np.array(
        [
            np.interp(energy - shift, energy, one, left=0, right=0)
            for one, shift in zip(density, shifts, strict=True)
        ]
    )


def _colours(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def _extent(
    energy: Float[np.ndarray, " points"], total: Float[np.ndarray, " points"]
) -> tuple[float, float]:
    """Return the energies between which there is a density."""
    filled = np.flatnonzero(total > max(1e-3 * total.max(), 0.0))
    if len(filled) == 0:
        return float(energy[0]), float(energy[-1])
    margin = 0.02 * (energy[filled[-1]] - energy[filled[0]])
    return float(energy[filled[0]] - margin), float(energy[filled[-1]] + margin)


def _mark_zero(axes: Axes, vertical: bool) -> None:
    line = axes.axvline if vertical else axes.axhline
    line(0.0, color=INK, linewidth=0.8, linestyle=":", zorder=1)


def _dos_title(spectra: Spectra, reference: Spectra | None) -> str:
    gaps, one = spectra.scalars["band_gap"], len(spectra) == 1
    what = shortened(spectra.names[0], _TITLE)
    if not one:
        metals = np.count_nonzero(gaps == 0)
        what = f"mean of {len(spectra)} structures" + (
            f", {metals} of them without a gap" if metals else ""
        )
    average = "gap" if one else "mean gap"
    if reference is None:
        told = describe_gap(gaps[0]) if one else f"{average} {gaps.mean():.3f} eV"
        return f"{what}\n{told}"
    expected = reference.scalars["band_gap"]
    mine, other = names_of(spectra.origin, reference.origin)
    errors = 1000 * np.abs(gaps - expected)
    told = f"error {1000 * (gaps[0] - expected[0]):+.0f} meV"
    if not one:
        told = f"MAE {errors.mean():.0f} meV, largest {errors.max():.0f} meV"
    return (
        f"{what}\n{average} {gaps.mean():.3f} eV {mine}, {expected.mean():.3f} eV {other}: {told}"
    )


def describe_gap(gap: float) -> str:
    """Return a gap in eV in words."""
    return f"gap {gap:.3f} eV" if gap > 0 else "metal"
