"""A part of a window whose eigenvalues are known and counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gh_tools.spectra.sparse.shift_invert import Inertia, Slice
from gh_tools.store.parts import Pieces


class Part(NamedTuple):
    """All eigenvalues between two energies.

    Attributes:
        found: the eigenvalues.
        first: the count at the lower end.
        last: the count at the upper end.
    """

    found: Slice
    first: Inertia
    last: Inertia

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all as arrays, for `read`."""
        return {
            "energies": self.found.energies,
            "projections": self.found.projections,
            "residual": np.array(self.found.residual),
            "shifts": np.array([self.first.shift, self.last.shift]),
            "below": np.array([self.first.below, self.last.below]),
        }

    @classmethod
    def read(
        cls, kept: Pieces, number: int, low: float | Inertia, high: float, tolerance: float
    ) -> Part | None:
        """Return the part of a window that was kept; None if none was, or one of another window.

        Args:
            kept: pieces.
            number: of the piece.
            low: lower end, eV, or the count there.
            high: upper end, eV.
            tolerance: eV by which ends may have been moved.
        """
        arrays = kept.read(number)
        start = low.shift if isinstance(low, Inertia) else low
        if arrays is None or not np.allclose(
            arrays["shifts"], [start, high], rtol=0, atol=tolerance
        ):
            return None
        found = Slice(arrays["energies"], arrays["projections"], float(arrays["residual"]))
        ends = zip(arrays["shifts"], arrays["below"], strict=True)
        return cls(found, *(Inertia(float(shift), int(below)) for shift, below in ends))
