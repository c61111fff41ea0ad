"""What of an atom's features does not change when its structure is rotated."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def norms_by_degree(
    features: Float[np.ndarray, "atoms *rest lm features"],
    degree: Int[np.ndarray, " lm"],
) -> Float[np.ndarray, "atoms invariants"]:
    """Return the norm over m of each feature and degree; of degree zero the value itself, with its sign.

    Args:
        features: of atoms; what is between atoms and components (members of an ensemble, parities) stays apart.
        degree: of each component, in their order.
    """
    found = []
    for number in range(int(degree.max()) + 1):
        some = features[..., degree == number, :]
        values = some[..., 0, :] if number == 0 else np.sqrt((some**2).sum(axis=-2))
        found.append(values.reshape(len(features), -1))
    return np.concatenate(found, axis=1)
