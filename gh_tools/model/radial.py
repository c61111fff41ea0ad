"""Expansion of a vector in radial functions and spherical harmonics."""

from __future__ import annotations

import e3x
import jax.numpy as jnp
from jaxtyping import Array, Float


def radial_functions(
    name: str, distance: Float[Array, "vectors"], cutoff: Float[Array, "vectors"] | float, count: int
) -> Float[Array, "vectors radial"]:
    """Evaluate e3x's radial functions of the distance over the cutoff.

    Args:
        name: of the functions in e3x.
        distance: in Å.
        cutoff: in Å.
        count: how many.
    """
    return getattr(e3x.nn, name)(distance / cutoff, num=count, limit=1.0)


def harmonics(vector: Float[Array, "vectors 3"], max_degree: int) -> Float[Array, "vectors lm"]:
    """Evaluate real spherical harmonics (Racah's normalisation) in the order of orbitals."""
    return e3x.so3.spherical_harmonics(vector, max_degree, cartesian_order=False)


def expand_degrees(
    per_degree: Float[Array, "*batch degrees features"],
) -> Float[Array, "*batch lm features"]:
    """Repeat what is given once a degree for each of its 2l + 1 components."""
    degrees = jnp.arange(per_degree.shape[-2])
    return jnp.repeat(
        per_degree, 2 * degrees + 1, axis=-2, total_repeat_length=per_degree.shape[-2] ** 2
    )
