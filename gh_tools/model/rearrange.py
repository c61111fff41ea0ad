"""Sorting along the first axis, with gradients that gather instead of scattering."""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@runtime_checkable
class Rearrangement(Protocol):
    """Which value becomes which component, for each type of row (an element or a species pair); see :class:`BondColumns`.

    Attributes:
        source: index of the value of each component.
        sign: that it is multiplied with; zero where there is no such component.
        target: index of the component of each value.
        value_sign: sign of that component; zero where there is none.
    """

    source: Int[np.ndarray, "types components"]
    sign: Float[np.ndarray, "types components"]
    target: Int[np.ndarray, "types values"]
    value_sign: Float[np.ndarray, "types values"]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def select_components(
    values: Float[Array, "types values rows"],
    row_type: Float[Array, "types rows"],
    table: Rearrangement,
    types: Int[Array, " types"] | None = None,
) -> Float[Array, "components rows"]:
    """Sort, for each row, the values that belong to its type.

    Args:
        values: of each row as though it were of each type.
        row_type: one at the type of each row, else zero.
        table: ``source`` and ``sign`` of components; the sign is zero where there is none.
        types: which of the table's types are there; all unless given.
    """
    return _sorted(values, _of(types, table.source), _of(types, table.sign), row_type).sum(axis=0)


def _select_backward(table, kept, cotangent):
    # Each value becomes one component or none.
    row_type, types = kept
    cotangents = jnp.broadcast_to(cotangent, (len(row_type), *cotangent.shape))
    target, sign = _of(types, table.target), _of(types, table.value_sign)
    return _sorted(cotangents, target, sign, row_type), None, None


def _of(types, rows):
    return rows if types is None else jnp.asarray(rows)[types]


def _sorted(values, place, sign, row_type):
    n_types, n_values, n_rows = values.shape
    flat = (n_values * np.arange(n_types)[:, None] + place).reshape(-1)
    found = values.reshape(-1, n_rows)[flat].reshape(*place.shape, n_rows)
    return found * jnp.asarray(sign, values.dtype)[:, :, None] * row_type[:, None]


select_components.defvjp(
    lambda values, row_type, table, types: (
        select_components(values, row_type, table, types),
        (row_type, types),
    ),
    _select_backward,
)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def exchange(
    values: Float[Array, "n ..."], partner: Int[np.ndarray, " n"]
) -> Float[Array, "n ..."]:
    """Take values[partner], where the partner of each one's partner is itself."""
    return values[partner]


exchange.defvjp(
    lambda values, partner: (values[partner], None),
    lambda partner, _, cotangent: (cotangent[partner],),
)
