"""Supercells of every shape: which there are, which are compact, and one drawn at random.

In a small periodic cell an atom and its images move together. A network trained on one shape of cell learns
correlations that a larger cell does not have; cells of several shapes tell an atom and its images apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from jaxtyping import Float, Int
from pydantic import AfterValidator, BeforeValidator, PositiveInt

from gh_tools.errors import DataError
from gh_tools.orbitals.lattice import shortest_combination

# A shape is compact enough whose shortest lattice vector has at least this part of the longest that any shape of
# as many primitive cells has.
_COMPACT = 0.6


def _ascending(limits: tuple[int, int]) -> tuple[int, int]:
    if limits[0] > limits[1]:
        raise ValueError("the limits are to ascend")
    return limits


# Least and largest number of something.
Limits = Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_ascending)]


def _size(directions: int) -> BeforeValidator:
    example = [2] * directions

    def check(size: object) -> object:
        counts = size if isinstance(size, (list, tuple)) else ()
        whole = all(type(count) is int and count > 0 for count in counts)
        if size != "varied" and not (len(counts) == directions and whole):
            raise ValueError(f'expected numbers of cells, as in {example}, or "varied"')
        return size

    return BeforeValidator(check)


# Numbers of cells of a layer and of a bulk crystal.
LayerSize = Annotated[tuple[PositiveInt, PositiveInt] | Literal["varied"], _size(2)]
BulkSize = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt] | Literal["varied"], _size(3)]


def hermite_normal_forms(index: int, dimension: int) -> Int[np.ndarray, "n d d"]:
    """Return one integer matrix for each sublattice of a lattice.

    Every sublattice of index n has exactly one basis whose matrix is lower triangular, with a product of diagonal
    elements of n, and with elements below the diagonal that are at least 0 and less than the diagonal element of
    their column (Hermite normal form; Santoro and Mighell, Acta Cryst. A 28, 284 (1972)).

    Args:
        index: number n of primitive cells in the supercell.
        dimension: number d of periodic directions, 1 to 3.

    Returns:
        The matrices; rows are supercell vectors in units of the primitive ones. In two dimensions there are as many as
        the divisors of n sum up to.
    """
    forms = []
    for diagonal in _factorisations(index, dimension):
        columns = [range(diagonal[c]) for r in range(dimension) for c in range(r)]
        for below in product(*columns):
            form = np.diag(diagonal)
            form[np.tril_indices(dimension, -1)] = below
            forms.append(form)
    return np.array(forms, dtype=np.int64)


def _factorisations(number: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(number,)]
    return [
        (first, *rest)
        for first in range(1, number + 1)
        if number % first == 0
        for rest in _factorisations(number // first, parts - 1)
    ]


def compact_supercells(vectors: Float[np.ndarray, "d 3"], index: int) -> Int[np.ndarray, "n d d"]:
    """Return the compact supercells of ``index`` primitive cells, each reduced.

    Args:
        vectors: the primitive vectors of the d periodic directions, in Å.
        index: number of primitive cells.

    Returns:
        Integer matrices of determinant ±``index``, whose rows times ``vectors`` are Minkowski-reduced (as short as they
        can be). Those with a shortest lattice vector below 0.6 of the longest one that any shape has are left out:
        in them an atom is next to its own images.
    """
    key = tuple(map(tuple, np.asarray(vectors, dtype=float).tolist()))
    return _compact_supercells(key, index)


@lru_cache(maxsize=64)
def _compact_supercells(key: tuple, index: int) -> Int[np.ndarray, "n d d"]:
    vectors = np.array(key)
    reduced, shortest = [], []
    for form in hermite_normal_forms(index, len(vectors)):
        sublattice = form @ vectors
        change = shortest_combination(sublattice)
        reduced.append(change @ form)
        shortest.append(np.linalg.norm(change @ sublattice, axis=1).min())
    keep = np.array(shortest) >= _COMPACT * max(shortest)
    return np.array(reduced)[keep]


def primitive_counts(n_atoms: int, limits: tuple[int, int]) -> range:
    """Return the numbers of primitive cells whose supercells have between so many atoms.

    Args:
        n_atoms: atoms of a primitive cell.
        limits: smallest and largest number of atoms.

    Raises:
        DataError: no whole number of cells lies between them.
    """
    low, high = limits
    counts = range(max(1, -(-low // n_atoms)), high // n_atoms + 1)
    if not counts:
        raise DataError(
            f"no supercell has {low} to {high} atoms: the cell has {n_atoms}, and whole numbers of it are "
            "repeated; set other limits"
        )
    return counts


def random_supercell(atoms: Atoms, index: int, rng: np.random.Generator) -> Atoms:
    """Repeat a cell to a compact supercell of random shape.

    All compact supercells of that size are equally likely.

    Args:
        atoms: the cell; directions that are not periodic stay as they are.
        index: number of cells in the supercell.
        rng: where the shape comes from.

    Returns:
        The supercell.

    Raises:
        DataError: the structure is not periodic.
    """
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) == 0:
        raise DataError(
            "a supercell is asked for, but the structure is not periodic; leave size out"
        )
    shapes = compact_supercells(atoms.cell.array[periodic], index)
    matrix = np.eye(3, dtype=np.int64)
    matrix[np.ix_(periodic, periodic)] = shapes[rng.integers(len(shapes))]
    return supercell(atoms, matrix)


def resized(
    atoms: Atoms,
    size: Sequence[int] | Literal["varied"],
    cells: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Atoms, int]:
    """Repeat the unit cell of a crystal as often as a recipe says.

    Args:
        atoms: the unit cell.
        size: numbers of cells along the first cell vectors, or "varied": a compact supercell of random shape.
        cells: least and largest number of cells of such a one; all are equally likely.
        rng: where number and shape come from, if they are varied.

    Returns:
        The supercell, and the number of cells in it.
    """
    if size == "varied":
        index = int(rng.integers(cells[0], cells[1] + 1))
        return random_supercell(atoms, index, rng), index
    counts = (*(int(count) for count in size), 1)[:3]
    return atoms.repeat(counts), int(np.prod(counts))


def supercell(atoms: Atoms, matrix: Int[np.ndarray, "3 3"]) -> Atoms:
    """Repeat a cell to the supercell whose vectors are ``matrix`` times its own.

    Args:
        atoms: the cell.
        matrix: integers; rows are supercell vectors in units of the cell's.

    Returns:
        The supercell, right-handed where ``atoms`` is, with atoms wrapped into it along periodic directions.

    Raises:
        DataError: the matrix is singular, or mixes periodic directions with others.
    """
    matrix = np.asarray(matrix)
    determinant = round(float(np.linalg.det(matrix)))
    if determinant == 0:
        raise DataError(
            f"the supercell {matrix.tolist()} has no volume; its rows must be linearly independent"
        )
    if (
        not np.array_equal(matrix[~atoms.pbc], np.eye(3, dtype=int)[~atoms.pbc])
        or matrix[np.ix_(atoms.pbc, ~atoms.pbc)].any()
    ):
        raise DataError(
            f"the supercell {matrix.tolist()} repeats a direction that is not periodic "
            f"(pbc is {atoms.pbc.tolist()}); leave that direction as it is, or set pbc"
        )
    if determinant < 0:
        matrix = matrix.copy()
        matrix[np.flatnonzero(atoms.pbc)[0]] *= -1
    # Directions that are not periodic may have no cell vector, which ASE's function needs.
    complete = atoms.copy()
    complete.set_cell(atoms.cell.complete())
    result = make_supercell(complete, matrix, wrap=False)
    cell = result.cell.array.copy()
    cell[~atoms.cell.any(1)] = 0
    result.set_cell(cell)
    result.wrap()
    return result
