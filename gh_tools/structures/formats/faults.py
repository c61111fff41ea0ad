"""The one place that knows which formats are looked at before ASE reads them."""

from __future__ import annotations

from collections.abc import Callable

from gh_tools.structures.formats.codes import (
    aims_fault,
    espresso_fault,
    turbomole_fault,
    vasp_fault,
)
from gh_tools.structures.formats.crystals import cif_fault, shelx_fault
from gh_tools.structures.formats.lammps import data_fault, dump_fault
from gh_tools.structures.formats.molecules import gromacs_fault, mol_fault, pdb_fault

# What is asked of the text of a file before it is read, by ASE's name of its format: why not to read it, or None.
_FAULTS: dict[str, Callable[[str], str | None]] = {
    "cif": cif_fault,
    "proteindatabank": pdb_fault,
    "gromacs": gromacs_fault,
    "lammps-dump-text": dump_fault,
    "lammps-data": data_fault,
    "aims": aims_fault,
    "espresso-in": espresso_fault,
    "mol": mol_fault,
    "sdf": mol_fault,
    "turbomole": turbomole_fault,
    "res": shelx_fault,
    "vasp": vasp_fault,
}


def file_fault(path: str, name: str) -> str | None:
    """Return why a file is not to be read, as a clause; None where nothing speaks against it.

    Args:
        path: the file.
        name: ASE's name of its format.
    """
    test = _FAULTS.get(name)
    return test(path) if test else None
