"""PDB, GROMACS and MDL files: alternate locations, several models, names of atoms that fit two elements."""

from __future__ import annotations

from gh_tools.structures.formats.text import text_lines, two_elements, warn_of_charge


def pdb_fault(path: str) -> str | None:
    """Find alternate locations, symmetry, missing elements, and models without a cell in a PDB file."""
    lines, cells = text_lines(path), []
    alternatives = {line[16:17] for line in lines if line.startswith(("ATOM", "HETATM"))} - {
        " ",
        "",
    }
    if len(alternatives) > 1:
        return (
            f"its atoms are in the alternate locations {', '.join(sorted(alternatives))} (column 17); keep one of "
            "them"
        )
    for line in lines:
        if line.startswith("CRYST1"):
            cells.append(line)
            if line[55:66].strip() not in ("", "P 1", "P1"):
                return (
                    f"its space group is {line[55:66].strip()}, so that it holds a part of the cell alone; "
                    "write all atoms of the cell, with the space group P 1"
                )
        elif line.startswith(("ATOM", "HETATM")) and not line[76:78].strip():
            if reason := two_elements(line[12:16]):
                return f"{reason}; write elements in the columns 77 and 78"
    if len(cells) == 1 and sum(line.startswith("ENDMDL") for line in lines) > 1:
        return (
            "it has several models but one cell (CRYST1), which ASE takes for that of the first alone; write "
            "the record CRYST1 before each model"
        )
    return None


def gromacs_fault(path: str) -> str | None:
    """Find names of atoms that fit two elements in a GROMACS file, which has names alone."""
    for line in text_lines(path)[2:-1]:
        if reason := two_elements(line[10:15]):
            return f"{reason}; convert it to a format with elements, such as extxyz"
    return None


def mol_fault(path: str) -> str | None:
    """Tell of charges in a file of MDL, whose lines hold the number of pairs, and pairs of an atom and its charge."""
    lines = text_lines(path)
    several = sum(line.strip() == "M  END" for line in lines)
    if several > 1:
        return f"it holds {several} molecules, of which ASE reads the first alone; give each a file of its own"
    words = [line.split()[3:] for line in lines if line.startswith("M  CHG")]
    if total := sum(int(charge) for pairs in words for charge in pairs[1::2]):
        warn_of_charge(path, f"{total:+d}")
    return None
