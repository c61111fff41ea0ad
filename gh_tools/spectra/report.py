"""What is told about spectra: pictures, tables, and errors against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.console import log, table
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.plot import Zero, plot_dos
from gh_tools.spectra.run import reference_spectra
from gh_tools.spectra.spectra import Spectra, read_spectra
from gh_tools.spectra.spectrum import UNCERTAINTY
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
        errors = spectra_errors(spectra, known)
        facts.update(errors)
        log.info(
            "against %s: mean absolute error of the band gap %.0f meV, of E_F %.0f meV%s",
            reference,
            1000 * errors["band_gap_mae"],
            1000 * errors["fermi_level_mae"],
            f"; densities of states differ by {100 * errors['dos_error']:.2g} % of the states"
            if "dos_error" in errors
            else "",
        )
    window = config.carrier_window if carriers else None
    plot_dos(picture, spectra, known, carrier_window=window, zero=zero)
    return facts


def records(spectra: Spectra) -> list[dict[str, Any]]:
    """Return the results of each structure; None where one is not defined.

    Returns:
        Name, kind of gap, where in it E_F lies (``fermi_in_gap``, 0 at the valence band's top and 1 at the conduction
        band's bottom), and all scalars.
    """
    places = _fermi_in_gap(spectra)
    direct = spectra.scalars.get("gap_is_direct", np.full(len(spectra), np.nan))
    return [
        {
            "name": name,
            "gap_kind": gap_kind(spectra.scalars["band_gap"][row], direct[row]),
            "fermi_in_gap": float(places[row]) if np.isfinite(places[row]) else None,
            **{
                key: float(values[row]) if np.isfinite(values[row]) else None
                for key, values in spectra.scalars.items()
            },
        }
        for row, name in enumerate(spectra.names)
    ]


def _fermi_in_gap(spectra: Spectra) -> Float[np.ndarray, " structures"]:
    """Return which part of the gap lies below E_F; NaN of metals."""
    scalars = spectra.scalars
    with np.errstate(invalid="ignore", divide="ignore"):
        above = scalars["fermi_level"] - scalars["valence_band_maximum"]
        return np.where(scalars["band_gap"] > 0, above / scalars["band_gap"], np.nan)


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
            *(with_uncertainty(one[key], one.get(key + UNCERTAINTY)) for key in columns.values()),
            one["gap_kind"] or "–",
            *("–" if one[key] is None else f"{one[key]:.4g}" for key in counted.values()),
            *(f"{one[key]:.3f}" if one["band_gap"] else "–" for key in edges.values()),
        ]
        for one in records(spectra)[:_MOST_ROWS]
    ]
    table(rows, ["structure", *columns, "kind\nof gap", *counted, *edges])
    if len(spectra) > _MOST_ROWS:
        log.info("%d more: gh-info --table shows all", len(spectra) - _MOST_ROWS)
    places = _fermi_in_gap(spectra)
    if np.isfinite(places).any():
        low, high = (f"{100 * end:.0f}" for end in (np.nanmin(places), np.nanmax(places)))
        part = f"{low} %" if low == high else f"{low} to {high} %"
        log.info(
            "E_F lies in the gap: at %s of the way from the valence band's top to the conduction band's bottom",
            part,
        )
    _tell_missing(spectra)


def with_uncertainty(value: float, deviation: float | None) -> str:
    """Return an energy with its standard deviation, where there is one, for a person."""
    return f"{value:.3f}" if deviation is None else f"{value:.3f} ± {deviation:.3f}"


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
