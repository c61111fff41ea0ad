"""wannier90: SEED_hr.dat and SEED_tb.dat, with the structure from SEED.win; orthonormal functions without shells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
from ase.geometry import find_mic
from ase.units import Bohr
from jaxtyping import Float, Int

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.formats.files import number_of
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals
from gh_tools.formats.wannier90_writing import write

_ENDINGS = ("_tb.dat", "_hr.dat")  # the first has more digits
_DEGREES = {"s": 1, "p": 3, "d": 5, "f": 7, "sp": 2, "sp2": 3, "sp3": 4, "sp3d": 5, "sp3d2": 6}


class _Elements(NamedTuple):
    """What a file of H(R) holds.

    Attributes:
        cells: R of each vector.
        h: H(R) in eV, divided by the degeneracy of R.
        lattice: cell vectors in Å, or None.
        centres: of the functions in Å, or None.
    """

    cells: Int[np.ndarray, "cells 3"]
    h: np.ndarray
    lattice: Float[np.ndarray, "3 3"] | None
    centres: Float[np.ndarray, "functions 3"] | None


def _find(path: Path) -> Sequence[Source]:
    if path.is_file():
        return [Source(path)] if path.name.endswith(_ENDINGS) else []
    if not path.is_dir():
        return []
    seeds: dict[str, Path] = {}
    for ending in _ENDINGS:
        for file in sorted(path.glob(f"*{ending}")):
            seeds.setdefault(_seed(file), file)
    downs = {_seed(down) for file in seeds.values() if (down := _spin_down(file)) is not None}
    return [Source(file) for seed, file in sorted(seeds.items()) if seed not in downs]


def _seed(file: Path) -> str:
    return file.name.removesuffix("_tb.dat").removesuffix("_hr.dat")


def _spin_down(file: Path) -> Path | None:
    """Return the file of the other spin, where this is one of spin up, such as ``Fe_up_hr.dat``."""
    seed = _seed(file)
    for up, down in (("_up", "_dn"), ("_up", "_down"), (".up", ".dn"), (".up", ".down")):
        if seed.endswith(up):
            other = file.with_name(seed.removesuffix(up) + down + file.name.removeprefix(seed))
            if other.is_file():
                return other
    return None


def _read(source: Source) -> CodeMatrices:
    up = _read_channel(source.path)
    other = _spin_down(source.path)
    if other is None:
        return up
    down = _read_channel(other)
    if (
        up.spinor
        or down.spinor
        or not np.array_equal(up.orbitals.atom, down.orbitals.atom)
        or not np.array_equal(up.atoms.numbers, down.atoms.numbers)
    ):
        raise DataError(
            f"expected functions of both spins on the same atoms, found others in {other.name}; move one of them into "
            "a folder of its own"
        )
    return replace(up, hamiltonian=[*up.hamiltonian, *down.hamiltonian])


def _read_channel(file: Path) -> CodeMatrices:
    seed = _seed(file)
    found = _read_tb(file) if file.name.endswith("_tb.dat") else _read_hr(file)
    win = file.with_name(f"{seed}.win")
    text = _plain(win.read_text()) if win.is_file() else ""
    spinor = bool(re.search(r"(?m)^\s*spinors\s*[=:]?\s*\.?t", text))
    n = found.h.shape[1]
    centres = found.centres if found.centres is not None else _centres(file, seed, n)
    atoms = _structure(text, found, centres)
    sites, offset, atoms = _sites(atoms, centres, text, n)
    counts = np.bincount(sites, minlength=len(atoms))
    components = 2 if spinor else 1
    if spinor and (counts % 2).any():
        raise DataError("expected an even number of spinors on each atom, found an odd one")
    degrees = {
        int(z): (0,) * int(counts[np.flatnonzero(atoms.numbers == z)[0]] // components)
        for z in np.unique(atoms.numbers)
    }
    # Functions of one atom, in their order
    place = np.array([np.count_nonzero(sites[:index] == site) for index, site in enumerate(sites)])
    orbitals = Orbitals(degrees, sites, place, np.ones(n, dtype=int))
    entries = _entries(found, offset, file.with_name(f"{seed}_wsvec.dat"))
    fermi = re.search(r"(?m)^\s*fermi_energy\s*[=:]?\s*([-+.\deEdD]+)", text)
    return CodeMatrices(
        "wannier90",
        atoms,
        orbitals,
        [entries],
        None,
        scalars={"fermi_level": float(fermi[1])} if fermi else {},
        local=False,
        spinor=spinor,
    )


def _read_hr(file: Path) -> _Elements:
    _, _, rest = file.read_text().partition("\n")
    words = rest.split()
    n, n_cells = int(words[0]), int(words[1])
    degeneracy = np.array(words[2 : 2 + n_cells], dtype=float)
    rows = np.array(words[2 + n_cells :], dtype=float)
    if len(rows) != 7 * n * n * n_cells:
        raise DataError(
            f"expected {n * n * n_cells} elements of {n} functions and {n_cells} lattice vectors, found "
            f"{len(rows) / 7:g}"
        )
    table = rows.reshape(n_cells, n, n, 7)  # the first index of an element varies fastest
    _check_order(table[..., 3], table[..., 4], n)
    value = (table[..., 5] + 1j * table[..., 6]).swapaxes(1, 2)
    cells = np.rint(table[:, 0, 0, :3]).astype(np.int64)
    return _Elements(cells, value / degeneracy[:, None, None], None, None)


def _read_tb(file: Path) -> _Elements:
    _, _, rest = file.read_text().partition("\n")
    words = rest.split()
    lattice = np.array(words[:9], dtype=float).reshape(3, 3)
    n, n_cells = int(words[9]), int(words[10])
    degeneracy = np.array(words[11 : 11 + n_cells], dtype=float)
    rows = np.array(words[11 + n_cells :], dtype=float)
    size, position = 3 + 4 * n * n, 3 + 8 * n * n
    if len(rows) not in (n_cells * size, n_cells * (size + position)):
        raise DataError(
            f"expected H of {n} functions for {n_cells} lattice vectors, found {len(rows)} numbers"
        )
    table = rows[: n_cells * size].reshape(n_cells, size)
    elements = table[:, 3:].reshape(n_cells, n, n, 4)
    _check_order(elements[..., 0], elements[..., 1], n)
    value = (elements[..., 2] + 1j * elements[..., 3]).swapaxes(1, 2)
    cells = np.rint(table[:, :3]).astype(np.int64)
    centres = None
    if len(rows) > n_cells * size:
        second = rows[n_cells * size :].reshape(n_cells, position)
        home = np.flatnonzero(~np.rint(second[:, :3]).any(axis=1))
        diagonal = second[home[0], 3:].reshape(n, n, 8)
        centres = np.stack([diagonal[index, index, 2::2] for index in range(n)])
    return _Elements(cells, value / degeneracy[:, None, None], lattice, centres)


def _check_order(first: np.ndarray, second: np.ndarray, n: int) -> None:
    count = np.arange(1, n + 1)
    if not (first == count).all() or not (second == count[:, None]).all():
        raise DataError("expected elements of which the first index varies fastest, found others")


def _plain(text: str) -> str:
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


def _structure(text: str, found: _Elements, centres: np.ndarray | None) -> ase.Atoms:
    cell = found.lattice
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


def _centres(file: Path, seed: str, n: int) -> Float[np.ndarray, "functions 3"] | None:
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


def _sites(
    atoms: ase.Atoms, centres: np.ndarray | None, text: str, n: int
) -> tuple[np.ndarray, np.ndarray, ase.Atoms]:
    """Give each function an atom, and the cell in which this atom is nearest to it.

    Atoms without functions are left out, and the others of an element must have equally many. Where they do not, all
    functions stand on the first atom: the spectrum is the same, and projections on elements mean nothing.
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


def _entries(found: _Elements, offset: np.ndarray, wsvec: Path) -> Entries:
    n_cells, n, _ = found.h.shape
    cell, row, column = (index.ravel() for index in np.indices((n_cells, n, n)))
    value = found.h.ravel()
    vector = found.cells[cell] + offset[column] - offset[row]
    if wsvec.is_file():
        row, column, vector, value = _distribute(found, row, column, vector, value, wsvec)
    keep = value != 0
    return Entries(row[keep], column[keep], vector[keep], value[keep])


def _distribute(found: _Elements, row, column, vector, value, file: Path):
    """Divide each element among the equivalent lattice vectors that wannier90 interpolates with."""
    _, _, rest = file.read_text().partition("\n")
    numbers = np.array(rest.split(), dtype=np.int64)
    n = found.h.shape[1]
    key = {tuple(cell): index for index, cell in enumerate(found.cells.tolist())}
    place, parts = 0, []
    while place < len(numbers):
        *cell, m, k, count = numbers[place : place + 6].tolist()
        shifts = numbers[place + 6 : place + 6 + 3 * count].reshape(count, 3)
        place += 6 + 3 * count
        parts.append((key[tuple(cell)] * n * n + (m - 1) * n + k - 1, shifts))
    if len(parts) != len(value):
        raise DataError(f"{file.name}: expected {len(value)} elements as in H, found {len(parts)}")
    index = np.repeat([where for where, _ in parts], [len(shifts) for _, shifts in parts])
    weight = np.repeat([1 / len(s) for _, s in parts], [len(s) for _, s in parts])
    moved = vector[index] + np.concatenate([shifts for _, shifts in parts])
    # Elements of several vectors may meet in one.
    table = np.column_stack([moved, row[index], column[index]])
    unique, inverse = np.unique(table, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    summed = np.bincount(inverse, (value[index] * weight).real) + 1j * np.bincount(
        inverse, (value[index] * weight).imag
    )
    return unique[:, 3], unique[:, 4], unique[:, :3], summed


FORMAT = Format("wannier90", "wannier90", _find, _read, write)
