"""Both directions of each pair of atoms become one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Inexact, Int

from gh_tools.errors import DataError
from gh_tools.formats.matrices import Entries, Orbitals
from gh_tools.orbitals.blocks import canonical


class Differences:
    """Collects the largest differences between directions.

    Attributes:
        half: whether one direction alone is there.
        asymmetry: largest difference between the two.
        dropped: largest element that one of them lacks.
    """

    def __init__(self, half: bool):
        self.half, self.asymmetry, self.dropped = half, 0.0, 0.0


class Joined:
    """The elements of one matrix by pair of atoms.

    Args:
        entries: the elements.
        orbitals: what rows and columns are.
        offset: lattice vectors by which wrapping moved each atom.
        numbers: atomic numbers.
        spinor: keep imaginary parts.

    Attributes:
        pairs: i, j, R of the canonical pairs, those of an atom with itself included.
        imaginary: largest imaginary part that was left out.
    """

    def __init__(self, entries: Entries, orbitals: Orbitals, offset, numbers, spinor: bool = False):
        n = len(orbitals)
        for name, index in (("row", entries.row), ("column", entries.column)):
            if index.size and (index.min() < 0 or index.max() >= n):
                raise DataError(
                    f"expected {name}s from 0 to {n - 1}, found {index.max() if index.max() >= n else index.min()}"
                )
        value = entries.value
        if not np.isfinite(value).all():
            raise DataError(f"{np.count_nonzero(~np.isfinite(value))} numbers are not finite")
        self.imaginary = 0.0
        if spinor:
            value = value.astype(complex)
        elif np.iscomplexobj(value):
            self.imaginary = float(np.abs(value.imag).max(initial=0.0))
            value = value.real
        i, j = orbitals.atom[entries.row], orbitals.atom[entries.column]
        a, b = orbitals.place[entries.row], orbitals.place[entries.column]
        value = value * (orbitals.sign[entries.row] * orbitals.sign[entries.column])
        cell = entries.cell + offset[j] - offset[i]
        itself = (i == j) & ~cell.any(axis=1)
        swap = ~canonical(i, j, cell, numbers) & ~itself
        # Of an atom with itself, the lower triangle is the other direction of the upper one.
        swap |= itself & (a > b)
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        a, b = np.where(swap, b, a), np.where(swap, a, b)
        cell = np.where(swap[:, None], -cell, cell)
        value = np.where(swap, value.conj(), value)
        where, pair = unique_rows(np.column_stack([i, j, cell]))
        self.pairs = where
        # Grouped by pair, so that blocks of some pairs are found at once
        order = np.argsort(pair, kind="stable")
        self._start = np.searchsorted(pair[order], np.arange(len(where) + 1))
        self._a, self._b, self._value = a[order], b[order], value[order]
        self._swap, self._diagonal = swap[order], (itself & (a == b))[order]

    def blocks(
        self, where: Int[np.ndarray, "pairs 5"], ki: int, kj: int, found: Differences
    ) -> Inexact[np.ndarray, "pairs ki kj"]:
        """Compose the blocks of some canonical pairs, zero where there is no element.

        Args:
            where: i, j and R of each pair.
            ki: number of orbitals of the first atoms, which are of one element.
            kj: of the second ones.
            found: notes by how much elements that stand twice differ.
        """
        rows = find_rows(self.pairs, where)
        both = np.full((2, len(where), ki, kj), np.nan, dtype=self._value.dtype)
        target = np.flatnonzero(rows >= 0)
        counts = self._start[rows[target] + 1] - self._start[rows[target]]
        element = np.repeat(self._start[rows[target]] - np.r_[0, np.cumsum(counts)[:-1]], counts)
        element = element + np.arange(len(element)) if len(element) else element.astype(int)
        block = np.repeat(target, counts)
        index = (self._swap[element].astype(int), block, self._a[element], self._b[element])
        if len(np.unique(np.ravel_multi_index(index, both.shape))) < len(element):
            raise DataError("an element of a matrix stands twice")
        both[index] = self._value[element]
        onsite = len(where) > 0 and (where[0, 0] == where[0, 1] and not where[0, 2:].any())
        if onsite:  # the diagonal is its own other direction
            diagonal = np.arange(ki)
            both[1][:, diagonal, diagonal] = both[0][:, diagonal, diagonal].conj()
        there = ~np.isnan(both)
        full = there.all(axis=0)
        found.asymmetry = max(
            found.asymmetry, float(np.abs(both[0] - both[1])[full].max(initial=0.0))
        )
        single = there.any(axis=0) & ~full
        either = np.where(there[0], both[0], both[1])
        if not found.half:
            found.dropped = max(found.dropped, float(np.abs(either)[single].max(initial=0.0)))
        mean = 0.5 * (both[0] + both[1])
        merged = np.where(full, mean, np.where(single, either, 0.0))
        if onsite:
            upper = np.triu(np.ones((ki, kj), dtype=bool))
            merged = np.where(upper, merged, np.swapaxes(merged, -1, -2).conj())
        return merged


def unique_rows(
    table: Int[np.ndarray, "rows columns"],
) -> tuple[Int[np.ndarray, "unique columns"], Int[np.ndarray, " rows"]]:
    """Return the different rows of a table, sorted, and which of them each row is."""
    if len(table) == 0:
        return table, np.zeros(0, dtype=int)
    low = table.min(axis=0)
    span = table.max(axis=0) - low + 1
    if np.prod(span.astype(float)) > 2**62:
        unique, inverse = np.unique(table, axis=0, return_inverse=True)
        return unique, inverse.ravel()
    key = np.ravel_multi_index(tuple((table - low).T), tuple(span))
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return table[first], inverse.ravel()


def find_rows(
    table: Int[np.ndarray, "rows columns"], wanted: Int[np.ndarray, "wanted columns"]
) -> Int[np.ndarray, " wanted"]:
    """Return where each wanted row stands in a table of different rows; -1 where it does not."""
    unique, inverse = unique_rows(np.concatenate([table, wanted]))
    place = np.full(len(unique), -1)
    place[inverse[: len(table)]] = np.arange(len(table))
    return place[inverse[len(table) :]]
