"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float


class Prediction(NamedTuple):
    """Irreps in the order of :class:`~gh_tools.orbitals.irreps.IrrepLayout`, before scale and shift.

    Rows of elements or species pairs that have fewer components than others end with zeros, and rows
    of padding are zero.

    Attributes:
        onsite: of on-site blocks.
        pairs: of pair blocks.
    """

    onsite: Float[Array, "atoms onsite_components"]
    pairs: Float[Array, "pairs pair_components"]
