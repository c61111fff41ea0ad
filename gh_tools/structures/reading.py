"""Files of structures, read by ASE: what they mean, or one sentence on why that cannot be told."""

from __future__ import annotations

import contextlib
import itertools
import re
import stat
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from gh_tools.console import log
from gh_tools.errors import DataError, NoInputError
from gh_tools.store.structures import CHARGE, check_structure

# Formats that are databases of ASE's.
_DATABASES = ("db", "json")
# What an extxyz comment calls the cell; spelled in another way it would be a number like any other.
_CELL_KEYS = ("lattice", "cell", "pbc")
# What a total charge is also called, in lower case. Under another name it would be a number like any other, and the
# structure neutral.
_CHARGE_KEYS = ("charge", "total_charge", "tot_charge", "net_charge")
# Lines of FHI-aims that describe ghost atoms, external charges, cores and fields.
_MORE_THAN_ATOMS = ("empty", "multipole", "pseudocore", "homogeneous_field")
_OTHER_LENGTHS = ("bohr", "au", "a.u.", "atomic", "nm", "nanometer", "pm")
# What ASE notes of a CIF file, which the coordinates tell already.
_OF_SYMMETRY = ("spacegroup", "unit_cell", "occupancy", "spacegroup_kinds")


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
    _check_file(path)
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


def left_out(atoms: Atoms) -> set[str]:
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


def _check_file(path: str) -> None:
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
    if stat.S_ISDIR(mode):
        raise NoInputError(f"{path}: expected a file of structures, found a folder")
    if not stat.S_ISREG(mode):
        raise NoInputError(
            f"{path}: expected a regular file, which can be read more than once, found a pipe or a device; "
            "write the structures to a file first"
        )


def _read(path: str, images: str, file_format: str | None) -> tuple[list[Atoms], str]:
    """Read one file, turning whatever ASE raises into an error that names the file."""
    from ase.io.formats import filetype

    with warnings.catch_warnings(record=True) as said, redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            name = file_format or filetype(path)
            if name in _TESTS and (reason := _TESTS[name](path)):
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
    """First sentence of a warning; None for those about ASE or another program, or settings that `_cif_symmetry` judges."""
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
                f"{where}: {_partial(f'atom {site} ({atoms.symbols[site]})', float(array[site]))}"
            )


def _partial(site: str, occupancy: float) -> str:
    return (
        f"{site} has occupancy {occupancy:g}, where whole atoms (1) are expected; make cells in which each "
        "site is occupied or empty"
    )


def _lines(path: str) -> list[str]:
    from ase.io.formats import open_with_compression

    with open_with_compression(path, "rb") as file:
        return file.read().decode("latin1").splitlines()


def _two_elements(name: str) -> str | None:
    """Say that an atom's name, such as CA, begins with two elements: C and Ca; None if it does not."""
    letters = re.match(r"\d*([A-Za-z]?)([A-Z]?)", name.strip())
    assert letters is not None  # all of it may be empty
    one, two = letters[1].upper(), letters[1].upper() + letters[2].lower()
    if one == two or not {one, two} <= atomic_numbers.keys():
        return None
    return (
        f"an atom is called {name.strip()}, which may be {one} or {two}, and the file does not say which "
        "element it is"
    )


def _element_of_mass(mass: float) -> str | None:
    """Symbol of the element that has a mass in u; None where none has, two have nearly, or ASE finds its dummy of 1 u."""
    distance = np.abs(atomic_masses - mass)
    first, second = np.argsort(distance)[:2]
    if first == 0 or distance[first] > 0.5 or distance[first] > distance[second] / 4:
        return None
    return chemical_symbols[first]


def _cif(path: str) -> str | None:
    from ase.io.cif import parse_cif
    from ase.io.formats import open_with_compression

    with open_with_compression(path, "rb") as file:
        blocks = [block for block in parse_cif(file) if block.has_structure()]
    for block in blocks:
        if reason := _cif_beyond(block) or _cif_sites(block) or _cif_symmetry(block):
            return f"data block {block.name!r}: {reason}"
    return None


def _column(block, tag: str) -> list:
    found = block.get(tag, [])
    return found if isinstance(found, list) else [found]


def _cif_beyond(block) -> str | None:
    """Find what ASE passes over: symmetry of moments and of waves, hydrogen without sites, sites without atoms."""
    if any(
        re.match(r"_(magnetic_)?space_group_(symop[_.])?magn|_magnetic_space_group", t)
        for t in block
    ):
        return (
            "its symmetry is that of magnetic moments, which ASE does not read; list all atoms of the cell, "
            "without the tags of its symmetry"
        )
    if any(n not in (0, "?", ".") for n in _column(block, "_cell_modulation_dimension")):
        return "its atoms are modulated by a wave, of which ASE reads the mean; give a supercell of whole atoms"
    labels = _column(block, "_atom_site_label") or _column(block, "_atom_site_type_symbol")
    for label, n in zip(labels, _column(block, "_atom_site_attached_hydrogens"), strict=False):
        if n not in (0, "?", "."):
            return f"site {label} has {n} attached hydrogens without sites of their own; add their sites"
    for label, flag in zip(labels, _column(block, "_atom_site_calc_flag"), strict=False):
        if str(flag).lower() == "dum":
            return f"site {label} is a dummy (_atom_site_calc_flag), no atom; take it out"
    for tag in ("x", "y", "z"):
        for label, place in zip(labels, _column(block, f"_atom_site_fract_{tag}"), strict=False):
            if isinstance(place, str):
                return f"site {label} has the coordinate {tag} {place!r}, where a number is expected; mend it"
    return None


def _cif_sites(block) -> str | None:
    symbols = _column(block, "_atom_site_type_symbol")
    labels = _column(block, "_atom_site_label") or symbols
    for label, occupancy in zip(labels, _column(block, "_atom_site_occupancy"), strict=False):
        if not isinstance(occupancy, str) and occupancy != 1:
            return _partial(f"site {label}", float(occupancy))
    groups = {
        str(group)
        for group in _column(block, "_atom_site_disorder_group")
        if group not in (".", "?")
    }
    if len(groups) > 1:
        return (
            f"its sites are in the disorder groups {', '.join(sorted(groups))}, which are alternatives; "
            "keep one of them"
        )
    symbols = _column(block, "_atom_site_type_symbol")
    for name in map(str, symbols or labels):
        # ASE takes a second letter that is a capital for no part of the symbol: FE is F.
        if reason := _two_elements(name):
            return f"{reason}; write its symbol in the column _atom_site_type_symbol, as in Fe"
        if symbols and re.match(r"[A-Z][a-z]?[^A-Za-z]*[A-Z]", name):
            return f"a site has the type {name}, where one element is expected; give each atom a site of its own"
    return None


def _cif_symmetry(block) -> str | None:
    """Find symmetry that the file names but does not list, where ASE may take another setting of it."""
    from ase.spacegroup import Spacegroup
    from ase.spacegroup.spacegroup import SpacegroupError

    name, known = block._get_spacegroup_name(), block._get_spacegroup_number()
    if block._get_sitesym():
        if known is None:
            try:
                Spacegroup(name or "")
            except SpacegroupError:
                return (
                    f"ASE does not know its space group by the name {name}; give its number, too "
                    "(_symmetry_Int_Tables_number)"
                )
        return None
    named = [
        tag
        for tag in block
        if re.match(r"_(symmetry|space_group)[_.]", tag) and re.search(r"hall|h-m|number", tag)
    ]
    if not named:
        return None
    what = f"it names its space group ({', '.join(str(block[tag]) for tag in named)})"
    mend = "list the symmetry operations (_symmetry_equiv_pos_as_xyz)"
    if name is None and known is None:
        return f"{what} in a way that ASE does not read; {mend}"
    try:
        group = Spacegroup(int(known) if known is not None else name)
    except (SpacegroupError, ValueError):
        return f"{what}, which ASE does not know; {mend}"
    try:
        Spacegroup(group.no, 2)
        several = True
    except SpacegroupError:
        several = False
    if several or (name is not None and _short(name) != _short(group.symbol)):
        return f"{what}, which has several settings, and lists no symmetry operations; {mend}"
    return None


def _short(symbol: str) -> str:
    """Hermann-Mauguin symbol without blanks, and without the axes of order one of its full form."""
    parts = symbol.replace("_", " ").split()
    return "".join(part for part in parts if part != "1").lower()


def _pdb(path: str) -> str | None:
    lines, cells = _lines(path), []
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
            if reason := _two_elements(line[12:16]):
                return f"{reason}; write elements in the columns 77 and 78"
    if len(cells) == 1 and sum(line.startswith("ENDMDL") for line in lines) > 1:
        return (
            "it has several models but one cell (CRYST1), which ASE takes for that of the first alone; write "
            "the record CRYST1 before each model"
        )
    return None


def _gromacs(path: str) -> str | None:
    for line in _lines(path)[2:-1]:
        if reason := _two_elements(line[10:15]):
            return f"{reason}; convert it to a format with elements, such as extxyz"
    return None


def _lammps_unit(units: str) -> str | None:
    if units in ("metal", "real"):
        return None
    return f"its units are {units!r}, which ASE takes for metal, with lengths in Å; convert it to metal units"


def _lammps_dump(path: str) -> str | None:
    lines = _lines(path)
    for line, following in itertools.pairwise(lines):
        if line.startswith("ITEM: UNITS") and (reason := _lammps_unit(following.strip())):
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


def _lammps_data(path: str) -> str | None:
    lines = _lines(path)
    told = re.search(r"\bunits = (\w+)", lines[0]) if lines else None
    if told and (reason := _lammps_unit(told[1])):
        return reason
    lines = [line.split("#")[0].strip() for line in lines]
    if "Masses" not in lines:
        return "it has no section Masses, without which ASE would take the types 1, 2, ... for H, He, ...; add it"
    for line in filter(None, lines[lines.index("Masses") + 1 :]):
        found = re.fullmatch(r"(\S+)\s+(\d\S*)", line)
        if found is None:  # the next section
            break
        if _element_of_mass(float(found[2])) is None:
            return (
                f"type {found[1]} has the mass {found[2]}, which does not tell one element, and ASE would take the "
                "nearest; give that of the element to two decimals, and each atom a type of an element"
            )
    return None


def _espresso(path: str) -> str | None:
    """Find labels such as Ca that are meant as the type a of C, as the mass tells."""
    lines = [re.split("[!#]", line)[0] for line in _lines(path)]
    start = next(
        (k for k, line in enumerate(lines) if line.strip() == "ATOMIC_SPECIES"), len(lines)
    )
    for words in map(str.split, lines[start + 1 :]):
        if len(words) > 2 and _two_elements(words[0].upper()[:2]):
            one = words[0][0].upper()
            with contextlib.suppress(ValueError):
                if _element_of_mass(float(words[1])) == one:
                    return (
                        f"the label {words[0]} has the mass of {one}, and ASE would take it for "
                        f"{words[0][:2].title()}; call it {one}1"
                    )
    for line in lines:
        if found := re.search(r"\btot_charge\s*=\s*([-+\d.]+)", line):
            _warn_of_charge(path, found[1])
    return None


def _mol(path: str) -> str | None:
    """Tell of charges in a file of MDL, whose lines hold the number of pairs, and pairs of an atom and its charge."""
    lines = _lines(path)
    several = sum(line.strip() == "M  END" for line in lines)
    if several > 1:
        return f"it holds {several} molecules, of which ASE reads the first alone; give each a file of its own"
    words = [line.split()[3:] for line in lines if line.startswith("M  CHG")]
    if total := sum(int(charge) for pairs in words for charge in pairs[1::2]):
        _warn_of_charge(path, f"{total:+d}")
    return None


def _warn_of_charge(path: str, charge: str) -> None:
    if float(charge):
        log.warning(
            "%s: its charge is left out; give it to gh-label with --set charge=%s", path, charge
        )


def _aims(path: str) -> str | None:
    words = [line.split() for line in _lines(path)]
    keys = [line[0] for line in words if line]
    for key in _MORE_THAN_ATOMS:
        if key in keys:
            return f"it has a line {key!r}, of which there is no atom, and ASE would leave it out; take the line out"
    if "atom_frac" in keys and "lattice_vector" not in keys:
        return "it has fractional coordinates (atom_frac) without a lattice_vector; add three"
    return None


def _turbomole(path: str) -> str | None:
    for line in _lines(path):
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


def _shelx(path: str) -> str | None:
    """Find site occupancies in a SHELX file, whose atoms are: label, type, x, y, z, occupancy.

    SHELX adds 10 to what is not refined.
    """
    species: list[str] = []
    for line in _lines(path):
        words = line.split()
        if words and words[0].upper() == "SFAC":
            species = [word.upper() for word in words[1:]]
        if len(words) < 6 or not words[1].isdigit() or not 0 < int(words[1]) <= len(species):
            continue
        try:
            occupancy = float(words[5])
        except ValueError:
            continue
        if occupancy % 10 != 1:
            return _partial(f"site {words[0]}", occupancy % 10)
    return None


def _vasp(path: str) -> str | None:
    lines = _lines(path)
    if len(lines) > 5 and lines[5].split() and all(word.isdigit() for word in lines[5].split()):
        return (
            "line 6 has numbers of atoms, where VASP 5 names their elements; without them ASE would guess "
            "from the comment or from other files; add the line of elements"
        )
    return None


# What is asked of the text of a file before it is read, by ASE's name of its format: why not to read it, or None.
_TESTS: dict[str, Callable[[str], str | None]] = {
    "cif": _cif,
    "proteindatabank": _pdb,
    "gromacs": _gromacs,
    "lammps-dump-text": _lammps_dump,
    "lammps-data": _lammps_data,
    "aims": _aims,
    "espresso-in": _espresso,
    "mol": _mol,
    "sdf": _mol,
    "turbomole": _turbomole,
    "res": _shelx,
    "vasp": _vasp,
}
