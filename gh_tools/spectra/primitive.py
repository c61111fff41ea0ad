"""The primitive cell that a structure repeats, also where atoms are displaced or some of them are missing or others."""

from __future__ import annotations

from itertools import product

import ase
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from gh_tools.orbitals.lattice import shortest_combination

# Å. Files give coordinates to 3 digits or more.
_EXACT = 0.01
# Largest difference between displacements of two like atoms, in Å and over the shortest distance of two atoms: twice
# what thermal motion of light atoms is.
_DISPLACED = 0.5
_OF_BOND = 0.35
# Of the atoms of a cell with defects, the least part that a translation takes to like ones. Ordered compounds that
# are a lattice with other atoms on some sites, as double perovskites are, have fewer or are of fewer cells.
_PART = 0.8
_LEAST_CELLS = 4
# How many atoms translations are sought from, and tried with first.
_REFERENCES = 5
_TRIED = 24


def supercell_matrix(atoms: ase.Atoms) -> Int[np.ndarray, "3 3"]:
    """Return the integer matrix whose product with the vectors of a primitive cell is a structure's cell.

    Translations count that take each atom to a like one. Atoms may be displaced, unless the structure has a symmetry,
    by which it is a crystal of its own. Where there are no such translations, those count that miss a fifth of the atoms
    at most, as they do beside vacancies and substitutions, if there are four or more. The vectors of a group of n
    translations (modulo the cell) are multiples of 1/n of the cell's, exactly, so that displacements do not change
    the result.

    Args:
        atoms: structure with at least one periodic direction.

    Returns:
        The matrix, whose determinant is the number of primitive cells but for its sign; of reduced primitive vectors.
        The unit matrix where the cell is primitive.
    """
    unit = np.eye(3, dtype=np.int64)
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) == 0 or len(atoms) < 2:
        return unit
    sites = _Sites(atoms)
    displaced = min(_DISPLACED, _OF_BOND * sites.shortest_distance())
    for part, tolerance in product((1.0, _PART), (_EXACT, displaced)):
        steps = sites.translations(tolerance, part)
        if len(steps) > 1:
            break
    n = len(steps)
    if n == 1 or (tolerance > _EXACT and _has_symmetry(atoms)):
        return unit
    # The primitive vectors times n are integers in units of the cell's.
    basis = _row_basis(np.concatenate([steps[:, periodic], n * np.eye(len(periodic), dtype=int)]))
    change = shortest_combination(basis @ atoms.cell.array[periodic] / n)
    matrix = unit.copy()
    matrix[np.ix_(periodic, periodic)] = np.rint(n * np.linalg.inv(change @ basis))
    return matrix


class _Sites:
    """Atoms by species, among which the nearest to any point are found."""

    def __init__(self, atoms: ase.Atoms) -> None:
        self.pbc: Bool[np.ndarray, "3"] = atoms.pbc
        self.numbers: Int[np.ndarray, " atoms"] = atoms.numbers
        self.cell: Float[np.ndarray, "3 3"] = atoms.cell.complete().array
        self.inverse = np.linalg.inv(self.cell)
        self.positions = self._wrapped(atoms.positions)
        # Images beside the cell, as far as the largest tolerance.
        margin = 2 * _DISPLACED * np.linalg.norm(self.inverse, axis=0)
        shifts = np.array(list(product(*((-1, 0, 1) if p else (0,) for p in self.pbc))))
        scaled = (self.positions @ self.inverse)[:, None] + shifts
        inside = ((scaled > -margin) & (scaled < 1 + margin) | ~self.pbc).all(axis=-1)
        self.trees = {
            int(number): cKDTree(scaled[of][inside[of]] @ self.cell)
            for number in np.unique(self.numbers)
            for of in [self.numbers == number]
        }

    def _wrapped(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        scaled = points @ self.inverse
        return (scaled - np.where(self.pbc, np.floor(scaled), 0.0)) @ self.cell

    def shortest_distance(self) -> float:
        """Return the shortest distance of two atoms, at most 3 Å."""
        from gh_tools.orbitals.pairs import directed_pairs

        atoms = ase.Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        vector = directed_pairs(atoms, 3.0)[3]
        return float(np.linalg.norm(vector, axis=1).min(initial=3.0))

    def _moved(
        self, which: Int[np.ndarray, " m"], steps: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n m 3"]:
        """Return the vector from each atom, moved by each step, to the nearest like one; infinite if that is far."""
        points = self._wrapped(self.positions[which] + steps[:, None])
        found = np.empty_like(points)
        for number, tree in self.trees.items():
            of = self.numbers[which] == number
            distance, nearest = tree.query(points[:, of], distance_upper_bound=2 * _DISPLACED)
            there = tree.data[np.minimum(nearest, tree.n - 1)] - points[:, of]
            found[:, of] = np.where(np.isfinite(distance)[..., None], there, np.inf)
        return found

    def translations(self, tolerance: float, part: float) -> Int[np.ndarray, "n 3"]:
        """Return the group of n translations that take atoms to like ones, in units of 1/n of the cell's vectors.

        Args:
            tolerance: by how much atoms may miss, in Å.
            part: how many atoms at least are taken to like ones, over all.
        """
        none = np.zeros((1, 3), dtype=np.int64)
        # Of the most frequent species, which has the most atoms beside defects.
        number = max(self.trees, key=lambda z: int((self.numbers == z).sum()))
        alike = np.flatnonzero(self.numbers == number)
        references = alike[np.linspace(0, len(alike) - 1, min(_REFERENCES, len(alike)), dtype=int)]
        some = np.arange(len(self.numbers))[:: -(-len(self.numbers) // _TRIED)]
        known = np.zeros((1, 3))
        for reference in references:
            steps = self.positions[alike] - self.positions[reference]
            near = np.linalg.norm(self._moved(some, steps), axis=-1) <= 2 * tolerance
            for step in steps[near.mean(axis=1) >= part - 0.2]:
                if self._among(step, known, tolerance):
                    continue
                step, fits = self._mean(step, tolerance)
                if fits >= part and not self._among(step, known, tolerance):
                    known = np.concatenate([known, [step]])
        n = len(known)
        fractions = n * (known @ self.inverse)
        group = np.rint(fractions).astype(np.int64)
        if n == 1 or np.abs(fractions - group).max() > 0.3 or (part < 1 and n < _LEAST_CELLS):
            return none
        group %= n
        sums = {tuple(row) for row in ((group[:, None] + group) % n).reshape(-1, 3).tolist()}
        return group if sums == {tuple(row) for row in group.tolist()} else none

    def _mean(
        self, step: Float[np.ndarray, "3"], tolerance: float
    ) -> tuple[Float[np.ndarray, "3"], float]:
        """Return a translation without the displacements of the atoms it was found at, and the part of all that it fits.

        It is the mean over all atoms, which of a permutation of like atoms is exact.
        """
        every = np.arange(len(self.numbers))
        moved = self._moved(every, step[None])[0]
        near = np.linalg.norm(moved, axis=1) <= 2 * tolerance
        if not near.any():
            return step, 0.0
        scaled = (step + moved[near].mean(axis=0)) @ self.inverse
        step = np.where(self.pbc, scaled, 0.0) @ self.cell
        moved = self._moved(every, step[None])[0]
        return step, float((np.linalg.norm(moved, axis=1) <= tolerance).mean())

    def _among(
        self, step: Float[np.ndarray, "3"], known: Float[np.ndarray, "n 3"], tolerance: float
    ) -> bool:
        difference = (step - known) @ self.inverse
        difference -= np.where(self.pbc, np.rint(difference), 0.0)
        return bool((np.linalg.norm(difference @ self.cell, axis=1) <= 2 * tolerance).any())


def _has_symmetry(atoms: ase.Atoms) -> bool:
    """Return whether a structure has a symmetry other than the translations of its cell."""
    import spglib

    cell = atoms.cell.complete().array
    for axis in np.flatnonzero(~atoms.pbc):  # far enough that images there are none
        direction = cell[axis] / np.linalg.norm(cell[axis])
        cell[axis] = direction * (10 + np.ptp(atoms.positions @ direction))
    scaled = atoms.positions @ np.linalg.inv(cell)
    found = spglib.get_symmetry((cell, scaled, atoms.numbers), symprec=_EXACT)
    return found is not None and len(found["rotations"]) > 1


def _row_basis(rows: Int[np.ndarray, "n d"]) -> Int[np.ndarray, "d d"]:
    """Return a basis of the lattice that integer rows of full rank span, by Euclid's algorithm on each column."""
    rows, basis = rows.copy(), []
    for column in range(rows.shape[1]):
        while np.count_nonzero(rows[:, column]) > 1:
            filled = np.flatnonzero(rows[:, column])
            least = filled[np.argmin(np.abs(rows[filled, column]))]
            others = filled[filled != least]
            factors = rows[others, column] // rows[least, column]
            rows[others] -= factors[:, None] * rows[least]
        row = np.flatnonzero(rows[:, column])[0]
        basis.append(rows[row].copy())
        rows = np.delete(rows, row, axis=0)
    return np.array(basis)
