"""All eigenvalues of one sparse pencil in a window of energies, found by slices and certified by inertia."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gh_tools.console import progress
from gh_tools.errors import DataError
from gh_tools.spectra.sparse.shift_invert import (
    CLEAR,
    MORE_VECTORS,
    VECTORS,
    Inertia,
    NotConverged,
    ShiftInvert,
    Slice,
)
from gh_tools.store.parts import Pieces

# Eigenvalues about one shift, at least, and per root of the number of orbitals: a factorisation costs as
# much as it takes to orthogonalise the vectors of a slice against each other.
SLICE, SLICE_PER_ROOT = 250, 5.0
# How often slices are halved where eigenvalues do not converge.
_HALVINGS = 5
# A slice ends in the widest gap among so many of its last eigenvalues, or this part of them; eV that a gap
# must have.
_LAST, _LAST_PART, _GAP = 8, 0.1, 1e-6


@dataclass(frozen=True)
class Step:
    """Eigenvalues about one shift.

    Attributes:
        at: inertia at the shift.
        found: all eigenvalues between the edge of the step before and this one's.
        edge: energy in a gap, eV.
    """

    at: Inertia
    found: Slice
    edge: float

    def certified(self) -> Step:
        """Return what is below the shift, of which inertia has told the number."""
        some = self.found.energies < self.at.shift
        found = Slice(
            self.found.energies[some], self.found.projections[:, some], self.found.residual
        )
        return Step(self.at, found, self.at.shift)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all as arrays, for `from_arrays`."""
        return {
            "at": np.array(self.at.shift),
            "below": np.array(self.at.below),
            "edge": np.array(self.edge),
            "energies": self.found.energies,
            "projections": self.found.projections,
            "residual": np.array(self.found.residual),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Step:
        """Make a step of what `arrays` returned."""
        return cls(
            Inertia(float(arrays["at"]), int(arrays["below"])),
            Slice(arrays["energies"], arrays["projections"], float(arrays["residual"])),
            float(arrays["edge"]),
        )


def slice_size(n: int, max_vectors: int | None = None) -> int:
    """Return how many eigenvalues are looked for about one shift.

    Args:
        n: number of orbitals.
        max_vectors: that a Lanczos basis may have.
    """
    size = max(SLICE, int(SLICE_PER_ROOT * n**0.5))
    if max_vectors is not None:
        size = min(size, (max_vectors - MORE_VECTORS) // VECTORS)
    return max(size, 2)


class Slicer(ShiftInvert):
    """Finds all eigenvalues of one pencil in a window, slice by slice (spectrum slicing)."""

    def eigenvalues(
        self, low: float, high: float, *, title: str = "eigenvalues", kept: Pieces | None = None
    ) -> tuple[Slice, Inertia, Inertia]:
        """Find all eigenvalues of a window, marching upwards from shift to shift.

        At each, Lanczos finds the eigenvalues down to those that are known, whose number inertia tells, and
        about as many above, up to a gap. The next shift's inertia tells whether these were all.

        Args:
            low: lower end, eV; moved a little if it hits an eigenvalue, as the upper one.
            high: upper end, eV.
            title: of the progress shown.
            kept: where finished steps are put, and found after an interruption.

        Returns:
            The eigenvalues, and the inertia at both ends, whose difference is their number.

        Raises:
            DataError: if eigenvalues are missing, or residuals too large.
        """
        first, last, steps = self._begin(low, high, kept)
        expected = last.below - first.below
        size, halvings = slice_size(self.pencil.n, self._max_vectors), _HALVINGS
        with progress(title, expected) as shown:
            while missing := expected - sum(len(step.found.energies) for step in steps):
                shown.advance(expected - missing - shown.done)
                start = Inertia(steps[-1].edge if steps else first.shift, last.below - missing)
                try:
                    steps.append(self._step(start, last, size))
                except NotConverged as problem:
                    if not halvings:
                        raise DataError(
                            f"{problem} between {start.shift:.4f} and {last.shift:.4f} eV; the window is "
                            "not complete, so there is no result: ask for a narrower --window or use "
                            "--solver dense"
                        ) from None
                    size, halvings = max(2, size // 2), halvings - 1
                    # Perhaps one that hid above the last shift: of these nothing is certified yet.
                    steps[-1:] = [step.certified() for step in steps[-1:]]
                if kept is not None and steps:
                    kept.write(len(steps), steps[-1].arrays() | _ends(first, last))
            shown.advance(expected - shown.done)
        parts = [self._empty(), *(step.found for step in steps)]
        projections = np.hstack([part.projections for part in parts])
        energies = np.concatenate([part.energies for part in parts])
        return Slice(energies, projections, max(part.residual for part in parts)), first, last

    def _begin(
        self, low: float, high: float, kept: Pieces | None
    ) -> tuple[Inertia, Inertia, list[Step]]:
        """Take the inertia at both ends, unless an interrupted run has, and take what it found."""
        ends = None if kept is None else kept.read(0)
        if ends is not None and (float(ends["low"]), float(ends["high"])) == (low, high):
            first, last = (Inertia(float(x), int(n)) for x, n in ends["ends"])
            self.model.known |= {first.shift: first.below, last.shift: last.below}
        else:
            first, last = self.inertia(low), self.inertia(high)
            if kept is not None:
                kept.write(0, {"low": np.array(low), "high": np.array(high)} | _ends(first, last))
        steps: list[Step] = []
        while kept is not None and (arrays := kept.read(len(steps) + 1)) is not None:
            if not np.array_equal(arrays["ends"], _ends(first, last)["ends"]):
                break  # of another window, before the Fermi level was final
            steps.append(Step.from_arrays(arrays))
            self.model.known[steps[-1].at.shift] = steps[-1].at.below
        return first, last, steps

    def _step(self, start: Inertia, last: Inertia, size: int) -> Step:
        """Find the eigenvalues from an energy in a gap to another above it, or to the end of the window.

        Raises:
            NotConverged: some do not converge.
            DataError: there are more than inertia counts.
        """
        missing = last.below - start.below
        parts = max(1, round(missing / size))
        final = parts == 1
        end, wanted = last.shift, missing
        if not final:
            wanted = missing // parts
            end = self.model.guess(start.below + wanted, start[:2], last[:2])
        # Not the very middle: windows are even about E_F, which in a metal is an eigenvalue.
        at = self._factorized(start.shift + 0.498 * (end - start.shift))
        left = at.below - start.below
        right = last.below - at.below if final else max(0, start.below + wanted - at.below)
        if left > 2 * size:  # the guess was poor: with this inertia it is better
            return self._step(start, last, size)
        edge, converged_left = last.shift, 0

        def satisfied(energies: np.ndarray, converged: np.ndarray) -> np.ndarray | None:
            nonlocal edge, converged_left
            above = energies > at.shift
            reach = energies[above & ~converged].min(initial=last.shift)
            below = converged & (energies > start.shift) & ~above
            above &= converged & (energies < reach)
            converged_left = int(below.sum())
            if converged_left < left or above.sum() < right:
                return None
            edge = last.shift if final else _gap(at.shift, np.sort(energies[above]))
            return below | (above & (energies < edge))

        try:
            found = self._lanczos(at, left + right, satisfied)
        except NotConverged:
            raise NotConverged(
                f"Lanczos found {converged_left} of the {left} eigenvalues between {start.shift:.4f} and "
                f"{at.shift:.4f} eV that inertia counts"
            ) from None
        below = int(np.sum(found.energies < at.shift))
        above = len(found.energies) - below
        if below != left or (final and above != right):
            raise DataError(
                f"{below} and {above} eigenvalues found on the two sides of {at.shift:.4f} eV, but inertia "
                f"counts {left} and {last.below - at.below}; use another --engine"
            )
        for end in (start.shift, at.shift, last.shift):
            if abs(found.energies - end).min(initial=np.inf) < CLEAR:
                raise DataError(
                    f"an eigenvalue lies within {CLEAR:g} eV of {end:.6f} eV, where eigenvalues are counted; "
                    "ask for another --window"
                )
        return Step(at, found, edge)


def _ends(first: Inertia, last: Inertia) -> dict[str, np.ndarray]:
    return {"ends": np.array([[first.shift, first.below], [last.shift, last.below]])}


def _gap(shift: float, above: Float[np.ndarray, " m"]) -> float:
    """Return the middle of the widest gap among the last eigenvalues above a shift; the shift if none is."""
    eigenvalues = np.concatenate([[shift], above])
    gaps = np.diff(eigenvalues)
    for last in (max(_LAST, int(_LAST_PART * len(gaps))), len(gaps)):
        widest = len(gaps) - 1 - int(np.argmax(gaps[: -last - 1 : -1]))
        if gaps[widest] > _GAP:
            return float(0.5 * (eigenvalues[widest] + eigenvalues[widest + 1]))
    return shift
