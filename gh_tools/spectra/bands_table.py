"""Bands as a table of comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.outputs.publish import new_file
from gh_tools.spectra.bands import BandStructure


def write_band_table(path: Path, bands: BandStructure) -> None:
    """Write a row for each state along the path: where it is, its energy, velocity, spin and weights of groups.

    Args:
        path: file to write.
        bands: the states.
    """
    with new_file(path) as new, new.open("w", newline="") as stream:
        csv.writer(stream).writerows(_rows(bands))


def _rows(bands: BandStructure) -> Iterator[list[Any]]:
    energies = bands.energies - bands.fermi_level
    columns = {"E - E_F (eV)": energies}
    if bands.velocity is not None:
        columns["velocity along the path (m/s)"] = bands.velocity
    if bands.spin is not None:
        columns |= {f"<sigma_{v}>": s[None] for v, s in zip("xyz", bands.spin, strict=True)}
    if bands.weights is not None:
        columns |= {f"weight of {g}": w for g, w in zip(bands.groups, bands.weights, strict=True)}
    yield ["distance (1/Å)", "k1", "k2", "k3", "spin channel", "band", *columns]
    for s, k, n in np.ndindex(energies.shape):
        values = (float(values[s, k, n]) for values in columns.values())
        place = [float(bands.distance[k]), *bands.kpoints[k].tolist()]
        yield [*place, s, n, *("" if v != v else v for v in values)]
