"""The basis of a lattice that suits a grid best: short vectors, as orthogonal as may be."""

from __future__ import annotations

import itertools

import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Bool, Float, Int

# A basis serves if its measure exceeds the least one by no more: strain of some per cent does not change
# the basis of a hexagonal or cubic lattice, and the second best basis of the fcc lattice has 11 % more.
_TOLERANCE = 0.1
_NEGLIGIBLE = 1e-12  # Å: what vectors that are orthogonal may have along each other by rounding


def reduced_basis(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, "3 3"]]:
    """Return the reduced basis of the lattice of a cell, and an orthogonal box where it is not periodic.

    If the points of a grid lie in planes h apart, their distance along the cell vector a_i is h·|a_i||b_i|,
    where b_i is the dual vector. So the measure of a basis is Σ_i |a_i|²|b_i|² over the periodic directions,
    which is their number for orthogonal vectors and more for all others (M. Seysen, Combinatorica 13, 363
    (1993)). Vectors whose measure is within 10 % of the least are returned as they are. Otherwise the lattice
    alone decides among the bases within 10 %: all skewed cells of one lattice get the same basis.

    Args:
        cell: cell vectors as rows, in Å; independent, or zero along directions that are not periodic.
        pbc: which directions are periodic.

    Returns:
        The basis as rows, in Å; and the integer matrix U, of determinant ±1, that gives its vectors along
        periodic directions, U @ cell. A vector along a direction that is not periodic is the part of the
        given one that is orthogonal to the periodic ones and to those before it; U is the unit matrix there.
    """
    pbc = np.asarray(pbc, dtype=bool)
    basis = np.array(cell, dtype=np.float64)
    to_cell = np.eye(3, dtype=np.int64)
    if pbc.sum() > 1:
        given = basis[pbc]
        combination = _best_combination(given, minkowski_reduce(cell, pbc)[1][np.ix_(pbc, pbc)])
        if combination is not None:
            to_cell[np.ix_(pbc, pbc)] = combination
            # The same digits, from whatever cell.
            basis[pbc] = np.round(combination @ given, 12)
    return _with_orthogonal_box(basis, pbc), to_cell


def change_of_basis(
    cell: Float[np.ndarray, "3 3"], basis: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Int[np.ndarray, "3 3"]:
    """Return the integer matrix U with basis = U @ cell along the periodic directions of two cells of a lattice.

    A lattice vector of components R in the basis has R @ U in the cell; a k-point of components k in units
    of the cell's reciprocal vectors has U @ k in units of the basis's.

    Args:
        cell: cell vectors as rows, in Å.
        basis: those of the other cell.
        pbc: which directions are periodic.

    Returns:
        U; the unit matrix for directions that are not periodic.
    """
    change = np.eye(3, dtype=np.int64)
    change[np.ix_(pbc, pbc)] = np.rint(basis[pbc] @ np.linalg.pinv(cell[pbc]))
    return change


def kpoints_in_cell(
    kpoints: Float[np.ndarray, "kpoints 3"], change: Int[np.ndarray, "3 3"]
) -> Float[np.ndarray, "kpoints 3"]:
    """Return k-points in units of the cell's reciprocal vectors, given those in units of the basis's.

    Args:
        kpoints: components in units of the reciprocal vectors of the basis.
        change: U of `change_of_basis`; k-points are left as they are if it is the unit matrix.

    Returns:
        The components, each from above -1/2 to 1/2.
    """
    if (change == np.eye(3)).all():
        return kpoints
    points = kpoints @ np.rint(np.linalg.inv(change)).T
    return points - np.ceil(points - 0.5 - 1e-9)


def _best_combination(given, minkowski) -> Int[np.ndarray, "d d"] | None:
    """Return the integer combinations of vectors that form the reduced basis; None if these do."""
    d = len(given)
    # Vectors of short bases are sums and differences of those of a Minkowski-reduced one.
    shortest = np.array(list(itertools.product((-1, 0, 1), repeat=d)))[3**d // 2 + 1 :]
    bases = shortest[list(itertools.combinations(range(len(shortest)), d))]
    bases = bases[np.abs(np.rint(np.linalg.det(bases))) == 1] @ minkowski
    vectors = bases @ given
    measure = _measure(vectors)
    limit = (1 + _TOLERANCE) * measure.min()
    if _measure(given[None])[0] <= limit:
        return None
    good = np.flatnonzero(measure <= limit)
    # Of equals, those vectors (but for signs and order) that are usual for fcc and hexagonal crystals.
    metric = np.einsum("nda,ndb->nab", vectors[good], vectors[good])
    yz, xz, xy, yy, xx = metric[:, [1, 0, 0, 1, 0], [2, 2, 1, 1, 0]].T / np.trace(metric[0])
    chosen = bases[good[np.lexsort(np.round([yz, xz, xy, yy, xx, 2 * (yz + xz) - xy], 6))[-1]]]
    vectors = np.round(chosen @ given, 9)
    sign = np.array([np.sign(row[np.flatnonzero(row)[-1]]) for row in vectors], dtype=np.int64)
    length = np.linalg.norm(vectors, axis=1).round(6)
    return (sign[:, None] * chosen)[np.lexsort((*(sign[:, None] * vectors).T, length))]


def _measure(bases: Float[np.ndarray, "n d 3"]) -> Float[np.ndarray, "n"]:
    metric = bases @ bases.swapaxes(1, 2)
    return np.einsum("nii,nii->n", metric, np.linalg.inv(metric))


def _with_orthogonal_box(basis, pbc) -> Float[np.ndarray, "3 3"]:
    """Take from each vector along a direction that is not periodic what it has along the others."""
    basis = basis.copy()
    before = basis[pbc]
    for axis in np.flatnonzero(~pbc & basis.any(axis=1)):
        along = basis[axis] @ np.linalg.pinv(before) @ before if len(before) else np.zeros(3)
        if np.linalg.norm(along) > _NEGLIGIBLE:
            basis[axis] -= along
        before = np.vstack([before, basis[axis]])
    return basis
