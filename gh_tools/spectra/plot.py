"""Pictures of densities of states and band structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from gh_tools.plotting import INK, PALETTE, picture, shortened
from gh_tools.spectra.spectra import Spectra
from gh_tools.units import MEV

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Which energy is zero in a picture: the Fermi level, or the top of the valence band of an insulator. `auto` is the
# latter for insulators alone.
Zero = Literal["auto", "fermi", "valence"]

DASHED = (0, (3.0, 1.6))
GREY = "#777777"
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
            axes.plot([], [], color=GREY, label=mine)
            axes.plot([], [], color=GREY, linestyle=DASHED, linewidth=1.0, label=other)
        if carrier_window is not None:
            label = f"carriers: {carrier_window[0]:g} to\n{carrier_window[1]:g} eV from $E_\\mathrm{{F}}$"
            shift = float(np.mean(_shifts(spectra, zero)))
            ends = (end + shift for end in carrier_window)
            axes.axvspan(*ends, color=PALETTE[4], alpha=0.25, linewidth=0, label=label)
        mark_zero(axes, vertical=True)
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


def zero_of_spectra(known: Sequence[Spectra], zero: Zero) -> Literal["fermi", "valence"]:
    """Return what energies are counted from: with `auto` the valence band's top where all structures have a gap."""
    if zero != "auto":
        return zero
    return "valence" if all((s.scalars["band_gap"] > 0).all() for s in known) else "fermi"


def names_of(origin: str, reference: str | None) -> tuple[str, str]:
    """Return what two sides are called, by where they come from: not both the same."""
    first, second = origin or "compared", reference or "reference"
    return first, second if second != first else "reference"


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


def mark_zero(axes: Axes, vertical: bool) -> None:
    """Draw a dotted line at energy zero, upright where energies run to the right."""
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
    errors = MEV * np.abs(gaps - expected)
    told = f"error {MEV * (gaps[0] - expected[0]):+.0f} meV"
    if not one:
        told = f"MAE {errors.mean():.0f} meV, largest {errors.max():.0f} meV"
    return (
        f"{what}\n{average} {gaps.mean():.3f} eV {mine}, {expected.mean():.3f} eV {other}: {told}"
    )


def describe_gap(gap: float) -> str:
    """Return a gap in eV in words."""
    return f"gap {gap:.3f} eV" if gap > 0 else "metal"
