"""Irreps of pairs in the frame of their bond, where the bond points along +z.

The rotation is R = Ry(-θ) Rz(-φ) for a bond of polar angle θ and azimuth φ. A rotation about z mixes the
components m and -m alone; a rotation about y is one about z between two rotations by 90° about x, which are
constant matrices: so no Wigner matrix is made for any bond. What is built on the frame must not depend
on rotations about the bond, so that the azimuth of a bond along z may be anything; it is zero here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from gh_tools.orbitals.irreps import Irreps
from gh_tools.orbitals.order import clebsch_gordan

Frame = Literal["global", "bond"]
FRAMES: tuple[Frame, ...] = ("global", "bond")

# Å. Bonds off the z axis by less count as along it. It is a power of two and compared with the
# coordinates themselves, so that single and double precision agree about every bond.
POLE = 2.0**-30

# Harmonics of degree 1 are y, z, x: the rotation about x that takes y to z and z to -y.
_ROTATION_ABOUT_X = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@lru_cache(maxsize=16)
def rotation_about_x(degree: int) -> Float[np.ndarray, "components components"]:
    """Return the matrix that rotates harmonics of one degree by 90° about x, which takes y to z.

    Degree l is a part of the product of degrees l - 1 and 1, which are rotated one by one: with Clebsch-Gordan
    coefficients C, D^l = C (D^(l-1) ⊗ D^1) Cᵀ.
    """
    if degree == 0:
        return np.ones((1, 1))
    if degree == 1:
        return _ROTATION_ABOUT_X
    product = clebsch_gordan(degree - 1, 1)[degree]
    rotated = np.einsum("ai,bj,ijm->abm", rotation_about_x(degree - 1), _ROTATION_ABOUT_X, product)
    return np.einsum("abn,abm->nm", product, rotated)


def bond_angles(vectors: Any, xp: Any = np) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return cosine and sine of the azimuth φ and the polar angle θ of bonds.

    Args:
        vectors: of bonds, in Å, [pairs, 3].
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        (cos φ, sin φ), (cos θ, sin θ), each [pairs].
    """
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    pole = xp.maximum(abs(x), abs(y)) < POLE
    x, y = xp.where(pole, 1.0, x), xp.where(pole, 0.0, y)
    rho = xp.sqrt(x * x + y * y)
    across = xp.where(pole, 0.0, rho)
    r = xp.sqrt(across * across + z * z)
    return (x / rho, y / rho), (z / r, across / r)


def multiples(cosine: Any, sine: Any, top: int, xp: Any = np) -> tuple[Any, Any]:
    """Return cos(nφ) and sin(nφ) of n = 0, 1, … top on a new last axis, by Chebyshev's recurrence.

    Args:
        cosine: cos φ, of any shape.
        sine: sin φ.
        top: largest n.
        xp: NumPy or JAX's NumPy.
    """
    cosines, sines = [xp.ones_like(cosine), cosine], [xp.zeros_like(sine), sine]
    for _ in range(2, top + 1):
        cosines.append(2 * cosine * cosines[-1] - cosines[-2])
        sines.append(2 * cosine * sines[-1] - sines[-2])
    return xp.stack(cosines[: top + 1], axis=-1), xp.stack(sines[: top + 1], axis=-1)


def to_frame(
    frame: Frame,
    irreps: Irreps,
    components: Float[np.ndarray, "pairs components"],
    vectors: Float[np.ndarray, "pairs 3"],
) -> Float[np.ndarray, "pairs components"]:
    """Return irreps, given along the structure's axes, in a frame.

    Args:
        frame: ``bond`` for the frame of each pair's bond, ``global`` for what they have already.
        irreps: what the components are.
        components: of the blocks of one species pair.
        vectors: from the first to the second atom, in Å.
    """
    if frame == "global":
        return components
    (cos_phi, sin_phi), (cos_theta, sin_theta) = bond_angles(np.asarray(vectors, dtype=float))
    about_x = _sparse_rotation_about_x(irreps)
    rotated = about_x @ _rotate_z(components, irreps, cos_phi, -sin_phi).T
    return (about_x.T @ _rotate_z(rotated.T, irreps, cos_theta, -sin_theta).T).T


def from_frame(
    frame: Frame,
    irreps: Irreps,
    components: Float[Any, "pairs components"],
    vectors: Float[Any, "pairs 3"],
) -> Float[Any, "pairs components"]:
    """Return irreps, given in a frame, along the structure's axes: undo :func:`to_frame`.

    Arrays of JAX are rotated by JAX, in the precision of ``vectors``.

    Args:
        frame: that the components are in, ``bond`` or ``global``.
        irreps: what the components are.
        components: of the blocks of one species pair.
        vectors: from the first to the second atom, in Å.
    """
    if frame == "global":
        return components
    xp = vectors.__array_namespace__()
    about_x = _sparse_rotation_about_x(irreps)
    if xp is np:
        vectors = np.asarray(vectors, dtype=float)
    else:
        about_x = xp.asarray(about_x.toarray())
    (cos_phi, sin_phi), (cos_theta, sin_theta) = bond_angles(vectors, xp)
    rotated = _rotate_z((about_x @ components.T).T, irreps, cos_theta, sin_theta)
    return _rotate_z((about_x.T @ rotated.T).T, irreps, cos_phi, sin_phi)


def _rotate_z(components, irreps: Irreps, cosine, sine):
    """Rotate about z: component m takes cos(mα) of itself and, of -m, sin(mα) with a sign."""
    cosines, sines = multiples(cosine, sine, int(irreps.l.max()), cosine.__array_namespace__())
    order = np.abs(irreps.m)
    return components * cosines[:, order] + components[:, _opposite(irreps)] * (
        -np.sign(irreps.m) * sines[:, order]
    )


def _opposite(irreps: Irreps) -> Int[np.ndarray, " components"]:
    """Where the component -m of the same irrep stands: components of an irrep follow each other."""
    return np.arange(irreps.size) - 2 * irreps.m


def _sparse_rotation_about_x(irreps: Irreps) -> sparse.csr_matrix:
    degrees = irreps.l[irreps.m == -irreps.l]  # one entry an irrep, in their order
    return sparse.block_diag(
        [rotation_about_x(degree) for degree in degrees.tolist()], format="csr"
    )


def exchange_atoms(
    irreps: Irreps, frame: Frame = "bond"
) -> tuple[Int[np.ndarray, " components"], Int[np.ndarray, " components"]]:
    """Return what exchanging the two atoms of a like pair does to irreps.

    The block of the exchanged pair is the transpose, and the bond's frame is rotated by π about y.

    Args:
        irreps: of a pair of like atoms.
        frame: that they are in.

    Returns:
        ``partner`` and ``sign``: component c becomes ``sign[c]`` times component ``partner[c]``.
    """
    names = list(zip(irreps.spin, irreps.shell_a, irreps.shell_b, irreps.l, irreps.m, strict=True))
    place = {name: index for index, name in enumerate(names)}
    partner = [place[spin, b, a, degree, m] for spin, a, b, degree, m in names]
    transposed = 1 - 2 * irreps.parity  # C(l1 l2 l) and C(l2 l1 l) differ by (-1)^(l1 + l2 + l)
    if frame == "global":
        return np.array(partner), transposed
    rotated = (1 - 2 * (irreps.l % 2)) * np.where(irreps.m < 0, -1, 1)
    return np.array(partner), transposed * rotated
