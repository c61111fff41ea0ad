"""What is told about spectra and bands: pictures, and errors against a reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gh_tools.console import log, table
from gh_tools.errors import DataError, UsageError
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import shortened
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.plot import Zero, describe_gap, plot_bands, plot_dos, zero_of_bands
from gh_tools.spectra.run import reference_spectra
from gh_tools.spectra.store import Spectra, read_spectra
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.rows import gap_kind
from gh_tools.workers.task import Executor

_MOST_ROWS = 50  # of a table; a file has the rest


def draw(
    picture: Path,
    store: Path,
    reference: Path | None,
    config: DosConfig,
    executor: Executor | None = None,
    *,
    carriers: bool = False,
    zero: Zero = "auto",
) -> dict[str, Any]:
    """Draw a store of spectra, over a reference if there is one.

    Args:
        picture: file to write.
        store: of kind ``spectra``.
        reference: store of Hamiltonians or spectra with some of the structures, by name.
        config: what is computed for the reference's Hamiltonians.
        executor: who computes the reference's spectra; this process if not given.
        carriers: whether the energies of the carriers are shaded.
        zero: what energies are counted from.

    Returns:
        Facts for the result line: the picture, and errors as in `spectra_errors`.

    Raises:
        DataError: if the reference has none of the structures, or others of the same names.
    """
    spectra = read_spectra(store)
    facts: dict[str, Any] = {"plot": str(picture)}
    known = None
    if reference is not None:
        n_all = len(spectra)
        spectra, known = reference_spectra(reference, spectra, config, executor)
        if len(known) < n_all:
            log.info("%s: knows %d of the %d structures", reference, len(known), n_all)
        facts.update(spectra_errors(spectra, known))
    window = config.carrier_window if carriers else None
    plot_dos(picture, spectra, known, carrier_window=window, zero=zero)
    return facts


def records(spectra: Spectra) -> list[dict[str, Any]]:
    """Return the results of each structure: name, kind of gap, and all scalars; None where one is not defined."""
    direct = spectra.scalars.get("gap_is_direct", np.full(len(spectra), np.nan))
    return [
        {
            "name": name,
            "gap_kind": gap_kind(spectra.scalars["band_gap"][row], direct[row]),
            **{
                key: float(values[row]) if np.isfinite(values[row]) else None
                for key, values in spectra.scalars.items()
            },
        }
        for row, name in enumerate(spectra.names)
    ]


def tell_spectra(spectra: Spectra, carriers: bool) -> None:
    """Show a person the results of each structure, and what the window does not hold.

    Args:
        spectra: of the structures.
        carriers: whether they were asked for.
    """
    columns = {"E_F (eV)": "fermi_level", "gap (eV)": "band_gap"}
    edges = {
        "valence\ntop (eV)": "valence_band_maximum",
        "conduction\nbottom (eV)": "conduction_band_minimum",
    }
    counted = {"carriers": "carriers", "carriers\n(1/cm²)": "carriers_per_area"} if carriers else {}
    rows = [
        [
            one["name"],
            *(f"{one[key]:.3f}" for key in columns.values()),
            one["gap_kind"] or "–",
            *("–" if one[key] is None else f"{one[key]:.4g}" for key in counted.values()),
            *(f"{one[key]:.3f}" if one["band_gap"] else "–" for key in edges.values()),
        ]
        for one in records(spectra)[:_MOST_ROWS]
    ]
    table(rows, ["structure", *columns, "kind\nof gap", *counted, *edges])
    if len(spectra) > _MOST_ROWS:
        log.info("%d more: gh-info --table shows all", len(spectra) - _MOST_ROWS)
    _tell_missing(spectra)


def _tell_missing(spectra: Spectra) -> None:
    """Say how many valence electrons the window does not hold, if it does not hold all."""
    low = spectra.energy[0]
    filled = spectra.energy <= 0
    if not filled.any():
        return
    held = np.trapezoid(spectra.total[:, filled], spectra.energy[filled], axis=1)
    electrons = spectra.scalars["n_electrons"]
    row = int(np.argmax(electrons - held))
    if electrons[row] - held[row] > max(0.5, 0.01 * electrons[row]):
        log.info(
            "the window from %g eV holds %.0f of the %.0f valence electrons of %s; --window shows the deeper ones",
            low,
            held[row],
            electrons[row],
            spectra.names[row],
        )


def spectra_errors(spectra: Spectra, reference: Spectra) -> dict[str, float]:
    """Return mean absolute errors over structures, for spectra of the same structures in order.

    Returns:
        ``band_gap_mae`` and ``fermi_level_mae`` in eV, ``carriers_mae`` in states, and
        ``dos_error``: ∫|D - D_ref| dE / ∫D_ref dE over the energy window, averaged. Keys of what
        the two cannot be compared in are absent.
    """
    errors = {
        f"{name}_mae": float(np.mean(np.abs(spectra.scalars[name] - reference.scalars[name])))
        for name in ("band_gap", "fermi_level", "carriers")
    }
    if spectra.energy.shape == reference.energy.shape and np.allclose(
        spectra.energy, reference.energy
    ):
        difference = np.trapezoid(np.abs(spectra.total - reference.total), spectra.energy, axis=1)
        scale = np.trapezoid(reference.total, reference.energy, axis=1)
        if np.all(scale > 0):  # a window may hold nothing
            errors["dos_error"] = float(np.mean(difference / scale))
    return errors


def find_structure(reader: HamiltonianReader, which: str) -> int:
    """Return the index of a structure given by name or by index.

    Raises:
        UsageError: if the store has no such structure.
    """
    if which in reader.names:
        return reader.names.index(which)
    if which.isdigit() and int(which) < len(reader):
        return int(which)
    known = ", ".join(reader.names[:5]) + (", ..." if len(reader) > 5 else "")
    raise UsageError(
        f"{reader.store.path}: structures/name: there is no structure {which!r}; "
        f"give one of {known} or an index below {len(reader)}"
    )


def write_bands(
    path: Path,
    bands: BandStructure,
    reference: BandStructure | None,
    name: str,
    window: tuple[float, float] | None = None,
    zero: Zero = "auto",
    names: tuple[str, str] = ("bands", "reference"),
) -> dict[str, Any]:
    """Write bands as a picture, or as data if the file is to end in .json, and show their gaps and errors in a table.

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
        ``valence_band_maximum`` and ``zero`` (``fermi`` or ``valence``), and with a reference ``band_gap_error``,
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
    }
    title = [shortened(name, 60), _title(known, names)]
    if reference is not None:
        facts |= _band_errors(bands, reference, name, window, zero)
        if "bands_mae" in facts:
            mae, largest = 1000 * facts["bands_mae"], 1000 * facts["bands_largest"]
            title.append(f"bands: MAE {mae:.0f} meV, largest {largest:.0f} meV")
    if path.suffix.lower() == ".json":
        data = {"structure": name, **bands.to_json()}
        if reference is not None:
            data["reference"] = reference.to_json()
        with new_file(path) as new:
            new.write_text(json.dumps(data) + "\n")
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


def _tell_bands(
    known: Sequence[BandStructure],
    names: Sequence[str],
    facts: Mapping[str, Any],
    window: tuple[float, float],
    zero: str,
) -> None:
    """Show a person gaps and Fermi levels, of a reference, too, and the errors."""
    rows = [
        ["gap (eV)", *(f"{bands.gap:.3f}" for bands in known)],
        ["gap on the path (eV)", *(f"{bands.path_gap:.3f}" for bands in known)],
        ["kind of gap", *map(_kind, known)],
        ["E_F (eV)", *(f"{bands.fermi_level:.3f}" for bands in known)],
        ["valence band top (eV)", *(f"{b.valence:.3f}" if b.gap > 0 else "–" for b in known)],
    ]
    columns = ["", *names[: len(known)]]
    if len(known) > 1:
        columns.append("error (meV)")
        keys = ("band_gap_error", "path_gap_error", None, "fermi_level_error", None)
        for row, key in zip(rows, keys, strict=True):
            row.append("" if key is None else f"{1000 * facts[key]:+.0f}")
        if all(bands.gap > 0 for bands in known):
            rows[-1][-1] = f"{1000 * (known[0].valence - known[1].valence):+.0f}"
    table(rows, columns)
    if "bands_mae" in facts:
        log.info(
            "eigenvalues from %.1f to %.1f eV, from %s: MAE %.0f meV, largest %.0f meV",
            *window,
            "each side's Fermi level" if zero == "fermi" else "each side's valence band top",
            1000 * facts["bands_mae"],
            1000 * facts["bands_largest"],
        )
