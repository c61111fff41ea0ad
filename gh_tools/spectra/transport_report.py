"""What is told about transmission: a picture or data, and how the leads fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.console import log, table
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import INK, PALETTE, picture, shortened
from gh_tools.spectra.contacts import Contact
from gh_tools.spectra.transport import Transmission
from gh_tools.units import MEV

# eV: leads whose atoms have other energies than the device's, by more than a constant, are none of it.
_MISMATCH = 0.05


def write_transmission(path: Path, found: Transmission, name: str) -> dict[str, Any]:
    """Write T(E) as a picture, or as numbers if the file ends in .json or .csv, and show how the leads fit.

    Args:
        path: file to write.
        found: the transmission.
        name: of the device.

    Returns:
        Facts for the result line: ``fermi_level`` of the left lead in eV, ``conductance`` at the energy next to it in
        2e²/h, and ``shifts`` and ``mismatches`` of both leads in eV.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        with new_file(path) as new:
            new.write_text(json.dumps({"structure": name, **found.to_json()}) + "\n")
    elif ending == ".csv":
        with new_file(path) as new, new.open("w", newline="") as file:
            writer = csv.writer(file)
            spins = ("transmission",) if len(found.transmission) == 1 else ("up", "down")
            writer.writerow(("energy_eV", *spins))
            writer.writerows(zip(found.energy.tolist(), *found.transmission.tolist(), strict=True))
    else:
        _draw(path, found, name)
    tell_contacts(found.contacts)
    at = int(np.argmin(np.abs(found.energy)))
    return {
        "fermi_level": found.fermi_level,
        "conductance": float(found.conductance[at]),
        "conductance_energy": float(found.energy[at]),
        "shifts": [contact.shift for contact in found.contacts],
        "mismatches": [contact.mismatch for contact in found.contacts],
    }


def tell_contacts(contacts: tuple[Contact, Contact]) -> None:
    """Show how the leads fit the device, with a warning where they do not."""
    for side, contact in zip(("left", "right"), contacts, strict=True):
        if contact.mismatch > _MISMATCH:
            log.warning(
                "the %s lead's atoms have other energies than those of the device, by %.2f eV (rms) after a shift: its ends "
                "are not like the lead; make them longer",
                side,
                contact.mismatch,
            )
    table(
        [
            [side, f"{c.shift:+.4f}", f"{MEV * c.mismatch:.1f}", f"{c.fermi_level:.4f}"]
            for side, c in zip(("left", "right"), contacts, strict=True)
        ],
        ["lead", "shifted by (eV)", "left over, rms (meV)", "E_F (eV)"],
    )


def _draw(path: Path, found: Transmission, name: str) -> None:
    with picture(path, (4.8, 3.2)) as (figure, axes):
        labels = [""] if len(found.transmission) == 1 else ["spin up", "spin down"]
        for values, colour, label in zip(found.transmission, PALETTE, labels, strict=False):
            axes.plot(found.energy, values, color=colour, label=label)
        axes.axvline(0.0, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.set(
            xlim=(found.energy[0], found.energy[-1]),
            xlabel="$E - E_\\mathrm{F}$ (eV)",
            ylabel="transmission of both spins" if found.spinor else "transmission of one spin",
            title=shortened(name, 60),
        )
        axes.set_ylim(bottom=0)
        if len(labels) > 1:
            figure.legend(loc="outside right center", fontsize=8)
