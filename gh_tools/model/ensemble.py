"""Several networks that differ in their weights alone, or in those of their last layers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def vectorised_over_members(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Turn a function of a network's weights into one of the weights of all members of an ensemble.

    Weights of an ensemble, and what is computed of them, have a leading axis of members; those of a
    single network have none, and its function stays as it is. Members are evaluated one after the other
    by one program, so that an ensemble takes the memory of one network.

    Args:
        function: of a tree that has the axis (weights, a state) and of others that members share.
        count: number of members.
    """
    if count == 1:
        return function

    def all_members(members: Any, *shared: Any) -> Any:
        return jax.lax.map(lambda one: function(one, *shared), members)

    return all_members


def of_last_layers(
    function: Callable[..., Any], params: Any, last_layers: Any, out_axes: Any = 0
) -> Callable[..., Any]:
    """Return a function of the weights of a shallow ensemble, whose members share all but their last layers.

    What members share is computed once.

    Args:
        function: of the weights of a single network, and of others that members share.
        params: weights of the single network.
        last_layers: those of the members' last layers by name, with a leading axis.
        out_axes: where the axis of members stands in what is returned; None where members share it.

    Returns:
        A function of what `with_last_layers` gives.
    """
    axes = with_last_layers(
        jax.tree.map(lambda _: None, params), jax.tree.map(lambda _: 0, last_layers)
    )

    def all_members(members: Any, *shared: Any) -> Any:
        in_axes = (axes, *(None for _ in shared))
        return jax.vmap(function, in_axes=in_axes, out_axes=out_axes)(members, *shared)

    return all_members


def with_last_layers(params: Any, last_layers: Any) -> Any:
    """Return a network's weights with the last layers of all members in place of its own.

    Args:
        params: weights of the network.
        last_layers: those of the members' last layers by name, with a leading axis of members.
    """
    return {**params, "params": {**params["params"], **last_layers}}
