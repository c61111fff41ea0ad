"""wannier90: SEED_hr.dat and SEED_tb.dat, with the structure from SEED.win; orthonormal functions without shells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals
from gh_tools.formats.wannier90_sites import assign_sites, plain, read_centres, read_win_structure
from gh_tools.formats.wannier90_writing import write_wannier90

_ENDINGS = ("_tb.dat", "_hr.dat")  # the first has more digits


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
    text = plain(win.read_text()) if win.is_file() else ""
    spinor = bool(re.search(r"(?m)^\s*spinors\s*[=:]?\s*\.?t", text))
    n = found.h.shape[1]
    centres = found.centres if found.centres is not None else read_centres(file, seed, n)
    atoms = read_win_structure(text, found.lattice, centres)
    sites, offset, atoms = assign_sites(atoms, centres, text, n)
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


FORMAT = Format("wannier90", "wannier90", _find, _read, write_wannier90, spinors=True)
