"""The basis of a lattice that suits a grid best: short vectors, as orthogonal as may be."""

from __future__ import annotations

import itertools

import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Bool, Float, Int

from gh_tools.errors import DataError

# Limits are wide enough that strain of some per cent does not change the basis of a hexagonal or cubic
# lattice, and exclude the second best basis of the fcc lattice, whose measure is 11 % larger.
_LONGER = 0.2
_MEASURE = 0.1
_NEGLIGIBLE = 1e-12  # Å: what vectors that are orthogonal may have along each other by rounding


def reduced_basis(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, "3 3"]]:
    """Return the reduced basis of the lattice of a cell, and an orthogonal box where it is not periodic.

    A basis is reduced in the sense of Minkowski if no vector gets shorter by adding a sum w of shorter
    ones. The points of a grid in planes h apart have the distance h·|a_i||b_i| along the vector a_i, where
    b_i is the dual vector: Σ_i |a_i|²|b_i|² is the number of periodic directions for orthogonal vectors and
    larger for all others (M. Seysen, Combinatorica 13, 363 (1993)). A basis serves if no |a_i|² falls by
    more than 20 % of |w|², and if that sum is within 10 % of the least among such. Of those that serve, the
    lattice alone decides which is taken, see `_preferred`: all cells of one lattice get the same vectors.
    A cell that has these, with any signs and in any order, is returned as it is.

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
        combination = _best_combination(given, shortest_combination(given / np.abs(given).max()))
        if combination is not None:
            to_cell[np.ix_(pbc, pbc)] = combination
            # The same digits, from whatever cell.
            basis[pbc] = np.round(combination @ given, 12)
    return _with_orthogonal_box(basis, pbc), to_cell


def shortest_combination(vectors: Float[np.ndarray, "d 3"]) -> Int[np.ndarray, "d d"]:
    """Return the integer matrix U of determinant ±1 whose U @ vectors is reduced in the sense of Minkowski.

    Unlike those of `reduced_basis`, these vectors are the shortest that there are, and depend on the given ones.

    Args:
        vectors: 1 to 3 independent lattice vectors as rows, in any unit.
    """
    periodic = np.arange(3) < len(vectors)
    cell = np.zeros((3, 3))
    cell[periodic] = vectors
    return minkowski_reduce(cell, periodic)[1][np.ix_(periodic, periodic)]


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

    Raises:
        DataError: the cell is so oblique that U is lost in rounding: angles of some 0.01°.
    """
    change = np.eye(3, dtype=np.int64)
    change[np.ix_(pbc, pbc)] = np.rint(basis[pbc] @ np.linalg.pinv(cell[pbc]))
    if not np.allclose((change @ cell)[pbc], basis[pbc], rtol=0, atol=1e-6):
        raise DataError(
            f"the cell vectors {cell.tolist()} Å are too oblique for the precision of their digits; give "
            "shorter vectors of the same lattice"
        )
    return change


def inverse(change: Int[np.ndarray, "3 3"]) -> Int[np.ndarray, "3 3"]:
    """Return the inverse of an integer matrix of determinant ±1, exactly."""
    adjugate = np.cross(change[[1, 2, 0]], change[[2, 0, 1]]).T
    return adjugate * (change[0] @ adjugate[:, 0])


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
    points = kpoints @ inverse(change).T
    return points - np.ceil(points - 0.5 - 1e-9)


def _best_combination(given, minkowski) -> Int[np.ndarray, "d d"] | None:
    """Return the integer combinations of vectors that form the reduced basis; None if these do."""
    d = len(given)
    # Vectors of short bases are sums and differences of those of a Minkowski-reduced one.
    shortest = np.array(list(itertools.product((-1, 0, 1), repeat=d)))[3**d // 2 + 1 :]
    bases = shortest[list(itertools.combinations(range(len(shortest)), d))]
    bases = bases[np.abs(np.rint(np.linalg.det(bases))) == 1] @ minkowski
    vectors = bases @ given
    short = _is_short(vectors)
    bases, vectors = bases[short], vectors[short]
    measure = _measure(vectors)
    good = np.flatnonzero(measure <= (1 + _MEASURE) * measure.min())
    chosen = bases[good[_preferred(vectors[good])]]
    if (np.abs(chosen).sum(axis=1) == 1).all():
        return None  # the same vectors but for signs and order
    vectors = np.round(chosen @ given, 9)
    sign = np.array([np.sign(row[np.flatnonzero(row)[-1]]) for row in vectors], dtype=np.int64)
    length = np.linalg.norm(vectors, axis=1).round(6)
    return (sign[:, None] * chosen)[np.lexsort((*(sign[:, None] * vectors).T, length))]


def _preferred(bases: Float[np.ndarray, "n d 3"]) -> int:
    """Return the index of the basis in which a crystal is given most often, signs and order apart.

    It has vectors along Cartesian axes or in their planes; of equals, the shortest vectors; of equals, those
    of ASE's fcc and bcc cells, of which no Cartesian axis is special, and those of the hexagonal cell of 120°
    rather than of 60°.
    """
    size = np.linalg.norm(bases, axis=2, keepdims=True)
    aligned = (np.abs(bases) < 1e-6 * size).sum(axis=(1, 2))
    metric = np.einsum("nda,ndb->nab", bases, bases)
    trace = np.trace(metric, axis1=1, axis2=2)
    metric /= trace[:, None, None]
    yz, xz, xy, yy, xx = metric[:, [1, 0, 0, 1, 0], [2, 2, 1, 1, 0]].T.round(6)
    long = (trace / trace.min()).round(6)
    return int(np.lexsort([yz, xz, yy, xx, -xy, np.abs(yz + xz + xy).round(6), -long, aligned])[-1])


def _is_short(bases: Float[np.ndarray, "n d 3"]) -> Bool[np.ndarray, " n"]:
    """Tell which bases are reduced in the sense of Minkowski, within the limit."""
    order = np.argsort(np.linalg.norm(bases, axis=2), axis=1, kind="stable")
    bases = np.take_along_axis(bases, order[:, :, None], axis=1)
    first, second, last = bases[:, 0], bases[:, 1], bases[:, -1]
    sums = [(second, first)]
    if bases.shape[1] == 3:
        sums += [(last, added) for added in (first, second, first + second, first - second)]
    short = np.ones(len(bases), dtype=bool)
    for vector, added in sums:
        along = np.abs(np.einsum("nc,nc->n", vector, added))
        short &= 2 * along <= (1 + _LONGER) * np.einsum("nc,nc->n", added, added)
    return short


def _measure(bases: Float[np.ndarray, "n d 3"]) -> Float[np.ndarray, " n"]:
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
