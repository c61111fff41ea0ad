"""What is told about bands: a picture or data, a table, and errors against a reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gh_tools.console import log, table
from gh_tools.errors import DataError
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import shortened
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.bands_table import write_band_table
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.plot import Zero, describe_gap
from gh_tools.spectra.plot_bands import plot_bands, zero_of_bands
from gh_tools.spectra.plot_fat import plot_fat_bands
from gh_tools.spectra.report import with_uncertainty
from gh_tools.spectra.scalars import UNCERTAINTY
from gh_tools.spectra.structure_names import index_of
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.units import MEV


def find_structure(reader: HamiltonianReader, which: str) -> int:
    """Return the index of a structure given by name or by index.

    Raises:
        UsageError: if the store has no such structure.
    """
    return index_of(reader.names, which, reader.store.path)


def write_bands(
    path: Path,
    bands: BandStructure,
    reference: BandStructure | None,
    name: str,
    window: tuple[float, float] | None = None,
    zero: Zero = "auto",
    names: tuple[str, str] = ("bands", "reference"),
) -> dict[str, Any]:
    """Write bands as a picture, or as data if the file is to end in .json or .csv, and show their gaps and errors in a
    table.

    Args:
        path: file to write.
        bands: the bands.
        reference: of the same structure along the same path, if any.
        name: of the structure.
        window: energies shown and compared, eV from the zero; by default as `BandStructure.window` says.
        zero: what energies are counted from.
        names: what bands and reference are called.

    Returns:
        Facts for the result line, in eV: ``band_gap``, ``path_gap``, ``gap_kind``, ``fermi_level``,
        ``valence_band_maximum`` and ``zero`` (``fermi`` or ``valence``), the standard deviations of these where an
        ensemble predicted H (with the ending ``_uncertainty``), and with a reference ``band_gap_error``,
        ``path_gap_error``, ``fermi_level_error``, and ``bands_mae`` and ``bands_largest``, the mean absolute and the
        largest error of the eigenvalues in the window, each side counted from its own zero.

    Raises:
        DataError: if the reference has another number of bands or spins.
    """
    known = [bands, *([reference] if reference is not None else [])]
    zero = zero_of_bands(known, zero)
    window = window or bands.window(zero)
    facts: dict[str, Any] = {
        "band_gap": bands.gap,
        "path_gap": bands.path_gap,
        "gap_kind": _kind(bands),
        "fermi_level": bands.fermi_level,
        "valence_band_maximum": bands.valence,
        "zero": zero,
        **{name + UNCERTAINTY: value for name, value in bands.uncertainties.items()},
    }
    title = [shortened(name, 60), _title(known, names)]
    if bands.primitive_cells > 1:
        title.append(f"folded bands of {bands.primitive_cells} primitive cells")
    if reference is not None:
        facts |= _band_errors(bands, reference, name, window, zero)
        if "bands_mae" in facts:
            mae, largest = MEV * facts["bands_mae"], MEV * facts["bands_largest"]
            title.append(f"bands: MAE {mae:.0f} meV, largest {largest:.0f} meV")
    if path.suffix.lower() == ".json":
        data = {"structure": name, **bands.to_json()}
        if reference is not None:
            data["reference"] = reference.to_json()
        with new_file(path) as new:
            new.write_text(json.dumps(data) + "\n")
    elif path.suffix.lower() == ".csv":
        write_band_table(path, bands)
    elif bands.weights is not None:
        plot_fat_bands(path, bands, title="\n".join(title), window=window, zero=zero)
    else:
        text = "\n".join(title)
        plot_bands(path, bands, reference, title=text, window=window, zero=zero, names=names)
    _tell_bands(known, names, facts, window, zero)
    return facts


def _band_errors(
    bands: BandStructure,
    reference: BandStructure,
    name: str,
    window: tuple[float, float],
    zero: Literal["fermi", "valence"],
) -> dict[str, float]:
    """Return errors against a reference, as `write_bands` says."""
    found, expected = bands.energies.shape, reference.energies.shape
    if found != expected:
        raise DataError(
            f"the reference of {name} has {expected[0]} spin channels of {expected[2]} bands, "
            f"expected {found[0]} of {found[2]}; label it with the same basis and spin"
        )
    errors = {
        "band_gap_error": bands.gap - reference.gap,
        "path_gap_error": bands.path_gap - reference.path_gap,
        "fermi_level_error": bands.fermi_level - reference.fermi_level,
    }
    aligned = reference.energies - reference.zero(zero)
    near = share_in_window(aligned, window)
    difference = np.abs(bands.energies - bands.zero(zero) - aligned)
    if np.any(near):
        errors["bands_mae"] = float(np.average(difference, weights=near))
        errors["bands_largest"] = float(difference[near > 0].max())
    return errors


def _title(known: Sequence[BandStructure], names: Sequence[str]) -> str:
    gaps = ", ".join(
        f"{describe_gap(bands.gap).removeprefix('gap ')} {called}"
        for bands, called in zip(known, names, strict=False)
    )
    if len(known) == 1:
        gaps = describe_gap(known[0].gap)
        return f"{gaps}, on the path {known[0].path_gap:.3f} eV" if known[0].gap > 0 else gaps
    return f"gap {gaps}"


def _kind(bands: BandStructure) -> str:
    if bands.direct is None:
        return "metal"
    return "direct" if bands.direct else "indirect"


def _number(bands: BandStructure, value: float, name: str) -> str:
    return with_uncertainty(value, bands.uncertainties.get(name))


def _place(bands: BandStructure) -> str:
    if not bands.gap > 0:
        return "–"
    return f"{100 * (bands.fermi_level - bands.valence) / bands.gap:.0f} %"


def _tell_bands(
    known: Sequence[BandStructure],
    names: Sequence[str],
    facts: Mapping[str, Any],
    window: tuple[float, float],
    zero: str,
) -> None:
    """Show a person gaps and Fermi levels, of a reference, too, and the errors."""
    rows = [
        ["gap (eV)", *(_number(bands, bands.gap, "band_gap") for bands in known)],
        ["gap on the path (eV)", *(f"{bands.path_gap:.3f}" for bands in known)],
        ["kind of gap", *map(_kind, known)],
        ["E_F (eV)", *(_number(bands, bands.fermi_level, "fermi_level") for bands in known)],
        ["part of the gap below E_F", *map(_place, known)],
        [
            "valence band top (eV)",
            *(
                _number(bands, bands.valence, "valence_band_maximum") if bands.gap > 0 else "–"
                for bands in known
            ),
        ],
    ]
    columns = ["", *names[: len(known)]]
    if len(known) > 1:
        columns.append("error (meV)")
        keys = ("band_gap_error", "path_gap_error", None, "fermi_level_error", None, None)
        for row, key in zip(rows, keys, strict=True):
            row.append("" if key is None else f"{MEV * facts[key]:+.0f}")
        if all(bands.gap > 0 for bands in known):
            rows[-1][-1] = f"{MEV * (known[0].valence - known[1].valence):+.0f}"
    table(rows, columns)
    if "bands_mae" in facts:
        log.info(
            "eigenvalues from %.1f to %.1f eV, from %s: MAE %.0f meV, largest %.0f meV",
            *window,
            "each side's Fermi level" if zero == "fermi" else "each side's valence band top",
            MEV * facts["bands_mae"],
            MEV * facts["bands_largest"],
        )
