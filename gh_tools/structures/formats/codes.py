"""Inputs of Quantum ESPRESSO, FHI-aims, Turbomole and VASP: what ASE would leave out, or take for something else."""

from __future__ import annotations

import contextlib
import re

from gh_tools.structures.formats.text import (
    element_of_mass,
    text_lines,
    two_elements,
    warn_of_charge,
)

# Lines of FHI-aims that describe ghost atoms, external charges, cores and fields.
_MORE_THAN_ATOMS = ("empty", "multipole", "pseudocore", "homogeneous_field")


def espresso_fault(path: str) -> str | None:
    """Find labels such as Ca that are meant as the type a of C, as the mass tells."""
    lines = [re.split("[!#]", line)[0] for line in text_lines(path)]
    start = next(
        (k for k, line in enumerate(lines) if line.strip() == "ATOMIC_SPECIES"), len(lines)
    )
    for words in map(str.split, lines[start + 1 :]):
        if len(words) > 2 and two_elements(words[0].upper()[:2]):
            one = words[0][0].upper()
            with contextlib.suppress(ValueError):
                if element_of_mass(float(words[1])) == one:
                    return (
                        f"the label {words[0]} has the mass of {one}, and ASE would take it for "
                        f"{words[0][:2].title()}; call it {one}1"
                    )
    for line in lines:
        if found := re.search(r"\btot_charge\s*=\s*([-+\d.]+)", line):
            warn_of_charge(path, found[1])
    return None


def aims_fault(path: str) -> str | None:
    """Find lines of an FHI-aims input that ASE would leave out or misread."""
    words = [line.split() for line in text_lines(path)]
    keys = [line[0] for line in words if line]
    for key in _MORE_THAN_ATOMS:
        if key in keys:
            return f"it has a line {key!r}, of which there is no atom, and ASE would leave it out; take the line out"
    if "atom_frac" in keys and "lattice_vector" not in keys:
        return "it has fractional coordinates (atom_frac) without a lattice_vector; add three"
    return None


def turbomole_fault(path: str) -> str | None:
    """Find a cell or another unit in a Turbomole input, which ASE takes for a molecule in Bohr."""
    for line in text_lines(path):
        words = line.split()
        if (
            words[:1] in (["$periodic"], ["$cell"], ["$lattice"])
            or words[:1] == ["$coord"] != words
        ):
            return (
                f"it has the line {line.strip()!r}, which ASE passes over, taking it for a molecule with "
                "coordinates in Bohr; convert it to another format, such as extxyz"
            )
    return None


def vasp_fault(path: str) -> str | None:
    """Find a POSCAR of VASP 4, which does not name its elements."""
    lines = text_lines(path)
    if len(lines) > 5 and lines[5].split() and all(word.isdigit() for word in lines[5].split()):
        return (
            "line 6 has numbers of atoms, where VASP 5 names their elements; without them ASE would guess "
            "from the comment or from other files; add the line of elements"
        )
    return None
