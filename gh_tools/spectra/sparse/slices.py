"""Eigenvalues of one sparse pencil in a window of energies, found by slices and certified by inertia."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from gh_tools.console import log, progress
from gh_tools.errors import DataError
from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.factor import Engine
from gh_tools.spectra.sparse.factor.engine import UnreliableInertia
from gh_tools.spectra.sparse.lanczos import BlockLanczos
from gh_tools.spectra.sparse.pencil import Pencil
from gh_tools.store.parts import Pieces

# Eigenvalues about one shift, at least, and per root of the number of orbitals: a factorisation costs as
# much as it takes to orthogonalise the vectors of a slice against each other.
SLICE, SLICE_PER_ROOT = 250, 5.0
# Vectors of the Lanczos basis per eigenvalue wanted, and beyond: many, where eigenvalues crowd outside.
VECTORS, MORE_VECTORS = 4, 300
# By how much a basis grows before it is asked again what has converged.
_GROWTH = 1.15
# How often slices are halved where eigenvalues do not converge.
_HALVINGS = 5
# A slice ends in the widest gap among so many of its last eigenvalues, or this part of them; eV that a gap
# must have.
_LAST, _LAST_PART, _GAP = 8, 0.1, 1e-6
# Eigenvalues whose residuals are computed at once.
_TOGETHER = 256
# eV; largest ‖Hx - εSx‖ of an eigenvalue that is accepted. It bounds the error of ε once divided by the
# root of the smallest eigenvalue of S; the error itself is quadratic in it.
RESIDUAL = 1e-8
# eV; what Lanczos goes on to by its own estimate, so that true residuals keep well below.
_ESTIMATE = 1e-11
# eV; no eigenvalue may be this near to an end of a window: rounding could count it on either side.
_CLEAR = 1e-8
# eV; a shift this near to an eigenvalue drowns the others in it.
_NEXT = 1e-6
# eV; by how much a shift that hits an eigenvalue is moved, and how often.
_NUDGE, _NUDGES = 3.7e-5, 4

Project = Callable[
    [Shaped[np.ndarray, "n m"], Shaped[np.ndarray, "n m"]], Float[np.ndarray, "species m"]
]


@dataclass(frozen=True)
class Slice:
    """Eigenvalues of a window, all of them.

    Attributes:
        energies: eV, ascending.
        projections: weight of each species in each.
        residual: largest ‖Hx - εSx‖ in eV, for xᴴSx = 1.
    """

    energies: Float[np.ndarray, " m"]
    projections: Float[np.ndarray, "species m"]
    residual: float


class Count(NamedTuple):
    """Inertia at a shift.

    Attributes:
        shift: eV.
        below: number of eigenvalues below it.
    """

    shift: float
    below: int


@dataclass(frozen=True)
class Step:
    """Eigenvalues about one shift.

    Attributes:
        at: inertia at the shift.
        found: all eigenvalues between the edge of the step before and this one's.
        edge: energy in a gap, eV.
    """

    at: Count
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
            Count(float(arrays["at"]), int(arrays["below"])),
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


class Slicer:
    """Counts and finds the eigenvalues of one pencil.

    Attributes:
        pencil: H and S.
        engine: that factorises them.
        model: of where eigenvalues lie.
    """

    def __init__(
        self,
        pencil: Pencil,
        engine: Engine,
        project: Project,
        model: CountModel,
        *,
        max_vectors: int | None = None,
    ):
        """Begin.

        Args:
            pencil: H and S.
            engine: to factorise with.
            project: gives the weights of species in S-normalised vectors x, from x and Sx.
            model: of where eigenvalues lie; learns what is counted.
            max_vectors: limit of each Lanczos basis; None for one by the number of eigenvalues.
        """
        self.pencil, self.engine, self.model, self._project = pencil, engine, model, project
        self._max_vectors = max_vectors
        self._current: Count | None = None

    def count(self, sigma: float, *, factors: bool = False) -> Count:
        """Count the eigenvalues below a shift, which is moved a little if it hits one.

        Args:
            sigma: eV.
            factors: have the engine hold the factors, even if the count is known.

        Raises:
            DataError: if no factorisation near the shift can be trusted.
        """
        for nudge in range(_NUDGES):
            shift = sigma + nudge * _NUDGE
            if shift in self.model.known and not factors:
                return Count(shift, int(self.model.known[shift]))
            try:
                self._current = None
                below = self.engine.factorize(self.pencil.shifted(shift))
                self._check_solution(shift)
            except UnreliableInertia as problem:
                log.info("the factorisation at %.5f eV is not trustworthy (%s)", shift, problem)
                continue
            self._current = Count(shift, below)
            self.model.known[shift] = below
            return self._current
        raise DataError(
            f"no factorisation of H - σS near σ = {sigma:.4f} eV with {self.engine.name} can be "
            "trusted to count eigenvalues; use another --engine or --solver dense"
        )

    def forget(self) -> None:
        """Take note that the engine holds other factors now."""
        self._current = None

    def near(self, sigma: float, need: tuple[int, int]) -> tuple[Count, Slice, tuple[float, float]]:
        """Find eigenvalues on both sides of a shift, nearest first; nothing certifies them yet.

        Args:
            sigma: eV.
            need: how many below and above, at least; fewer if there are no more.

        Returns:
            The count at the shift, the eigenvalues found, and the energies between which they are.

        Raises:
            NotConverged: they do not converge; ask nearer to them.
        """
        at = self._factorized(sigma)
        need = (min(need[0], at.below), min(need[1], self.pencil.n - at.below))

        def satisfied(energies: np.ndarray, converged: np.ndarray) -> np.ndarray | None:
            distance = abs(energies - at.shift)
            reach = distance[~converged].min(initial=np.inf)
            found = converged & (distance < reach)
            below = int(np.sum(energies[found] < at.shift))
            enough = below >= need[0] and found.sum() - below >= need[1]
            return found if enough else None

        found = self._lanczos(at, sum(need) + 10, satisfied)
        edges = (found.energies[0], found.energies[-1]) if len(found.energies) else (at.shift,) * 2
        # All there is on one side: nothing lies beyond.
        low = -np.inf if need[0] == at.below else edges[0]
        high = np.inf if need[1] == self.pencil.n - at.below else edges[1]
        return at, found, (low, high)

    def eigenvalues(
        self, low: float, high: float, *, title: str = "eigenvalues", kept: Pieces | None = None
    ) -> tuple[Slice, Count, Count]:
        """Find all eigenvalues of a window, marching upwards from shift to shift.

        At each, Lanczos finds the eigenvalues down to those that are known, whose number inertia tells, and
        about as many above, up to a gap. The next shift's inertia tells whether these were all.

        Args:
            low: lower end, eV; moved a little if it hits an eigenvalue, as the upper one.
            high: upper end, eV.
            title: of the progress shown.
            kept: where finished steps are put, and found after an interruption.

        Returns:
            The eigenvalues, and the counts at both ends, whose difference is their number.

        Raises:
            DataError: if eigenvalues are missing, or residuals too large.
        """
        first, last, steps = self._begin(low, high, kept)
        expected = last.below - first.below
        size, halvings = slice_size(self.pencil.n, self._max_vectors), _HALVINGS
        with progress(title, expected) as shown:
            while missing := expected - sum(len(step.found.energies) for step in steps):
                shown.advance(expected - missing - shown.done)
                start = Count(steps[-1].edge if steps else first.shift, last.below - missing)
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
    ) -> tuple[Count, Count, list[Step]]:
        """Count at both ends, unless an interrupted run has, and take what it found."""
        ends = None if kept is None else kept.read(0)
        if ends is not None and (float(ends["low"]), float(ends["high"])) == (low, high):
            first, last = (Count(float(x), int(n)) for x, n in ends["ends"])
            self.model.known |= {first.shift: first.below, last.shift: last.below}
        else:
            first, last = self.count(low), self.count(high)
            if kept is not None:
                kept.write(0, {"low": np.array(low), "high": np.array(high)} | _ends(first, last))
        steps: list[Step] = []
        while kept is not None and (arrays := kept.read(len(steps) + 1)) is not None:
            if not np.array_equal(arrays["ends"], _ends(first, last)["ends"]):
                break  # of another window, before the Fermi level had settled
            steps.append(Step.from_arrays(arrays))
            self.model.known[steps[-1].at.shift] = steps[-1].at.below
        return first, last, steps

    def _step(self, start: Count, last: Count, size: int) -> Step:
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
        if left > 2 * size:  # the guess was poor: with this count it is better
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
            if abs(found.energies - end).min(initial=np.inf) < _CLEAR:
                raise DataError(
                    f"an eigenvalue lies within {_CLEAR:g} eV of {end:.6f} eV, where eigenvalues are counted; "
                    "ask for another --window"
                )
        return Step(at, found, edge)

    def _lanczos(self, at: Count, wanted: int, satisfied) -> Slice:
        """Extend a basis about the shift until enough has converged, and compute true residuals."""
        pencil = self.pencil
        limit = self._max_vectors or VECTORS * wanted + MORE_VECTORS
        lanczos = BlockLanczos(
            self.engine.solve, pencil.apply_overlap, pencil.n, pencil.dtype, max_size=limit
        )
        asked = min(wanted, limit) / _GROWTH  # before, not enough can have converged
        while True:
            lanczos.extend()
            if lanczos.size < _GROWTH * asked and not lanczos.finished:
                continue
            asked = lanczos.size
            theta, coefficients, residual = lanczos.ritz()
            with np.errstate(divide="ignore"):
                energies = at.shift + 1 / theta
            converged = residual / theta**2 < _ESTIMATE
            chosen = satisfied(energies, converged)
            if chosen is not None:
                break
            if lanczos.finished:
                raise NotConverged
        return self._certified(energies, theta, coefficients, chosen, lanczos)

    def _certified(self, energies, theta, coefficients, chosen, lanczos: BlockLanczos) -> Slice:
        order = np.flatnonzero(chosen)[np.argsort(energies[chosen])]
        parts, residual = [], 0.0
        for start in range(0, len(order), _TOGETHER):
            some = order[start : start + _TOGETHER]
            x = lanczos.vectors(theta[some], coefficients[:, some])
            hx, sx = self.pencil.apply_hamiltonian(x), self.pencil.apply_overlap(x)
            parts.append(self._project(x, sx))
            hx -= energies[some] * sx
            residual = max(residual, float(np.linalg.norm(hx, axis=0).max()))
        if residual > RESIDUAL:
            raise DataError(
                f"an eigenvalue has the residual {residual:.1e} eV, more than {RESIDUAL:.0e}; "
                "use another --engine or --solver dense"
            )
        if not parts:
            return self._empty()
        return Slice(energies[order], np.hstack(parts), residual)

    def _empty(self) -> Slice:
        nothing = np.empty((self.pencil.n, 0), self.pencil.dtype)
        return Slice(np.empty(0), self._project(nothing, nothing), 0.0)

    def _factorized(self, sigma: float) -> Count:
        """Make sure that the engine holds the factors at a shift."""
        if self._current is None or abs(self._current.shift - sigma) > _NUDGE * _NUDGES:
            self.count(sigma, factors=True)
        assert self._current is not None  # just counted with factors
        return self._current

    def _check_solution(self, shift: float) -> None:
        """Make sure that the factors are those of the matrix: solve, multiply, compare."""
        pencil = self.pencil
        rhs = np.random.default_rng(1).standard_normal((pencil.n, 1)).astype(pencil.dtype)
        x = self.engine.solve(rhs)
        left = pencil.apply_hamiltonian(x) - shift * pencil.apply_overlap(x) - rhs
        error = np.linalg.norm(left) / np.linalg.norm(x)
        # ‖r‖/‖x‖ is the size in eV of the change of H that would make the solution exact, and with
        # it the one to which the inertia belongs.
        if not error < _CLEAR:
            raise UnreliableInertia(f"backward error {error:.1e} eV")
        # Once more: what grows most is the eigenvalue next to the shift.
        growth = np.linalg.norm(self.engine.solve(pencil.apply_overlap(x))) / np.linalg.norm(x)
        if growth * _NEXT > 1:
            raise UnreliableInertia(f"an eigenvalue lies {1 / growth:.1e} eV away")


class NotConverged(Exception):
    """The basis is full and something is missing."""


def _ends(first: Count, last: Count) -> dict[str, np.ndarray]:
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
