"""What is told about spectra: pictures, tables, and errors against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.console import log, table
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.numbers import FORMATS, write_numbers
from gh_tools.spectra.plot import Zero, describe_gap, plot_dos
from gh_tools.spectra.plot_positions import plot_positions
from gh_tools.spectra.run import reference_spectra
from gh_tools.spectra.scalars import UNCERTAINTY
from gh_tools.spectra.spectra import Spectra, read_spectra
from gh_tools.spectra.store_local import read_local, read_states
from gh_tools.spectra.structure_names import index_of
from gh_tools.store.read import Store, open_store
from gh_tools.store.rows import gap_kind
from gh_tools.units import MEV
from gh_tools.workers.task import Executor

_MOST_ROWS = 50  # of a table; a file has the rest
_MOST_NAMED = 3  # structures in a warning


def draw(
    picture: Path,
    store: Path,
    reference: Path | None,
    config: DosConfig,
    executor: Executor | None = None,
    *,
    carriers: bool = False,
    zero: Zero = "auto",
    structure: int | None = None,
) -> dict[str, Any]:
    """Draw a store of spectra, over a reference if there is one.

    Args:
        picture: file to write; of numbers where it ends in .json or .csv.
        store: of kind ``spectra``.
        reference: store of Hamiltonians or spectra with some of the structures, by name.
        config: what is computed for the reference's Hamiltonians.
        executor: who computes the reference's spectra; this process if not given.
        carriers: whether the energies of the carriers are shaded.
        zero: what energies are counted from.
        structure: the only one that is drawn; by default all, or of densities along a direction, and of numbers, the first.

    Returns:
        Facts for the result line: the picture, and errors as in `spectra_errors`.

    Raises:
        DataError: if the reference has none of the structures, or others of the same names.
    """
    spectra, opened = read_spectra(store), open_store(store, "spectra")
    facts: dict[str, Any] = {"plot": str(picture)}
    numbers, along = picture.suffix.lower() in FORMATS, "positions/ptr" in opened
    if structure is None and (numbers or along):
        structure = 0
        if len(spectra) > 1:
            log.info(
                "%s shows %s; gh-info --plot --structure shows others", picture, spectra.names[0]
            )
    rows = range(len(spectra)) if structure is None else [structure]
    if numbers or along:
        row = rows[0]
        local, states = read_local(opened, row), read_states(opened, row)
        groups, positions = local.get("groups"), local.get("positions")
        if numbers:
            write_numbers(picture, spectra, row, groups, positions, states)
        elif positions is not None:
            window = config.window if "window" in config.model_fields_set else None
            title = f"{spectra.names[row]}\n{describe_gap(spectra.scalars['band_gap'][row])}"
            plot_positions(picture, spectra.energy, positions, groups, title=title, window=window)
        return facts
    projected = _of_groups(opened, rows, len(spectra.energy)) if "groups/ptr" in opened else None
    spectra = spectra.select(rows)
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
            MEV * errors["band_gap_mae"],
            MEV * errors["fermi_level_mae"],
            f"; densities of states differ by {100 * errors['dos_error']:.2g} % of the states"
            if "dos_error" in errors
            else "",
        )
    window = config.carrier_window if carriers else None
    plot_dos(picture, spectra, known, carrier_window=window, zero=zero, groups=projected)
    return facts


def draw_store(picture: Path, store: Store, structure: str | None = None) -> None:
    """Draw a finished store of spectra, or write its numbers, as `draw` does.

    Args:
        picture: file to write.
        store: of kind ``spectra``.
        structure: the name or index of the only one that is drawn.

    Raises:
        UsageError: there is no such structure.
    """
    names = [str(name) for name in store["structures/name"]]
    row = None if structure is None else index_of(names, structure, store.path)
    draw(picture, store.path, None, DosConfig(), structure=row)


def _of_groups(
    store: Store, rows: Sequence[int], points: int
) -> dict[str, Float[np.ndarray, "structures points"]]:
    """Return the densities of all groups by name, 0 in structures that lack one."""
    found: dict[str, Float[np.ndarray, "structures points"]] = {}
    for place, row in enumerate(rows):
        groups = read_local(store, row)["groups"]
        for name, density in zip(groups.names, groups.density, strict=True):
            found.setdefault(name, np.zeros((len(rows), points)))[place] = density
    return found


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
    _tell_fermi(spectra)
    _tell_missing(spectra)


def _tell_fermi(spectra: Spectra) -> None:
    """Say where in the gap E_F lies, and warn where it does not.

    Edges are refined between the k-points, and E_F is counted on them: a coarse grid may miss a narrow gap.
    """
    places = _fermi_in_gap(spectra)
    inside = (places >= 0) & (places <= 1)
    if inside.any():
        low, high = (f"{100 * end:.0f}" for end in (places[inside].min(), places[inside].max()))
        part = f"{low} %" if low == high else f"{low} to {high} %"
        log.info(
            "E_F lies in the gap: at %s of the way from the valence band's top to the conduction band's bottom",
            part,
        )
    outside = np.flatnonzero(np.isfinite(places) & ~inside)
    if len(outside):
        beyond = np.maximum(-places[outside], places[outside] - 1)
        most = MEV * np.max(beyond * spectra.scalars["band_gap"][outside])
        names = ", ".join(spectra.names[row] for row in outside[:_MOST_NAMED])
        more = f" and {len(outside) - _MOST_NAMED} more" if len(outside) > _MOST_NAMED else ""
        log.warning(
            "E_F lies outside of the gap of %s%s, by up to %.1f meV: E_F is that of the k-points, the gap was found between "
            "them; a denser grid (--kpts) brings them together",
            *(names, more, most),
        )


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
