"""Errors of eigenvalues to first order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def first_order_errors(
    prediction, batch
) -> tuple[Float[Array, "atoms rows"], Float[Array, "atoms rows"]]:
    """Return the errors of the chosen eigenvalues that errors of the prediction make, to first order.

    Args:
        prediction: the model's ``Prediction``: scaled irreps.
        batch: a :class:`~gh_tools.training.data.batches.Batch` with rows.

    Returns:
        δε in eV, in the row of each structure's first atom; and weights, which are one there and zero
        in all other rows.
    """
    rows, graph = batch.eigenvalue_rows, batch.graph
    n_atoms = len(graph.species)
    onsite = jnp.einsum("arc,ac->ar", rows.onsite, prediction.onsite - batch.onsite)
    pairs = jnp.einsum("prc,pc->pr", rows.pairs, prediction.pairs - batch.pairs)
    error = jax.ops.segment_sum(onsite, rows.structure, n_atoms)
    error += jax.ops.segment_sum(pairs, rows.structure[graph.i], n_atoms)
    first = (rows.structure == jnp.arange(n_atoms)) & graph.atom_mask
    return error, jnp.broadcast_to(first[:, None], error.shape).astype(error.dtype)
