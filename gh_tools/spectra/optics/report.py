"""What is told about an optical spectrum: a picture or data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.console import log, table
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import INK, PALETTE, picture, shortened
from gh_tools.spectra.optics.spectrum import OpticalSpectrum

_NAMES = "xyz"
# Diagonal components that differ by less, of their maximum, are drawn as one line.
_SAME = 0.01
# Of the f-sum rule; in finite bases it is kept to some 10 %.
_TOO_MUCH = 1.3


def write_optics(path: Path, found: OpticalSpectrum, name: str) -> dict[str, Any]:
    """Write a spectrum as a picture, or as numbers if the file ends in .json or .csv, and show what it amounts to.

    Args:
        path: file to write.
        found: the spectrum.
        name: of the structure.

    Returns:
        Facts for the result line, see `OpticalSpectrum.numbers`.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        with new_file(path) as new:
            new.write_text(json.dumps({"structure": name, **found.to_json()}) + "\n")
    elif ending == ".csv":
        with new_file(path) as new, new.open("w", newline="") as file:
            titles, columns = _columns(found)
            writer = csv.writer(file)
            writer.writerow(titles)
            writer.writerows(np.array(columns).T.tolist())
    else:
        _draw(path, found, name)
    rows = []
    for axis in range(3):
        static = found.static_response[axis, axis]
        rows.append(
            [
                _NAMES[axis],
                f"{static:.4g}" if found.gap > 0 else "-",
                f"{found.plasma[axis]:.4g}" if found.gap == 0 and found.periodic == 3 else "-",
                f"{100 * found.f_sum[axis]:.0f} %",
            ]
        )
    table(rows, ["direction", f"{found.symbol} at ω = 0", "ħω_p (eV)", "f-sum"])
    if found.positions == "atoms":
        log.warning(
            "positions are those of orbitals that sit on their atoms: dipoles within atoms are left out, which may change "
            "absorption several times"
        )
    if found.f_sum.max() > _TOO_MUCH:
        log.warning(
            "transitions hold %.0f %% of the electrons by the f-sum rule, expected some 100: positions between states are too "
            "large; do not trust the spectrum's height",
            100 * found.f_sum.max(),
        )
    return found.numbers()


def _columns(found: OpticalSpectrum) -> tuple[list[str], list[Any]]:
    titles, columns = ["energy_eV"], [found.energy]
    for a in range(3):
        for b in range(3):
            part = found.response[a, b]
            titles += [f"re_{_NAMES[a]}{_NAMES[b]}", f"im_{_NAMES[a]}{_NAMES[b]}"]
            columns += [part.real, part.imag]
    if found.periodic >= 2:
        unit = "absorption_per_cm" if found.periodic == 3 else "absorbance"
        titles += [f"{unit}_{axis}" for axis in _NAMES]
        columns += list(found.absorption)
    return [*titles, "joint_density_per_eV"], [*columns, found.joint]


def _draw(path: Path, found: OpticalSpectrum, name: str) -> None:
    diagonal = np.einsum("aap->ap", found.response)
    groups: list[list[int]] = []
    for axis in range(3):
        for group in groups:
            if np.abs(diagonal[axis] - diagonal[group[0]]).max() < _SAME * np.abs(diagonal).max():
                group.append(axis)
                break
        else:
            groups.append([axis])
    with picture(path, (4.8, 4.6), nrows=2, sharex=True, height_ratios=(2.2, 1)) as (figure, axes):
        upper, lower = axes
        for group, colour in zip(groups, PALETTE, strict=False):
            label = ", ".join(2 * _NAMES[axis] for axis in group)
            values = diagonal[group[0]]
            upper.plot(found.energy, values.imag, color=colour, label=f"Im, {label}")
            upper.plot(
                found.energy,
                values.real,
                color=colour,
                dashes=(3, 1.5),
                linewidth=0.9,
                label=f"Re, {label}",
            )
        upper.axhline(0.0, color=INK, linewidth=0.6)
        upper.set(ylabel=_LABELS[found.periodic], title=shortened(name, 60))
        upper.legend(fontsize=8)
        lower.fill_between(found.energy, found.joint, color="#CCCCCC", linewidth=0)
        lower.plot(found.energy, found.joint, color=INK, linewidth=0.9)
        lower.set(
            xlim=(found.energy[0], found.energy[-1]),
            xlabel="photon energy $\\hbar\\omega$ (eV)",
            ylabel="joint density\n(1/eV and cell)",
        )
        lower.set_ylim(bottom=0)
        for panel in (upper, lower) if found.gap > 0 else ():
            panel.axvline(found.gap, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
        figure.align_ylabels()


_LABELS = {
    3: "dielectric function $\\varepsilon$",
    2: "polarisability per area $\\alpha$ (Å)",
    1: "polarisability per length $\\alpha$ (Å$^2$)",
    0: "polarisability $\\alpha$ (Å$^3$)",
}
