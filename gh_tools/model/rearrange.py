"""Sorting columns, row by row, with a gradient that gathers instead of scattering."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.custom_vjp
def rearrange(
    values: Float[Array, "rows m"], source: Int[Array, "rows n"], target: Int[Array, "rows m"]
) -> Float[Array, "rows n"]:
    """Take values[r, source[r, c]] for each row r and column c.

    Args:
        values: what is sorted. A last column that holds zeros stands for columns that come from nowhere.
        source: column that each result comes from, each but the last at most once.
        target: for each column of the values its place in the result, or n if it is in none.
    """
    return jnp.take_along_axis(values, source, axis=1)


def _forward(values, source, target):
    return rearrange(values, source, target), target


def _backward(target, slope):
    padded = jnp.concatenate([slope, jnp.zeros_like(slope[:, :1])], axis=1)
    return jnp.take_along_axis(padded, target, axis=1), None, None


rearrange.defvjp(_forward, _backward)


@jax.custom_vjp
def exchange(values: Float[Array, "n ..."], partner: Int[Array, "n"]) -> Float[Array, "n ..."]:
    """Take values[partner], where the partner of each one's partner is itself."""
    return values[partner]


exchange.defvjp(
    lambda values, partner: (values[partner], partner),
    lambda partner, slope: (slope[partner], None),
)
