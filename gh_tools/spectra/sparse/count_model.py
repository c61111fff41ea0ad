"""Where to look for the eigenvalue of a given number, from a rough model and exact counts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


class CountModel:
    """A monotone model of how many states lie below an energy, corrected by what is known.

    Between two exact counts the model's is stretched to agree with both.

    Attributes:
        eigenvalues: of the model, ascending, eV.
        known: shift in eV and states below it, as counted.
    """

    def __init__(self, eigenvalues: Float[np.ndarray, " m"], states: Float[np.ndarray, " m"]):
        """Begin with a model.

        Args:
            eigenvalues: eV, in any order.
            states: that each stands for.
        """
        order = np.argsort(eigenvalues)
        self.eigenvalues = np.asarray(eigenvalues)[order]
        self._held = np.concatenate([[0.0], np.cumsum(np.asarray(states)[order])])
        self.known: dict[float, float] = {}

    @property
    def capacity(self) -> float:
        """All states."""
        return float(self._held[-1])

    def guess(self, below: float, *more: tuple[float, float]) -> float:
        """Return an energy between known ones that has about so many states below it.

        Args:
            below: number of states.
            more: energies with numbers of states below them that are known for this once.
        """
        known = [*self.known.items(), *more]
        lower = [(e, n) for e, n in known if n <= below]
        upper = [(e, n) for e, n in known if n > below]
        x0, n0 = max(lower, default=(-np.inf, 0.0))
        x1, n1 = min(upper, default=(np.inf, self.capacity))
        m0, m1 = self._held[np.searchsorted(self.eigenvalues, [x0, x1])]
        if m1 == m0:  # the model has nothing there: step outwards, or halve
            if np.isinf(x0) or np.isinf(x1):
                return x1 - 1.0 if np.isinf(x0) else x0 + 1.0
            return 0.5 * (x0 + x1)
        rank = np.searchsorted(self._held, m0 + (below - n0) * (m1 - m0) / (n1 - n0) - 1e-9)
        index = int(np.clip(rank, 1, len(self.eigenvalues) - 1))
        # The middle between two eigenvalues of the model, which in a gap is its middle.
        energy = float(0.5 * (self.eigenvalues[index - 1] + self.eigenvalues[index]))
        if np.isfinite(x0) and np.isfinite(x1):
            margin = min(0.05, 5 / (n1 - n0)) * (x1 - x0)
            return float(np.clip(energy, x0 + margin, x1 - margin))
        return max(energy, x0 + 1e-3) if np.isfinite(x0) else min(energy, x1 - 1e-3)
