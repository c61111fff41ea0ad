"""Files of structures, read by ASE: what they mean, or one sentence on why that cannot be told."""

from __future__ import annotations

import re
import stat
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gh_tools.console import log
from gh_tools.errors import DataError, NoInputError
from gh_tools.store.structures import CHARGE, check_structure
from gh_tools.structures.formats.faults import file_fault
from gh_tools.structures.formats.text import partial_occupancy
from gh_tools.structures.left_out import finite_number

# Formats that are databases of ASE's.
_DATABASES = ("db", "json")
# What an extxyz comment calls the cell; spelled in another way it would be a number like any other.
_CELL_KEYS = ("lattice", "cell", "pbc")
# What a total charge is also called, in lower case. Under another name it would be a number like any other, and the
# structure neutral.
_CHARGE_KEYS = ("charge", "total_charge", "tot_charge", "net_charge")
_OTHER_LENGTHS = ("bohr", "au", "a.u.", "atomic", "nm", "nanometer", "pm")


def read_file(path: str, images: str, file_format: str | None) -> list[Atoms]:
    """Read the structures of one file.

    Args:
        path: the file, whose name may hold "@", which ASE alone would take for the beginning of an index.
        images: which of them, as ASE's index.
        file_format: ASE's name of the format; None to find it from the file's name and beginning.

    Returns:
        The structures, all of which can be computed (`gh_tools.orbitals.geometry.structure_fault`).
        Key-value pairs of a database of ASE's are in their ``info``; words of an extxyz comment that have
        no value are in ``info["comment"]``.

    Raises:
        NoInputError: there is no such file, or it is no regular one.
        DataError: ASE cannot read it; or it has partial occupancies, several models of a disordered
            structure, symmetry that it does not list, names of atoms that fit two elements, or types without
            elements, so that ASE would read something else than what is meant.
    """
    check_input_file(path)
    found, name = _read(path, images, file_format)
    if name == "proteindatabank":
        # The record END behind that of the last model begins another, which has no atoms.
        found = [atoms for atoms in found if len(atoms)]
    if not found or any(len(atoms) == 0 for atoms in found):
        raise DataError(
            f"{path}: expected structures with atoms, found none or an empty one, reading it as {name}; if "
            "that is not its format, give it with --set format=NAME"
        )
    for number, atoms in enumerate(found):
        where = f"{path}: image {number}"
        _check_occupancies(atoms, where)
        for key, value in atoms.info.items():
            _check_meaning(key, value, where)
            if key.lower() in _CELL_KEYS and not atoms.pbc.any():
                raise DataError(
                    f"{where}: it has the key {key!r}, which ASE takes for no cell; write "
                    'Lattice="ax ay az bx ..." and pbc="T T T"'
                )
        check_structure(atoms, where)
    return found


def check_input_file(path: str) -> None:
    """Raise `NoInputError` unless there is a regular file to be read."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        name, at, index = path.rpartition("@")
        if at and Path(name).is_file():
            raise NoInputError(
                f"{path}: there is no such file; to choose images of {name}, give --set images={index}"
            ) from None
        raise NoInputError(
            f"{path}: there is no such file, and no such recipe (see --list)"
        ) from None
    if stat.S_ISDIR(mode) and Path(path, "zarr.json").is_file():
        raise NoInputError(
            f"{path}: expected a file of structures, found a store, which the other commands read as it is"
        )
    if stat.S_ISDIR(mode):
        raise NoInputError(f"{path}: expected a file of structures, found a folder")
    if not stat.S_ISREG(mode):
        raise NoInputError(
            f"{path}: expected a regular file, which can be read more than once, found a pipe or a device; "
            "write the structures to a file first"
        )


def _read(path: str, images: str, file_format: str | None) -> tuple[list[Atoms], str]:
    """Read one file; whatever ASE raises becomes an error that names the file."""
    from ase.io.formats import filetype

    with warnings.catch_warnings(record=True) as said, redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            name = file_format or filetype(path)
            if reason := file_fault(path, name):
                raise DataError(f"{path}: {reason}")
            found = _images(path, images, name)
        except DataError:
            raise
        except Exception as error:  # each of ASE's eighty readers has errors of its own
            raise DataError(
                f"{path}: ASE cannot read structures from it: {_reason(error)}"
            ) from error
    for text in dict.fromkeys(_sentence(warning) for warning in said):
        if text is not None:
            log.warning("%s: ASE says: %s", path, text)
    return found, name


def _images(path: str, images: str, name: str) -> list[Atoms]:
    from ase.io import read
    from ase.io.formats import string2index

    if name in _DATABASES:
        from ase.db import connect

        with connect(path, type=name, serial=True) as database:
            index: Any = string2index(images)  # no name of an image: those are in other files
            rows = list(database.select())[index]
        return [_of_row(row) for row in (rows if isinstance(rows, list) else [rows])]
    options: dict[str, Any] = {"properties_parser": _comment} if name == "extxyz" else {}
    found = read(path, index=images, format=name, do_not_split_by_at_sign=True, **options)
    return found if isinstance(found, list) else [found]


def _of_row(row) -> Atoms:
    atoms = row.toatoms()
    atoms.info.update(row.key_value_pairs)
    if row.data:
        atoms.info["data"] = dict(row.data)
    return atoms


def _comment(line: str) -> dict:
    """Parse the comment of an extxyz file; its words without a value become one text."""
    from ase.io.extxyz import key_val_str_to_dict

    found = key_val_str_to_dict(line)
    words = [
        key
        for key, value in found.items()
        if value is True and not re.search(rf"{re.escape(key)}[\"'}}\]]?\s*=", line)
    ]
    for word in words:
        del found[word]
    if words:
        found["comment"] = line
    return found


def _reason(error: Exception) -> str:
    from ase.io.formats import UnknownFileTypeError

    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return (
            f"{str(error.args[0])!r} is the symbol of no chemical element; write the element alone, such as H for "
            "deuterium (D) and tritium (T), or C for C1"
        )
    if isinstance(error, UnknownFileTypeError):
        return f"its format is not known ({error}); give it with --set format=NAME"
    if isinstance(error, UnicodeDecodeError):
        return "its text is not UTF-8; convert it, such as with iconv -f latin1 -t utf-8"
    if isinstance(error, IndexError | StopIteration):
        return "there is no such image, or the file ends too early"
    said = " ".join(str(error).split()) or type(error).__name__
    return f"{said}; if its name does not tell the format, give it with --set format=NAME"


def _sentence(warning: warnings.WarningMessage) -> str | None:
    """First sentence of a warning; None for those about ASE or another program, or settings that `cif_fault` judges."""
    if issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
        return None
    text = " ".join(str(warning.message).split())
    if "castep" in text.lower() or "plugin" in text or text.startswith("crystal system"):
        return None
    return text[:200]


def _check_meaning(key: str, value: object, where: str) -> None:
    """Refuse words of a comment that change what the numbers of a structure mean, and that ASE takes no notice of."""
    name = re.sub(r"\W+", "_", key)
    if name != CHARGE and name.lower() in _CHARGE_KEYS and value != 0:
        raise DataError(
            f"{where}: it has the key {key!r}, where the charge of a structure is called {CHARGE!r}; rename it"
        )
    if name == CHARGE and (isinstance(value, bool | np.bool_) or finite_number(value) is None):
        raise DataError(
            f"{where}: the key {key!r} is {value}, where the charge of the structure is expected, a number in |e|"
        )
    if name.lower() in ("unit", "units") and str(value).lower() in _OTHER_LENGTHS:
        raise DataError(
            f"{where}: it has the key {key}={value}, but its numbers are taken as Å; convert them, and take the key "
            "out"
        )


def _check_occupancies(atoms: Atoms, where: str) -> None:
    for key, array in atoms.arrays.items():
        if not key.startswith("occupanc") or array.dtype.kind not in "bif":
            continue
        partial = np.flatnonzero(array.reshape(len(atoms), -1)[:, 0] != 1)
        if len(partial):
            site = int(partial[0])
            raise DataError(
                f"{where}: {partial_occupancy(f'atom {site} ({atoms.symbols[site]})', float(array[site]))}"
            )
