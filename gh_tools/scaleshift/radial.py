"""The radial envelope of all fits over distances, which networks take from e3x."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float


def smooth_cutoff(x: Float[Any, " n"]) -> Float[Any, " n"]:
    """Return exp(1 - 1/(1 - x²)) for x < 1, and 0 beyond: 1 at x = 0, and smooth everywhere.

    Args:
        x: distances over the cutoff, in NumPy or, in double precision, in JAX.

    Returns:
        The envelope; the same as e3x's function of this name.
    """
    xp = x.__array_namespace__()
    inside = xp.minimum(x, 1.0 - 1e-9)
    return xp.where(x < 1.0, xp.exp(1.0 - 1.0 / (1.0 - inside**2)), 0.0)
