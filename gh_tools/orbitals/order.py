"""The one owner of the order of orbitals.

Orbitals are real spherical harmonics times a radial function. Within an atom, shells follow each
other in the order of its `ElementBasis`; within a shell, m runs from -l to l. That is the order of
GPAW, and that of e3x with ``cartesian_order=False``: for l = 1 it reads y, z, x. In a structure,
atoms follow each other in the order of their positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial

import numpy as np
from jaxtyping import Float, Int

M_ORDER = "m from -l to l"


def _ascending(degree: int) -> tuple[int, ...]:
    return tuple(range(-degree, degree + 1))


def _zero_plus_minus(degree: int) -> tuple[int, ...]:
    return (0, *(sign * m for m in range(1, degree + 1) for sign in (1, -1)))


def _openmx(degree: int) -> tuple[int, ...]:
    # p: x, y, z; d: z², x²-y², xy, xz, yz; f and above: 0, +1, -1, +2, -2, ...
    special = {1: (1, -1, 0), 2: (0, 2, -2, 1, -1)}
    return special.get(degree, _zero_plus_minus(degree))


def _no_sign(m: int) -> int:
    return 1


def _condon_shortley(m: int) -> int:
    return -1 if m % 2 else 1


def _odd_positive(m: int) -> int:
    return -1 if m > 0 and m % 2 else 1


# How programs order the functions of a shell, as our m of each, and with what sign they take them.
CONVENTIONS: dict[str, tuple[Callable[[int], tuple[int, ...]], Callable[[int], int]]] = {
    "gh-tools": (_ascending, _no_sign),
    "openmx": (_openmx, _no_sign),
    "abacus": (_zero_plus_minus, _condon_shortley),
    "siesta": (_ascending, _condon_shortley),
    "fhi-aims": (_ascending, _odd_positive),
}


def shell_convention(
    program: str, degree: int
) -> tuple[Int[np.ndarray, " orbitals"], Int[np.ndarray, " orbitals"]]:
    """Return how a program orders the functions of a shell, and their signs.

    Args:
        program: a key of `CONVENTIONS`.
        degree: l of the shell.

    Returns:
        For each function of the program's shell, in its order: m of our function, and the factor ±1 such that
        the program's function is that factor times ours.
    """
    order, sign = CONVENTIONS[program]
    m = order(degree)
    return np.array(m), np.array([sign(value) for value in m])


def orbital_places(
    program: str, degrees: Sequence[int]
) -> tuple[Int[np.ndarray, " orbitals"], Int[np.ndarray, " orbitals"]]:
    """Return where the orbitals of an atom in a program's order stand in ours, and their signs.

    Args:
        program: a key of `CONVENTIONS`.
        degrees: l of each shell, in an order that the program and we share.
    """
    places, signs, start = [np.zeros(0, int)], [np.zeros(0, int)], 0
    for degree in degrees:
        m, sign = shell_convention(program, degree)
        places.append(start + degree + m)
        signs.append(sign)
        start += 2 * degree + 1
    return np.concatenate(places), np.concatenate(signs)


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
    import jax

    rotation = np.asarray(rotation, dtype=np.float64)
    parity = np.sign(np.linalg.det(rotation))
    with jax.enable_x64(True):
        full = np.asarray(_wigner_d(max(degrees, default=0))(parity * rotation))
    matrix = np.zeros((sum(2 * degree + 1 for degree in degrees),) * 2)
    start = 0
    for degree in degrees:
        block, harmonics = slice(start, start + 2 * degree + 1), slice(degree**2, (degree + 1) ** 2)
        matrix[block, block] = parity**degree * full[harmonics, harmonics]
        start = block.stop
    return matrix


@cache
def _wigner_d(max_degree: int):
    """Return e3x's function for one degree as one program; operation by operation, each would be compiled."""
    import e3x
    import jax

    return jax.jit(partial(e3x.so3.wigner_d, max_degree=max_degree, cartesian_order=False))
