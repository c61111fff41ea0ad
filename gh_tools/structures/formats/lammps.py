"""LAMMPS data and dump files: types without elements, and other units."""

from __future__ import annotations

import itertools
import re

from gh_tools.structures.formats.text import element_of_mass, text_lines


def dump_fault(path: str) -> str | None:
    """Find units other than metal or real, and types without elements, in a dump file."""
    lines = text_lines(path)
    for line, following in itertools.pairwise(lines):
        if line.startswith("ITEM: UNITS") and (reason := _unit_fault(following.strip())):
            return reason
    for line in lines:
        if line.startswith("ITEM: ATOMS"):
            if "element" in line.split():
                return None
            break
    return (
        "it has no elements, and ASE would take the types 1, 2, ... for H, He, ...; dump with the column "
        "'element' (dump_modify ... element)"
    )


def data_fault(path: str) -> str | None:
    """Find units other than metal or real, and types whose mass (u) tells no element, in a data file."""
    lines = text_lines(path)
    told = re.search(r"\bunits = (\w+)", lines[0]) if lines else None
    if told and (reason := _unit_fault(told[1])):
        return reason
    lines = [line.split("#")[0].strip() for line in lines]
    if "Masses" not in lines:
        return "it has no section Masses, without which ASE would take the types 1, 2, ... for H, He, ...; add it"
    for line in filter(None, lines[lines.index("Masses") + 1 :]):
        found = re.fullmatch(r"(\S+)\s+(\d\S*)", line)
        if found is None:  # the next section
            break
        if element_of_mass(float(found[2])) is None:
            return (
                f"type {found[1]} has the mass {found[2]}, which does not tell one element, and ASE would take the "
                "nearest; give that of the element to two decimals, and each atom a type of an element"
            )
    return None


def _unit_fault(units: str) -> str | None:
    if units in ("metal", "real"):
        return None
    return f"its units are {units!r}, which ASE takes for metal, with lengths in Å; convert it to metal units"
