"""Several networks that differ in their weights alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def of_members(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return a function of the weights of all members of an ensemble, given one of the weights of a single network.

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
