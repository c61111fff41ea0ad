"""What is told about unfolded bands: a picture or data, and a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.console import table
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import shortened
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.plot import describe_gap
from gh_tools.spectra.plot_unfolded import plot_unfolded
from gh_tools.spectra.report import with_uncertainty
from gh_tools.spectra.scalars import UNCERTAINTY
from gh_tools.spectra.unfolded_bands import UnfoldedBands

_TITLES = ("spin", "kpoint", "distance_1/A", "k1", "k2", "k3", "energy_eV", "weight")


def write_unfolded(
    path: Path, bands: UnfoldedBands, reference: BandStructure | None, name: str
) -> dict[str, Any]:
    """Write unfolded bands as a picture; as data if the file ends in .json, or each state in a line if it ends in .csv.

    Args:
        path: file to write.
        bands: the bands.
        reference: of the primitive cell along the same path, if any.
        name: of the structure.

    Returns:
        Facts for the result line: ``band_gap``, ``fermi_level``, ``valence_band_maximum`` in eV (of an ensemble also with the ending ``_uncertainty``), ``zero``,
        ``sites``, ``vacant``, ``substituted`` and ``beside`` (see `Sites`), ``orbitals`` of the
        primitive cell, and ``sharpness``: the part of all weight in states that have at least half.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        data = {"structure": name, **bands.to_json()}
        if reference is not None:
            data["reference"] = reference.to_json()
        with new_file(path) as new:
            new.write_text(json.dumps(data) + "\n")
    elif ending == ".csv":
        with new_file(path) as new, new.open("w", newline="") as file:
            writer = csv.writer(file)
            ensemble = bands.energies_uncertainty is not None
            writer.writerow((*_TITLES, "energy_uncertainty_eV") if ensemble else _TITLES)
            writer.writerows(bands.rows())
    else:
        title = f"{shortened(name, 50)}\n{describe_gap(bands.edges.gap)}, {bands.sites.cells} primitive cells"
        plot_unfolded(path, bands, reference, title=title)
    listed = bands.weights[np.isfinite(bands.energies)]
    sites = bands.sites
    facts: dict[str, Any] = {
        "band_gap": bands.edges.gap,
        "fermi_level": bands.fermi_level,
        "valence_band_maximum": bands.edges.valence,
        **{name + UNCERTAINTY: value for name, value in bands.uncertainties.items()},
        "zero": bands.zero,
        "sites": sites.sites,
        "vacant": sites.vacant,
        "substituted": sites.substituted,
        "beside": sites.beside,
        "orbitals": bands.orbitals,
        "sharpness": float(listed[listed > 0.5].sum() / np.abs(listed).sum()),
    }
    table(
        [
            ["gap (eV)", with_uncertainty(bands.edges.gap, bands.uncertainties.get("band_gap"))],
            [
                "E_F (eV)",
                with_uncertainty(bands.fermi_level, bands.uncertainties.get("fermi_level")),
            ],
            ["states of the supercell at each k", str(bands.energies.shape[-1])],
            ["orbitals of the primitive cell", f"{bands.orbitals:g}"],
            ["weight in states that have half or more", f"{100 * facts['sharpness']:.1f} %"],
        ],
        ["", "unfolded"],
    )
    return facts
