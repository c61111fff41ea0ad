"""What checks the types and shapes of arguments and results while tests run."""

from __future__ import annotations

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype

# NumPy's numbers and truth values count as Python's, and integers as real numbers.
checked = beartype(
    conf=BeartypeConf(
        hint_overrides=FrozenDict(
            {
                bool: bool | np.bool_,
                int: int | np.integer,
                float: float | int | np.floating | np.integer,
            }
        )
    )
)
