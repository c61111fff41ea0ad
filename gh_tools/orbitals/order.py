"""The one owner of the order of orbitals.

Orbitals are real spherical harmonics times a radial function. Within an atom, shells follow each
other in the order of its `ElementBasis`; within a shell, m runs from -l to l. That is the order of
GPAW, and that of e3x with ``cartesian_order=False``: for l = 1 it reads y, z, x. In a structure,
atoms follow each other in the order of their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

M_ORDER = "m from -l to l"


# Tables are taken from e3x up to this degree at least, so that there is one for nearly all of them.
_USUAL_DEGREE = 4


def clebsch_gordan(
    l1: int, l2: int
) -> dict[int, Float[np.ndarray, "orbitals1 orbitals2 components"]]:
    """Clebsch-Gordan coefficients of real harmonics for l1 ⊗ l2 = ⊕ l.

    Args:
        l1: degree of the first factor.
        l2: degree of the second factor.

    Returns:
        For each l from |l1 - l2| to l1 + l2 the coefficients C[m1, m2, m] in double precision.
        Together they are an orthonormal transform of the (2 l1 + 1)(2 l2 + 1) products.
    """
    table = _clebsch_gordan_table(max(l1, l2, _USUAL_DEGREE))
    rows, columns = slice(l1**2, (l1 + 1) ** 2), slice(l2**2, (l2 + 1) ** 2)
    return {
        degree: table[rows, columns, degree**2 : (degree + 1) ** 2]
        for degree in range(abs(l1 - l2), l1 + l2 + 1)
    }


@lru_cache(maxsize=4)
def _clebsch_gordan_table(max_degree: int) -> Float[np.ndarray, "lm1 lm2 lm"]:
    # e3x reads its file at each call, which takes longer than anything that is done with it here.
    import e3x
    import jax

    with jax.enable_x64(True):
        return np.asarray(
            e3x.so3.clebsch_gordan(max_degree, max_degree, 2 * max_degree, cartesian_order=False)
        )


def wigner_d(
    degrees: Sequence[int], rotation: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "orbitals orbitals"]:
    """Matrix D that rotations orbitals with a rotation or a rotoinversion: Y(R r) = D Y(r).

    A block between atoms i and j of the rotated system is D_i H_ij D_jᵀ.

    Args:
        degrees: degree l of each shell of the atom.
        rotation: orthogonal matrix; if its determinant is -1, the shell l takes the parity (-1)^l.
    """
    import e3x
    import jax

    rotation = np.asarray(rotation, dtype=np.float64)
    parity = np.sign(np.linalg.det(rotation))
    top = max(degrees, default=0)
    with jax.enable_x64(True):
        full = np.asarray(e3x.so3.wigner_d(parity * rotation, top, cartesian_order=False))
    matrix = np.zeros((sum(2 * degree + 1 for degree in degrees),) * 2)
    start = 0
    for degree in degrees:
        block, harmonics = slice(start, start + 2 * degree + 1), slice(degree**2, (degree + 1) ** 2)
        matrix[block, block] = parity**degree * full[harmonics, harmonics]
        start = block.stop
    return matrix
