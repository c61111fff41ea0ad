"""Sorting along the first axis, with gradients that gather instead of scattering."""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@runtime_checkable
class Table(Protocol):
    """Which value becomes which component, for each kind of row; see :class:`BondColumns`."""

    source: Int[np.ndarray, "types components"]
    sign: Float[np.ndarray, "types components"]
    target: Int[np.ndarray, "types values"]
    value_sign: Float[np.ndarray, "types values"]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def select(
    values: Float[Array, "kinds values rows"],
    kind: Float[Array, "kinds rows"],
    table: Table,
    kinds: Int[Array, " kinds"] | None = None,
) -> Float[Array, "components rows"]:
    """Sort, for each row, the values that belong to its kind.

    Args:
        values: of each row as though it were of each kind.
        kind: one at the kind of each row, else zero.
        table: ``source`` and ``sign`` of components; the sign is zero where there is none.
        kinds: which of the table's kinds are there; all unless given.
    """
    return _sorted(values, _of(kinds, table.source), _of(kinds, table.sign), kind).sum(axis=0)


def _select_backward(table, kept, cotangent):
    # Each value becomes one component or none.
    kind, kinds = kept
    cotangents = jnp.broadcast_to(cotangent, (len(kind), *cotangent.shape))
    target, sign = _of(kinds, table.target), _of(kinds, table.value_sign)
    return _sorted(cotangents, target, sign, kind), None, None


def _of(kinds, rows):
    return rows if kinds is None else jnp.asarray(rows)[kinds]


def _sorted(values, place, sign, kind):
    n_types, n_values, n_rows = values.shape
    flat = (n_values * np.arange(n_types)[:, None] + place).reshape(-1)
    found = values.reshape(-1, n_rows)[flat].reshape(*place.shape, n_rows)
    return found * jnp.asarray(sign, values.dtype)[:, :, None] * kind[:, None]


select.defvjp(
    lambda values, kind, table, kinds: (select(values, kind, table, kinds), (kind, kinds)),
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
