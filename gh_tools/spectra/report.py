"""What is told about spectra and bands: pictures, and errors against a reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.console import log
from gh_tools.errors import DataError, UsageError
from gh_tools.outputs.publish import new_file
from gh_tools.spectra.bands import BandStructure
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.plot import describe_gap, plot_bands, plot_dos
from gh_tools.spectra.run import reference_spectra
from gh_tools.spectra.store import Spectra, read_spectra
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.workers.task import Executor


def draw(
    picture: Path,
    store: Path,
    reference: Path | None,
    config: DosConfig,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Draw a store of spectra, over a reference if there is one.

    Args:
        picture: file to write.
        store: of kind ``spectra``.
        reference: store of Hamiltonians or spectra with some of the structures, by name.
        config: what is computed for the reference's Hamiltonians.
        executor: who computes the reference's spectra; this process if not given.

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
    plot_dos(picture, spectra, known, carrier_window=config.carrier_window)
    return facts


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
    window: tuple[float, float],
) -> dict[str, float]:
    """Write bands as a picture, or as data if the file is to end in .json.

    Args:
        path: file to write.
        bands: the bands.
        reference: of the same structure along the same path, if any.
        name: of the structure.
        window: energies shown and compared, eV from E_F.

    Returns:
        Facts for the result line, in eV: ``band_gap``, ``fermi_level``, and with a reference
        ``band_gap_error``, ``fermi_level_error``, and ``bands_mae`` and ``bands_largest``, the mean absolute and the
        largest error of the eigenvalues in the window, each side counted from its own Fermi level.

    Raises:
        DataError: if the reference has another number of bands or spins.
    """
    facts = {"band_gap": bands.gap, "fermi_level": bands.fermi_level}
    title = f"{name}: {describe_gap(bands.gap)}"
    if reference is not None:
        found, expected = bands.energies.shape, reference.energies.shape
        if found != expected:
            raise DataError(
                f"the reference of {name} has {expected[0]} spin channels of {expected[2]} bands, "
                f"expected {found[0]} of {found[2]}; label it with the same basis and spin"
            )
        aligned = reference.energies - reference.fermi_level
        near = share_in_window(aligned, window)
        difference = np.abs(bands.energies - bands.fermi_level - aligned)
        facts["band_gap_error"] = bands.gap - reference.gap
        facts["fermi_level_error"] = bands.fermi_level - reference.fermi_level
        title += f", reference {describe_gap(reference.gap)}"
        if np.any(near):
            facts["bands_mae"] = float(np.average(difference, weights=near))
            facts["bands_largest"] = float(difference[near > 0].max())
            title += f"\nbands: MAE {1000 * facts['bands_mae']:.0f} meV, largest {1000 * facts['bands_largest']:.0f} meV"
    if path.suffix.lower() == ".json":
        data = {"structure": name, **bands.to_json()}
        if reference is not None:
            data["reference"] = reference.to_json()
        with new_file(path) as new:
            new.write_text(json.dumps(data) + "\n")
    else:
        plot_bands(path, bands, reference, title=title, window=window)
    return facts
