"""Ranges of what the training structures of one composition had, and what lies beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gh_tools.trained_model.measures import Measures, Range

# A range is widened on either side by this part of its width, and a part that falls with the number of structures: a
# dozen, drawn uniformly, leave out so much.
MARGIN, MARGIN_OF_FEW = 0.25, 3.0
# Units of the mass per Å³, Å² and Å: what they are shown in, and how many of these an u/Å^d are.
DENSITY_UNITS = {3: ("g/cm^3", 1.66053907), 2: ("mg/m^2", 0.166053907), 1: ("u/Å", 1.0)}


@dataclass(frozen=True)
class Group:
    """Ranges of the training structures of the same elements and number of periodic directions.

    Attributes:
        count: number of structures.
        density: mass in u over Å^d, d the number of periodic directions; zeros of molecules.
        extents: least and largest root-mean-square length of the bonds along their three principal axes, ascending, Å.
        fractions: least and largest part of each element among the atoms.
    """

    count: int
    density: Range
    extents: Float[np.ndarray, "3 2"]
    fractions: Mapping[int, Range]


def group_of(rows: Sequence[Measures]) -> Group:
    """Return the ranges of structures of the same elements and number of periodic directions."""
    density = [row.density for row in rows]
    extents = np.array([row.extents for row in rows])
    fractions = {
        number: (min(r.fractions[number] for r in rows), max(r.fractions[number] for r in rows))
        for number in rows[0].key[1]
    }
    return Group(
        len(rows),
        (min(density), max(density)),
        np.stack([extents.min(axis=0), extents.max(axis=0)], axis=1),
        fractions,
    )


def join_ranges(one: Group, other: Group) -> Group:
    """Return the ranges of two sets together."""

    def widest(a: Range, b: Range) -> Range:
        return min(a[0], b[0]), max(a[1], b[1])

    low = np.minimum(one.extents[:, 0], other.extents[:, 0])
    high = np.maximum(one.extents[:, 1], other.extents[:, 1])
    return Group(
        one.count + other.count,
        widest(one.density, other.density),
        np.stack([low, high], axis=1),
        {n: widest(one.fractions[n], other.fractions[n]) for n in one.fractions},
    )


def beyond(value: float, limits: Range, least: float, count: int) -> str | None:
    """Return by how much a value is below or above a range, such as "3.1 % above"; None where it is within, or nearly so.

    Args:
        value: in the unit of the range.
        limits: least and largest value of the training set.
        least: margin that is always allowed.
        count: structures that the range is of; few of them widen it.
    """
    low, high = limits
    margin = max((MARGIN + MARGIN_OF_FEW / count) * (high - low), least)
    if value < low - margin:
        return f"{100 * (low - value) / abs(low):.1f} % below"
    if value > high + margin:
        return f"{100 * (value - high) / abs(high):.1f} % above" if high else "above"
    return None


def percent(limits: Range) -> str:
    """Put a range of fractions into words, such as "30 to 34 %"."""
    low, high = (f"{100 * value:.3g}" for value in limits)
    return f"{low} %" if low == high else f"{low} to {high} %"
