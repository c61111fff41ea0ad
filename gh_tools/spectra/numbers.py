"""Densities, local band edges and states of one structure as files of numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from gh_tools.outputs.publish import new_file
from gh_tools.spectra.groups import atom_names
from gh_tools.spectra.local_edges import LocalDensities
from gh_tools.spectra.localisation import States
from gh_tools.spectra.spectra import Spectra

FORMATS = (".json", ".csv")


def write_numbers(
    path: Path,
    spectra: Spectra,
    row: int,
    groups: LocalDensities | None,
    positions: LocalDensities | None,
    states: States | None,
) -> None:
    """Write what a picture of one structure shows as numbers.

    JSON has all. CSV has, where there are positions, a row for each position with its local edges and its density at
    all energies; else a row for each energy with the total density and those of the groups, or species.

    Args:
        path: file to write, .json or .csv.
        spectra: of the store.
        row: which structure.
        groups: its densities of groups.
        positions: its densities along a direction.
        states: its states.
    """
    with new_file(path) as new:
        if path.suffix.lower() == ".csv":
            with new.open("w", newline="") as stream:
                csv.writer(stream).writerows(_rows(spectra, row, groups, positions))
        else:
            found = _tree(spectra, row, groups, positions, states)
            new.write_text(json.dumps(found) + "\n")


def _rows(
    spectra: Spectra, row: int, groups: LocalDensities | None, positions: LocalDensities | None
) -> Iterable[Sequence[Any]]:
    if positions is not None:
        assert positions.position is not None
        edges = {
            "valence edge (eV)": positions.edges.valence,
            "its uncertainty (eV)": positions.edges.valence_uncertainty,
            "conduction edge (eV)": positions.edges.conduction,
            "its uncertainty (eV) ": positions.edges.conduction_uncertainty,
        }
        titles = [f"1/(eV Å) at {e:.6g} eV" for e in spectra.energy]
        yield [f"{positions.direction} (Å)", "atoms", *map(str.strip, edges), *titles]
        columns = zip(
            positions.position.tolist(),
            positions.atoms.tolist(),
            *(["" if x != x else x for x in values.tolist()] for values in edges.values()),
            positions.density.tolist(),
            strict=True,
        )
        for *single, density in columns:
            yield [*single, *density]
        return
    if groups is not None:
        named = dict(zip(groups.names, groups.density.tolist(), strict=True))
    else:
        named = {chemical_symbols[z]: d[row].tolist() for z, d in spectra.species.items()}
    yield ["E - E_F (eV)", "total (1/eV)", *(f"{name} (1/eV)" for name in named)]
    yield from zip(
        spectra.energy.tolist(), spectra.total[row].tolist(), *named.values(), strict=True
    )


def _tree(
    spectra: Spectra,
    row: int,
    groups: LocalDensities | None,
    positions: LocalDensities | None,
    states: States | None,
) -> dict[str, Any]:
    atoms = spectra.structures.atoms[row]
    found: dict[str, Any] = {
        "structure": spectra.names[row],
        "energy": spectra.energy.tolist(),
        "energy_unit": "eV from E_F",
        "fermi_level": float(spectra.scalars["fermi_level"][row]),
        "total": spectra.total[row].tolist(),
        "density_unit": "1/eV",
        "species": {chemical_symbols[z]: d[row].tolist() for z, d in spectra.species.items()},
    }
    for name, one in (("groups", groups), ("positions", positions)):
        if one is not None:
            densities = one.density.tolist()
            records = one.records(spectra.width)
            found[name] = [r | {"density": d} for r, d in zip(records, densities, strict=True)]
    if positions is not None:
        found |= {
            "direction": positions.direction,
            "position_unit": "Å",
            "position_spacing": positions.spacing,
            "position_density_unit": "1/(eV Å)",
        }
    if states is not None:
        found["states"] = states.records(atom_names(atoms.numbers))
    return found
