"""Text and HDF5 files that formats share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float, Int, Num

from gh_tools.errors import DataError
from gh_tools.formats.format import extra


def existing(folder: Path, *names: str) -> Path:
    """Return the first of some files that a folder has.

    Raises:
        DataError: it has none of them.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"expected the file {' or '.join(names)}, found none")


def read_number_table(file: Path) -> Float[np.ndarray, "rows columns"]:
    """Read a table of numbers.

    Raises:
        DataError: it is none.
    """
    try:
        return np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file.name}: expected a table of numbers ({error})") from None


def write_number_table(file: Path, table: Num[np.ndarray, "rows columns"]) -> None:
    """Write a table of numbers with all their digits."""
    file.write_text(
        "".join(" ".join(repr(value) for value in row) + "\n" for row in table.tolist())
    )


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: the file holds none.
    """
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"{file.name}: expected a JSON object ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{file.name}: expected a JSON object, found {type(found).__name__}")
    return found


def read_number(found: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number of a JSON object; None if there is none under this key."""
    value = found.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    return None


def open_hdf5(file: Path) -> Any:
    """Open an HDF5 file to be read."""
    return extra("h5py").File(file, "r")


def number_of(symbol: str) -> int:
    """Return the atomic number of an element.

    Raises:
        DataError: it is none.
    """
    if symbol not in atomic_numbers or symbol == "X":
        raise DataError(f"expected the symbol of an element, found {symbol!r}")
    return atomic_numbers[symbol]


def as_elements(numbers: Float[np.ndarray, " atoms"]) -> Int[np.ndarray, " atoms"]:
    """Return atomic numbers that a table of numbers holds.

    Raises:
        DataError: one of them is none.
    """
    for number in numbers.tolist():
        if not (1 <= number < len(chemical_symbols) and float(number).is_integer()):
            raise DataError(f"expected atomic numbers, found {number:g}")
    return numbers.astype(int)


def read_poscar(file: Path) -> ase.Atoms:
    """Read a POSCAR file, whose fifth line names the elements."""
    from ase.io.vasp import read_vasp

    return read_vasp(file)


def write_poscar(file: Path, atoms: ase.Atoms) -> None:
    """Write a POSCAR file with all digits; like atoms must follow each other."""
    numbers = atoms.numbers
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    counts = np.diff(np.r_[starts, len(numbers)])
    lines = [
        atoms.get_chemical_formula(),
        "1.0",
        *(" ".join(map(repr, row)) for row in atoms.cell.complete().array.tolist()),
        " ".join(chemical_symbols[numbers[start]] for start in starts),
        " ".join(map(str, counts.tolist())),
        "Cartesian",
        *(" ".join(map(repr, row)) for row in atoms.positions.tolist()),
    ]
    file.write_text("\n".join(lines) + "\n")


def check_length(what: str, found: Sequence | np.ndarray, expected: int) -> None:
    """Raise `DataError` unless something has the length that it must have."""
    if len(found) != expected:
        raise DataError(f"{what}: expected {expected}, found {len(found)}")
