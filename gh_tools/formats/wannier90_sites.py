"""wannier90: the structure of a .win file, and the atoms that functions stand on."""

from __future__ import annotations

import re
from pathlib import Path

import ase
import numpy as np
from ase.geometry import find_mic
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.formats.files import number_of

_DEGREES = {"s": 1, "p": 3, "d": 5, "f": 7, "sp": 2, "sp2": 3, "sp3": 4, "sp3d": 5, "sp3d2": 6}


def plain(text: str) -> str:
    """Return a .win file without comments, in lower case."""
    return "\n".join(re.sub(r"[!#].*", "", line) for line in text.lower().splitlines())


def _section(text: str, name: str) -> tuple[list[list[str]], float] | None:
    """Return the words of each line of a block, and the unit of lengths in Å."""
    match = re.search(rf"begin\s+{name}\s*\n(.*?)end\s+{name}", text, re.S)
    if match is None:
        return None
    rows = [line.split() for line in match[1].splitlines() if line.strip()]
    unit = 1.0
    if rows and rows[0][0] in ("ang", "angstrom", "bohr"):
        unit = Bohr if rows[0][0].startswith("bohr") else 1.0
        rows = rows[1:]
    return rows, unit


def read_win_structure(
    text: str,
    lattice: Float[np.ndarray, "3 3"] | None,
    centres: Float[np.ndarray, "functions 3"] | None,
) -> ase.Atoms:
    """Return the structure of a .win file, or one atom where there is none.

    Args:
        text: of the .win file, plain.
        lattice: cell vectors in Å, where the file of H tells them.
        centres: of the functions in Å, where they are known.

    Raises:
        DataError: cell or positions are not known.
    """
    cell = lattice
    if (section := _section(text, "unit_cell_cart")) is not None:
        cell = np.array(section[0], dtype=float) * section[1]
    if cell is None:
        raise DataError(
            "does not tell the cell; put the .win file of the same seed beside it, or import SEED_tb.dat (write_tb)"
        )
    for name, fractional in (("atoms_frac", True), ("atoms_cart", False)):
        if (section := _section(text, name)) is not None:
            rows, unit = section
            numbers = [number_of(re.sub(r"\d+$", "", row[0]).capitalize()) for row in rows]
            positions = np.array([row[1:4] for row in rows], dtype=float)
            positions = positions @ cell if fractional else positions * unit
            return ase.Atoms(numbers, positions, cell=cell, pbc=True)
    if centres is None:
        raise DataError(
            "tells neither atoms nor centres of functions; put the .win file of the same seed beside it"
        )
    log.warning(
        "without a .win file the functions stand on one hydrogen atom, for want of an element"
    )
    return ase.Atoms("H", positions=centres[:1], cell=cell, pbc=True)


def read_centres(file: Path, seed: str, n: int) -> Float[np.ndarray, "functions 3"] | None:
    """Read the centres of the functions from SEED_centres.xyz or SEED.wout, if there are such files."""
    xyz, out = file.with_name(f"{seed}_centres.xyz"), file.with_name(f"{seed}.wout")
    rows: list = []
    if xyz.is_file():
        rows = re.findall(r"(?m)^\s*X\s+(\S+)\s+(\S+)\s+(\S+)", xyz.read_text())
    elif out.is_file():
        final = out.read_text().rpartition("Final State")[2]
        rows = re.findall(
            r"WF centre and spread\s+\d+\s+\(\s*(\S+?),\s*(\S+?),\s*(\S+?)\s*\)", final
        )
    return np.array(rows[:n], dtype=float) if len(rows) >= n > 0 else None


def assign_sites(
    atoms: ase.Atoms, centres: np.ndarray | None, text: str, n: int
) -> tuple[np.ndarray, np.ndarray, ase.Atoms]:
    """Give each function an atom, and the cell in which this atom is nearest to it.

    Atoms without functions are left out, and the others of an element must have equally many. Where they do not, all
    functions stand on the first atom: the spectrum is the same, and projections on elements mean nothing.

    Args:
        atoms: of SEED.win, or none.
        centres: of the functions in Å, where they are known.
        text: of SEED.win, whose projections are asked where they are not.
        n: number of functions.

    Returns:
        The atom of each function, the cell of that atom which is nearest to it, and the atoms that have functions.
    """
    if centres is not None:
        sites, offset = np.zeros(n, dtype=int), np.zeros((n, 3), dtype=int)
        cell = atoms.cell.array
        for index, centre in enumerate(centres):
            between = centre - atoms.positions
            nearest, distance = find_mic(between, atoms.cell, True)
            sites[index] = int(np.argmin(np.round(distance, 4)))
            moved = between[sites[index]] - nearest[sites[index]]
            offset[index] = np.rint(np.linalg.solve(cell.T, moved))
        if (found := _even(atoms, sites)) is not None:
            return found[0], offset, found[1]
    by_projection = _projected(atoms, text)
    if len(by_projection) == n and (found := _even(atoms, by_projection)) is not None:
        return found[0], np.zeros((n, 3), dtype=int), found[1]
    log.warning(
        "the %d functions cannot be divided evenly on the atoms of each element: all stand on one %s atom, so that "
        "projections on elements mean nothing",
        *(n, atoms.symbols[0]),
    )
    return np.zeros(n, dtype=int), np.zeros((n, 3), dtype=int), atoms[:1]


def _even(atoms: ase.Atoms, sites: np.ndarray) -> tuple[np.ndarray, ase.Atoms] | None:
    """Leave out atoms without functions; None if the others of an element have not equally many."""
    counts = np.bincount(sites, minlength=len(atoms))
    there = counts > 0
    for z in np.unique(atoms.numbers[there]):
        if len(np.unique(counts[there & (atoms.numbers == z)])) > 1:
            return None
    if not there.all():
        log.warning(
            "%d atoms have no functions and are left out (%s)",
            *((~there).sum(), atoms[~there].get_chemical_formula()),
        )
    return np.cumsum(there)[sites] - 1, atoms[there]


def _projected(atoms: ase.Atoms, text: str) -> np.ndarray:
    """Return the atom of each function by the projections of the .win file, as far as they stand on atoms."""
    section = _section(text, "projections")
    sites: list[int] = []
    for row in section[0] if section else []:
        site, _, functions = "".join(row).partition(":")
        count = sum(_count(name) for name in functions.split(":")[0].split(";"))
        mine = [i for i, symbol in enumerate(atoms.symbols) if symbol.lower() == site]
        if match := re.fullmatch(r"([fc])=([^,]+),([^,]+),([^,]+)", site):
            place = np.array(match.groups()[1:], dtype=float)
            place = place @ atoms.cell.array if match[1] == "f" else place
            _, distance = find_mic(place - atoms.positions, atoms.cell, True)
            mine = [int(np.argmin(distance))]
        for atom in mine:
            sites += [atom] * count
    return np.array(sites, dtype=int)


def _count(name: str) -> int:
    """Return the number of functions of a projection such as ``p``, ``sp3`` or ``l=2``."""
    if match := re.fullmatch(r"l=(\d)", name):
        return 2 * int(match[1]) + 1
    return _DEGREES.get(name, 0)
