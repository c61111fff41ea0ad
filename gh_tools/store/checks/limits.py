"""What no value of a store exceeds, and how values are compared with that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gh_tools.orbitals.checks import (
    LARGEST_ENERGY as LARGEST_ENERGY,
)
from gh_tools.orbitals.geometry import LARGEST_LENGTH as LARGEST_LENGTH
from gh_tools.store.contents import Store

# What no basis of atomic orbitals exceeds: reach of an orbital (Å) and degree.
LARGEST_CUTOFF, LARGEST_DEGREE = 50.0, 8
N_ELEMENTS = 118
LONGEST_NAME = 1000


def check_limits(
    store: Store,
    key: str,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_below: bool = False,
    missing: bool = False,
) -> Iterator[str]:
    """Find numbers that are not finite, or beyond limits; tell a sentence of each array that has some.

    Args:
        store: where the array is; nothing is found where it is not.
        key: of the array.
        low: least number.
        high: largest one.
        open_below: whether numbers must be above the least.
        missing: whether NaN may stand for what is not known.
    """
    if key not in store or 0 in store.shape(key):
        return
    values = store[key]
    fit = np.isfinite(values) & (values >= low) & (values <= high)
    if open_below:
        fit &= values > low
    if missing:
        fit |= np.isnan(values)
    if not fit.all():
        expected = "finite numbers"
        if np.isfinite(low) or np.isfinite(high):
            expected += f" {'above' if open_below else 'from'} {low:g} to {high:g}"
        yield f"{key}: expected {expected}, found {values[~fit].flat[0]:g}"


def shortened_value(value: Any, most: int = 60) -> str:
    """Return a value as Python writes it, of at most so many characters."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."
