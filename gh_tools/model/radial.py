"""Expansion of a vector in radial functions and spherical harmonics."""

from __future__ import annotations

import e3x
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Fraction of a pair's cutoff from where its irreps are led to zero.
SWITCH_START = 0.8


def radial_basis_functions(
    name: str,
    distance: Float[Array, " vectors"],
    cutoff: Float[Array, " vectors"] | float,
    count: int,
) -> Float[Array, "vectors radial"]:
    """Evaluate e3x's radial functions of the distance over the cutoff.

    Args:
        name: of the functions in e3x.
        distance: in Å.
        cutoff: in Å.
        count: how many.
    """
    return getattr(e3x.nn, name)(distance / cutoff, num=count, limit=1.0)


def pair_envelope(
    vector: Float[Array | np.ndarray, "pairs 3"], cutoff: Float[Array | np.ndarray, " pairs"]
) -> Float[Array, " pairs"]:
    """Return the factors that lead the irreps of pairs to zero: 1 within 0.8 of the cutoff, 0 at it, smooth between.

    Args:
        vector: from one atom of each pair to the other, in Å.
        cutoff: of each pair, in Å.
    """
    distance = jnp.linalg.norm(vector, axis=-1)
    return 1.0 - e3x.nn.smooth_switch(distance / cutoff, SWITCH_START, 1.0)


def harmonics(
    vector: Float[Array | np.ndarray, "vectors 3"], max_degree: int
) -> Float[Array, "vectors lm"]:
    """Evaluate real spherical harmonics (Racah's normalisation) in the order of orbitals."""
    return e3x.so3.spherical_harmonics(vector, max_degree, cartesian_order=False)


def degree_matrix(max_degree: int) -> Float[np.ndarray, "lm degrees"]:
    """Return 1 where a component belongs to a degree, and 0 elsewhere.

    A product with it broadcasts values of degrees to their components, and one with its transpose sums over the
    components of a degree. Both compile to one kernel, where slices and gathers take many.
    """
    degrees = np.arange(max_degree + 1)
    return np.repeat(np.eye(max_degree + 1, dtype=np.float32), 2 * degrees + 1, axis=0)
