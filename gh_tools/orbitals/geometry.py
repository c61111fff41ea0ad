"""What makes a structure one that can be computed (elements, finite positions, a cell, no coincident atoms), and its area."""

from __future__ import annotations

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from gh_tools.orbitals.pairs import Neighbours

# Å. A double holds such coordinates to 1e-10 Å; nothing that has atoms is this large.
LARGEST_LENGTH = 1e6
# Å. A third of the bond in the smallest molecule ion would already be four times as much.
COINCIDENT = 0.1
# Smallest singular value of the normalised cell vectors: an angle of a few hundred thousandths of a degree.
_RANK = 1e-6
_ORDINALS = ("first", "second", "third")


def structure_fault(
    numbers: Int[np.ndarray, " atoms"],
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
) -> str | None:
    """Return what is wrong with a structure, or None if nothing is.

    A structure is fit where it has atoms, each of a chemical element and at a finite position within 10⁶ Å of
    the origin; each periodic direction has a cell vector; the cell vectors that are not zero are linearly
    independent; and no two atoms, periodic images included, are closer than 0.1 Å.

    Args:
        numbers: atomic numbers.
        positions: in Å.
        cell: cell vectors as rows, in Å; zero for a direction without one.
        pbc: which directions are periodic.

    Returns:
        A clause that can follow the structure's name and a colon: what was expected, what was found, and how to
        mend it. Atoms are counted from 0.
    """
    if len(numbers) == 0:
        return "it has no atoms; leave it out"
    for test in (_elements, _lengths, _cell):
        if fault := test(numbers, positions, np.asarray(cell), np.asarray(pbc)):
            return fault
    return _coincident(numbers, positions, cell, pbc)


def _elements(numbers, positions, cell, pbc) -> str | None:
    known = (numbers > 0) & (numbers < len(chemical_symbols))
    if known.all():
        return None
    atom = int(np.argmin(known))
    number = int(numbers[atom])
    what = "a dummy atom (symbol X)" if number == 0 else f"of atomic number {number}"
    return (
        f"atom {atom} is {what}, where chemical elements (atomic numbers 1 to "
        f"{len(chemical_symbols) - 1}) are expected; replace it or take it out"
    )


def _lengths(numbers, positions, cell, pbc) -> str | None:
    for what, array in (("the position of atom", positions), ("cell vector", cell)):
        bad = ~(np.abs(array) <= LARGEST_LENGTH).all(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            found = " ".join(f"{value:g}" for value in array[row])
            return (
                f"{what} {row} is ({found}) Å, where finite numbers of at most {LARGEST_LENGTH:g} Å are "
                "expected; mend the coordinates or their unit"
            )
    return None


def _cell(numbers, positions, cell, pbc) -> str | None:
    given = cell.any(axis=1)
    for axis in np.flatnonzero(pbc & ~given).tolist():
        return (
            f"it is periodic along its {_ORDINALS[axis]} cell vector, which is zero; give the vector, or "
            "make this direction not periodic"
        )
    vectors = cell[given]
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(vectors) and np.linalg.svd(directions, compute_uv=False)[-1] < _RANK:
        rows = ", ".join("(" + " ".join(f"{value:g}" for value in row) + ")" for row in cell)
        return (
            f"its cell vectors {rows} Å are linearly dependent; give independent ones, or zero for a "
            "direction that is not periodic"
        )
    return None


def _coincident(numbers, positions, cell, pbc) -> str | None:
    if not pbc.any():  # the common case of many molecules, without the search for images
        pairs = cKDTree(positions).query_pairs(COINCIDENT, output_type="ndarray")
        if len(pairs) == 0:
            return None
        (i, j), image = pairs[0].tolist(), ""
        distance = float(np.linalg.norm(positions[i] - positions[j]))
    else:
        neighbours = Neighbours(ase.Atoms(numbers, positions, cell=cell, pbc=pbc), COINCIDENT)
        close = np.flatnonzero(neighbours.count(COINCIDENT) > 1)
        if len(close) == 0:
            return None
        first, second, cell_offset, vector = neighbours.of(close[:1], COINCIDENT)
        i, j, distance = int(first[0]), int(second[0]), float(np.linalg.norm(vector[0]))
        image = " (a periodic image)" if cell_offset[0].any() else ""
    return (
        f"atom {i} ({chemical_symbols[numbers[i]]}) and atom {j} ({chemical_symbols[numbers[j]]}){image} are "
        f"{distance:.3g} Å apart, where at least {COINCIDENT:g} Å are expected; take one of them out, or mend "
        "the cell"
    )


def periodic_area(atoms: ase.Atoms) -> float:
    """Return the area of the periodic plane in Å², 0 if there are less than two periodic directions.

    Where all three directions are periodic it is the plane of the first two cell vectors.
    """
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) < 2:
        return 0.0
    first, second = atoms.cell.array[periodic[:2]]
    return float(np.linalg.norm(np.cross(first, second)))
