"""What is told about groups, positions and localised states."""

from __future__ import annotations

from typing import Any

import numpy as np

from gh_tools.console import log, table
from gh_tools.spectra.groups import atom_names
from gh_tools.spectra.local_edges import LocalDensities
from gh_tools.spectra.localisation import States
from gh_tools.spectra.spectra import Spectra
from gh_tools.spectra.store_local import read_local, read_states
from gh_tools.store.read import Store

_MOST_ROWS = 40  # of a table; files and --json have the rest
_MOST_ATOMS = 3  # of a row
_MOST_STRUCTURES = 3


def local_records(store: Store, spectra: Spectra, row: int) -> dict[str, Any]:
    """Return edges of the groups and the states of one structure, where there are some, for a line of JSON."""
    found: dict[str, Any] = {}
    groups, states = read_local(store, row).get("groups"), read_states(store, row)
    if groups is not None:
        found["groups"] = groups.records(spectra.width)
    if states is not None:
        found["states"] = states.records(atom_names(spectra.structures.atoms[row].numbers))
    return found


def tell_local(store: Store, spectra: Spectra) -> None:
    """Show a person local edges of groups and localised states of each structure."""
    for row, name in enumerate(spectra.names[:_MOST_STRUCTURES]):
        groups, states = read_local(store, row).get("groups"), read_states(store, row)
        # Edges are those of places; a shell has a density everywhere.
        if groups is not None and store.attributes.get("project") != "shell":
            _tell_groups(name, groups, spectra.width)
        if states is not None:
            _tell_states(name, states, atom_names(spectra.structures.atoms[row].numbers))
    if len(spectra) > _MOST_STRUCTURES and ("groups/ptr" in store or "states/ptr" in store):
        log.info("%d more structures: --json shows all", len(spectra) - _MOST_STRUCTURES)


def _tell_groups(structure: str, groups: LocalDensities, width: float) -> None:
    log.info("%s: local band edges of groups, in eV from E_F", structure)
    records = groups.records(width)
    rows = [
        [
            one["name"],
            f"{one['atoms']:g}",
            _edge(one, "valence"),
            _edge(one, "conduction"),
            _number(one["local_gap"]) if one["gap_resolved"] else "unresolved",
            *(
                _number(one[key], "+")
                for key in ("valence_offset", "conduction_offset")
                if len(records) > 1
            ),
        ]
        for one in records[:_MOST_ROWS]
    ]
    offsets = ["valence\noffset", "conduct.\noffset"] if len(records) > 1 else []
    table(rows, ["group", "atoms", "valence\nedge", "conduction\nedge", "local\ngap", *offsets])
    if len(records) > _MOST_ROWS:
        log.info("%d more groups: --json shows all", len(records) - _MOST_ROWS)


def _edge(record: dict[str, Any], side: str) -> str:
    value, unsure = record[f"{side}_edge"], record[f"{side}_edge_uncertainty"]
    if value is None:
        return "–"
    return f"{value:.3f}" if unsure is None else f"{value:.3f} ± {unsure:.3f}"


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _tell_states(structure: str, states: States, names: list[str]) -> None:
    """Show states by energy; of many those that the fewest atoms share."""
    if not len(states):
        log.info("%s: there are no states in the window", structure)
        return
    order = np.argsort(states.sharing, kind="stable")
    shown = np.sort(order[:_MOST_ROWS])
    log.info(
        "%s: states, with Löwdin's weights of atoms (numbered from 0); energies from E_F", structure
    )
    two, zone = np.any(states.spin > 0), np.any(states.zone < 1 - 1e-9)
    dispersive = np.any(states.highest - states.lowest > 0.5e-3)
    titles = [*(["spin"] if two else []), "E - E_F (eV)", "electrons"]
    titles += ["shared by\n(atoms)", "atoms with the largest weights"]
    if zone:
        titles.insert(-2, "part of\nthe zone")
    rows = []
    for row in shown:
        atoms = [
            f"{names[a]} {100 * w:.0f} %"
            for a, w in zip(states.atom[row], states.weight[row], strict=True)
            if a >= 0
        ]
        rows.append(
            [
                *([("up", "down")[states.spin[row]]] if two else []),
                f"{states.lowest[row]:.3f} … {states.highest[row]:.3f}"
                if dispersive
                else f"{states.energy[row]:.3f}",
                f"{states.electrons[row]:.2f}",
                *([f"{100 * states.zone[row]:.0f} %"] if zone else []),
                f"{states.sharing[row]:.1f}",
                ", ".join(atoms[:_MOST_ATOMS]),
            ]
        )
    table(rows, titles)
    if len(states) > len(shown):
        log.info("%d states that more atoms share: --json shows all", len(states) - len(shown))
    most = int(order[0])
    log.info(
        "most localised: %.3f eV from E_F, shared by %.1f of %d atoms, %s first",
        states.energy[most],
        states.sharing[most],
        len(names),
        names[int(states.atom[most, 0])],
    )
