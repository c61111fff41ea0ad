"""States without spin–orbit coupling, and what is S-orthogonal to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.factor import Engine
from gh_tools.spectra.sparse.pencil import Pencil
from gh_tools.spectra.sparse.shift_invert import ShiftInvert

# Columns that are solved for at once.
_TOGETHER = 64
# An eigenvalue this small against the largest is rounding.
_ROUNDING = 1e-10


class UncoupledStates(NamedTuple):
    """All states without coupling between two energies.

    Attributes:
        low: eV.
        high: eV.
        below: their number below.
        energies: eV.
        vectors: S-normalised.
    """

    low: float
    high: float
    below: int
    energies: Float[np.ndarray, " states"]
    vectors: Shaped[np.ndarray, "n states"]

    def within(self, low: float, high: float) -> UncoupledStates:
        """Return those of a window within theirs, eV."""
        some = (self.energies > low) & (self.energies < high)
        below = self.below + int(np.sum(self.energies <= low))
        return UncoupledStates(low, high, below, self.energies[some], self.vectors[:, some])

    def joined(self, upper: UncoupledStates) -> UncoupledStates:
        """Return these and those of a window that begins where theirs ends."""
        return UncoupledStates(
            *(self.low, upper.high, self.below),
            np.concatenate([self.energies, upper.energies]),
            np.hstack([self.vectors, upper.vectors]),
        )


def below_in_rest(
    pencil: Pencil, engine: Engine, vectors: Shaped[np.ndarray, "n states"], sigma: float
) -> int | None:
    """Count the eigenvalues below an energy in what is S-orthogonal to states.

    The matrix bordered with SP has as many negative eigenvalues as it has there, and one more for each state; by
    elimination as many as the matrix, and -PᴴS(M - σS)⁻¹SP.

    Args:
        pencil: M and S.
        engine: to factorise with; it holds the factors at σ then.
        vectors: the states P.
        sigma: σ, eV.

    Returns:
        The number; None where σ is an eigenvalue there.
    """
    nothing = np.zeros(0)
    below = (
        ShiftInvert(pencil, engine, lambda x, sx, energies: x, CountModel(nothing, nothing))
        .inertia(sigma)
        .below
    )
    sp = pencil.apply_overlap(vectors)
    inside = np.empty((sp.shape[1],) * 2, sp.dtype)
    for start in range(0, sp.shape[1], _TOGETHER):
        some = slice(start, start + _TOGETHER)
        inside[:, some] = sp.conj().T @ engine.solve(sp[:, some])
    value = np.linalg.eigvalsh(0.5 * (inside + inside.conj().T))
    if len(value) and abs(value).min() < _ROUNDING * abs(value).max():
        return None
    return below - int(np.sum(value < 0))
