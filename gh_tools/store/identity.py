"""Whether two structures are one and the same: what a name alone does not tell.

All that pairs up structures of two stores goes by `match`, and all that must keep copies of a structure
together goes by `copies`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import ase
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import DisjointSet
from scipy.spatial import cKDTree

from gh_tools.errors import DataError
from gh_tools.store.structures import Structures

# Å. Positions of one structure in two stores differ by rounding alone: text files hold 1e-8 Å and more, and
# what is farther apart than this differs in H by meV.
TOLERANCE = 1e-3
# Neighbours by whose distances structures are told apart, and how far away they count, in Å.
_NEIGHBOURS, _FAR = 6, 5.0
CHARGE_TOLERANCE = 1e-6  # |e|; charges are given, not computed


def difference(found: ase.Atoms, expected: ase.Atoms) -> str | None:
    """Tell how two structures differ: elements in their order, cell, periodic directions or positions.

    Positions are compared up to lattice vectors, because stores of Hamiltonians hold them wrapped into
    the cell.

    Args:
        found: the one.
        expected: the other.

    Returns:
        The first difference in words; None if there is none above `TOLERANCE`.
    """
    if len(found) != len(expected) or np.any(found.numbers != expected.numbers):
        formulae = expected.get_chemical_formula(), found.get_chemical_formula()
        if formulae[0] == formulae[1]:
            return f"the atoms of {formulae[0]} stand in another order"
        return f"expected {formulae[0]}, found {formulae[1]}"
    if np.any(found.pbc != expected.pbc):
        letters = ["".join("FT"[int(p)] for p in atoms.pbc) for atoms in (expected, found)]
        return f"expected periodic directions {letters[0]}, found {letters[1]}"
    off = np.abs(found.cell.array - expected.cell.array).max()
    if not off <= TOLERANCE:
        return f"the cells differ by up to {off:.2g} Å"
    off = _apart(found, expected).max(initial=0.0)
    if not off <= TOLERANCE:
        return f"the positions differ by up to {off:.2g} Å"
    return None


def _apart(one: ase.Atoms, other: ase.Atoms) -> Float[np.ndarray, " atoms"]:
    """Distance in Å between each two atoms of one place in the order, up to lattice vectors."""
    vector = one.positions - other.positions
    if one.pbc.any():
        cell = one.cell.complete().array
        vector -= (np.round(np.linalg.solve(cell.T, vector.T).T) * one.pbc) @ cell
    return np.linalg.norm(vector, axis=1)


def check_same(found: Structures, index: int, expected: Structures, other: int, where: str) -> None:
    """Make sure that a structure is the one of its name in another store.

    Args:
        found: holds the structure.
        index: its place there.
        expected: holds the structure that it is to be.
        other: its place there.
        where: what is named in the error: both stores.

    Raises:
        DataError: elements, cell, periodic directions, positions or charge differ.
    """
    unlike = difference(found.atoms[index], expected.atoms[other])
    charges = expected.charges[other], found.charges[index]
    if unlike is None and not abs(charges[0] - charges[1]) <= CHARGE_TOLERANCE:
        unlike = f"expected charge {charges[0]:+g}, found {charges[1]:+g}"
    if unlike is not None:
        raise DataError(
            f"{where}: structure {found.names[index]!r} is another one in the second store: {unlike}; "
            "names alone do not make structures the same: give stores of the same structures"
        )


def match(
    found: Structures, expected: Structures, where: str, *, partly: bool = False
) -> list[tuple[int, int]]:
    """Pair up the structures of two stores by name, and make sure that they are the same.

    Args:
        found: structures to find in the other store.
        expected: structures of the other store, which may hold more.
        where: what is named in the error: both stores.
        partly: pass over structures that the other store lacks, unless it lacks all.

    Returns:
        Places of each structure in both stores, in the order of the first.

    Raises:
        DataError: a structure is missing, or has another structure's name.
    """
    place = {name: index for index, name in enumerate(expected.names)}
    missing = [name for name in found.names if name not in place]
    if missing and (not partly or len(missing) == len(found)):
        more = f" (nor {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"{where}: the second store has no structure named {missing[0]!r}{more}; "
            "label these structures, or give the store with their labels"
        )
    pairs = [(index, place[name]) for index, name in enumerate(found.names) if name in place]
    for index, other in pairs:
        check_same(found, index, expected, other, where)
    return pairs


def copies(structures: Sequence[ase.Atoms]) -> Int[np.ndarray, " n"]:
    """Number the structures so that copies of one structure have one number.

    Copies have the same periodic lattice vectors and the same atoms up to their order, to lattice vectors
    and to a translation of them all, within `TOLERANCE`. Along directions that are not periodic, the cell
    counts for nothing.

    Numbers that do not change under any of these (moduli of structure factors; variances along directions that
    are not periodic; shortest and longest distances to neighbours) find the candidates in a k-d tree, in n log n;
    those are compared atom by atom.

    A supercell, another choice of lattice vectors, a rotated structure and its mirror image are no copies.

    Args:
        structures: any number of them.

    Returns:
        For each structure the number of its group; groups are numbered by their first members.
    """
    kinds: dict[tuple, list[int]] = defaultdict(list)
    for index, atoms in enumerate(structures):
        kinds[tuple(atoms.pbc), tuple(np.sort(atoms.numbers))].append(index)
    group = DisjointSet(range(len(structures)))
    for members in kinds.values():
        if len(members) == 1:
            continue
        features = np.array([_invariants(structures[index]) for index in members])
        # Numbers differ by 2e-3 Å at most, as the atoms of copies do, and by what their cells do.
        pairs = cKDTree(features).query_pairs(3 * TOLERANCE, p=np.inf, output_type="ndarray")
        for a, b in np.array(members)[pairs[np.lexsort(pairs.T[::-1])]].tolist():
            if not group.connected(a, b) and _is_copy(structures[a], structures[b]):
                group.merge(a, b)
    roots = [group[index] for index in range(len(structures))]
    # Renumbered by first members, whatever SciPy's order is
    _, first, place = np.unique(roots, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def _frame(atoms: ase.Atoms) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "atoms 3"]]:
    """Return the periodic vectors, completed by unit vectors normal to them, and coordinates in these."""
    cell = ase.cell.Cell(atoms.cell.array * atoms.pbc[:, None]).complete().array
    return cell, np.linalg.solve(cell.T, atoms.positions.T).T


def _invariants(atoms: ase.Atoms) -> Float[np.ndarray, " numbers"]:
    """Numbers in Å that copies share, and that move by no more than the atoms do."""
    cell, scaled = _frame(atoms)
    weight = atoms.numbers / atoms.numbers.sum()
    pbc = atoms.pbc
    found = [np.ravel(cell * pbc[:, None])]
    height = scaled[:, ~pbc] - weight @ scaled[:, ~pbc]
    found.append(np.sqrt([weight @ (height**2).sum(axis=1)]))
    for k in itertools.product((0, 1), (0, 1), (0, 1)):
        wave = np.array(k) * pbc
        if np.any(wave) and np.all(wave == k):
            period = 1 / np.linalg.norm(np.linalg.inv(cell) @ wave)
            factor = weight @ np.exp(2j * np.pi * scaled @ wave)
            found.append(np.array([abs(factor) * period / (2 * np.pi)]))
    # Each distance moves by twice as much as atoms do. Means over many atoms hardly tell the frames of a crystal's
    # molecular dynamics apart, but the extremes of their distances do.
    found.append(0.5 * _extreme_distances(cell, scaled, pbc))
    return np.concatenate(found)


def _extreme_distances(
    cell: Float[np.ndarray, "3 3"], scaled: Float[np.ndarray, "atoms 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, " numbers"]:
    """Return the smallest and the largest distance of an atom to its k-th neighbour, k up to `_NEIGHBOURS`, in Å.

    What is farther away than `_FAR` counts as that far.
    """
    inside = scaled - np.floor(scaled) * pbc
    depth = _FAR * np.linalg.norm(np.linalg.inv(cell), axis=0)
    number = np.where(pbc, np.ceil(depth), 0).astype(int)
    shifts = np.array(list(itertools.product(*(range(-n, n + 1) for n in number.tolist()))))
    images = (inside[None] + shifts[:, None]).reshape(-1, 3)
    near = np.all(~pbc | ((images > -depth) & (images < 1 + depth)), axis=1)
    tree = cKDTree(images[near] @ cell)
    distance, _ = tree.query(inside @ cell, _NEIGHBOURS + 1)
    distance = np.minimum(distance[:, 1:], _FAR)  # without the atom itself
    return np.concatenate([distance.min(axis=0), distance.max(axis=0)])


def _is_copy(one: ase.Atoms, other: ase.Atoms) -> bool:
    """Compare two structures of the same elements and periodic directions, atom by atom."""
    if not np.abs((one.cell.array - other.cell.array) * one.pbc[:, None]).max() <= TOLERANCE:
        return False
    cell, mine = _frame(one)
    theirs = np.linalg.solve(cell.T, other.positions.T).T
    # Any atom of the rarest element must have its counterpart among those of the other.
    numbers, counts = np.unique(one.numbers, return_counts=True)
    rarest = numbers[counts.argmin()]
    anchor = np.flatnonzero(one.numbers == rarest)[0]
    tree = _Periodic(mine, one.numbers, one.pbc, cell)
    moves = mine[anchor] - theirs[other.numbers == rarest]
    return any(tree.holds(theirs + move, other.numbers) for move in moves)


class _Periodic:
    """The atoms of a structure, to be found again."""

    def __init__(
        self,
        scaled: Float[np.ndarray, "atoms 3"],
        numbers: Int[np.ndarray, " atoms"],
        pbc: Bool[np.ndarray, "3"],
        cell: Float[np.ndarray, "3 3"],
    ):
        self._scaled, self._numbers, self._pbc, self._cell = scaled, numbers, pbc, cell
        # Images just outside the cell, for atoms that rounding puts on either side of its faces
        inside = scaled - np.floor(scaled) * pbc
        shifts = np.array(list(itertools.product(*((-1, 0, 1) if p else (0,) for p in pbc))))
        images = (inside[None] + shifts[:, None]).reshape(-1, 3)
        near = np.all((~pbc) | ((images > -0.1) & (images < 1.1)), axis=1)
        self._atom = np.tile(np.arange(len(scaled)), len(shifts))[near]
        self._tree = cKDTree(images[near] @ cell)

    def holds(
        self, scaled: Float[np.ndarray, "atoms 3"], numbers: Int[np.ndarray, " atoms"]
    ) -> bool:
        """Tell whether each of some atoms is one of these, and each of these is one of them."""
        inside = scaled - np.floor(scaled) * self._pbc
        # A translation by one atom's rounding adds to that of each other.
        distance, place = self._tree.query(inside @ self._cell, distance_upper_bound=2 * TOLERANCE)
        if not np.all(distance <= 2 * TOLERANCE):
            return False
        atom = self._atom[place]
        return bool(np.all(self._numbers[atom] == numbers) and np.unique(atom).size == len(numbers))
