"""What a file says of a structure: numbers that can be columns, and what a store of structures has no place for."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

# What ASE notes of a CIF file, which the coordinates tell already.
_OF_SYMMETRY = ("spacegroup", "unit_cell", "occupancy", "spacegroup_kinds")


def unread_entries(atoms: Atoms) -> set[str]:
    """Return the names of what a file holds about a structure and a store of structures has no place for.

    Args:
        atoms: as `read_file` returns it; entries of its ``info`` that are finite numbers are columns, and
            not among these.
    """
    names = set() if atoms.calc is None else set(getattr(atoms.calc, "results", {}))
    names |= {
        key
        for key, value in atoms.info.items()
        if key not in _OF_SYMMETRY and key != "name" and finite_number(value) is None
    }
    names |= {
        key
        for key, array in atoms.arrays.items()
        if key not in ("numbers", "positions", "masses", *_OF_SYMMETRY)
        and (array.dtype.kind not in "bif" or array.any())
    }
    if _isotopes(atoms):
        names.add("masses of isotopes (but for the density)")
    if any(len(getattr(constraint, "index", [0])) for constraint in atoms.constraints):
        names.add("constraints")
    return names


def finite_number(value: object) -> float | None:
    """Return what can be a value of a column, as a float; None for text, arrays, nan and infinity."""
    if not isinstance(value, bool | int | float | np.number | np.bool_) or np.iscomplexobj(value):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if np.isfinite(value) else None


def _isotopes(atoms: Atoms) -> bool:
    if "masses" not in atoms.arrays:
        return False
    return bool((np.abs(atoms.get_masses() - atomic_masses[atoms.numbers]) > 0.5).any())
