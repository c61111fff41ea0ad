"""Levels of one sparse pencil in a window of energies, found by slices and certified by inertia."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Shaped

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.spectra.factor import Engine
from gh_tools.spectra.factor.engine import Untrustworthy
from gh_tools.spectra.guess import CountModel
from gh_tools.spectra.lanczos import BlockLanczos
from gh_tools.spectra.pencil import Pencil

# Levels of a slice: below, factorisations cost more than the multiplications they save.
SLICE = 250
# Vectors of the Lanczos basis per level wanted, and beyond: many, where levels crowd outside.
VECTORS, MORE_VECTORS = 4, 300
# By how much a basis grows before it is asked again what has converged.
_GROWTH = 1.15
# How often a slice whose levels do not converge is halved.
_HALVINGS = 5
# eV; largest ‖Hx - εSx‖ of a level that is accepted. It bounds the error of ε once divided by the
# root of the smallest eigenvalue of S; the error itself is quadratic in it.
RESIDUAL = 1e-8
# eV; what Lanczos goes on to by its own estimate, so that true residuals keep well below.
_ESTIMATE = 1e-11
# eV; no level may be this near to an end of a window: rounding could count it on either side.
_CLEAR = 1e-8
# eV; a shift this near to a level drowns the others in it.
_NEXT = 1e-6
# eV; by how much a shift that hits a level is moved, and how often.
_NUDGE, _NUDGES = 3.7e-5, 4

Project = Callable[
    [Shaped[np.ndarray, "n m"], Shaped[np.ndarray, "n m"]], Float[np.ndarray, "species m"]
]


@dataclass(frozen=True)
class Slice:
    """Levels of a window, all of them.

    Attributes:
        energies: eV, ascending.
        projections: weight of each species in each.
        residual: largest ‖Hx - εSx‖ in eV, for xᴴSx = 1.
    """

    energies: Float[np.ndarray, "m"]
    projections: Float[np.ndarray, "species m"]
    residual: float


@dataclass(frozen=True)
class Count:
    """Inertia at a shift.

    Attributes:
        shift: eV.
        below: number of levels below it.
    """

    shift: float
    below: int


class Slicer:
    """Counts and finds the levels of one pencil.

    Attributes:
        pencil: H and S.
        engine: that factorises them.
        model: of where levels lie.
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
            model: of where levels lie; learns what is counted.
            max_vectors: limit of each Lanczos basis; None for one by the number of levels.
        """
        self.pencil, self.engine, self.model, self._project = pencil, engine, model, project
        self._max_vectors = max_vectors
        self._current: Count | None = None

    def count(self, sigma: float, *, factors: bool = False) -> Count:
        """Count the levels below a shift, which is moved a little if it hits one.

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
            except Untrustworthy as problem:
                log.info("the factorisation at %.5f eV is not trustworthy (%s)", shift, problem)
                continue
            self._current = Count(shift, below)
            self.model.known[shift] = below
            return self._current
        raise DataError(
            f"no factorisation of H - σS near σ = {sigma:.4f} eV with {self.engine.name} can be "
            "trusted to count levels; use another --engine or --solver dense"
        )

    def forget(self) -> None:
        """Take note that the engine holds other factors now."""
        self._current = None

    def near(self, sigma: float, need: tuple[int, int]) -> tuple[Count, Slice, tuple[float, float]]:
        """Find levels on both sides of a shift, nearest first; nothing certifies them yet.

        Args:
            sigma: eV.
            need: how many below and above, at least; fewer if there are no more.

        Returns:
            The count at the shift, the levels found, and the energies between which they are.

        Raises:
            NotFound: they do not converge; ask nearer to them.
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

    def levels(
        self, low: float, high: float, report: Callable[[int], None] = lambda _: None
    ) -> tuple[Slice, Count, Count]:
        """Find all levels of a window.

        Args:
            low: lower end, eV; moved a little if it hits a level, as the upper one.
            high: upper end, eV.
            report: told how many levels were found, slice by slice.

        Returns:
            The levels, and the counts at both ends, whose difference is their number.

        Raises:
            DataError: if levels are missing, or residuals too large.
        """
        first, last = self.count(low), self.count(high)
        expected = last.below - first.below
        ends = {c.shift: c for c in (first, *self._divide(first, last), last)}
        ends = [ends[shift] for shift in sorted(ends)]
        parts = [part for a, b in pairwise(ends) for part in self._slice(a, b, report, _HALVINGS)]
        energies = np.concatenate([part.energies for part in parts] or [np.empty(0)])
        if len(energies) != expected:
            raise DataError(
                f"{len(energies)} levels found between {first.shift:.4f} and {last.shift:.4f} eV, "
                f"but inertia counts {expected}"
            )
        projections = [part.projections for part in parts]
        residual = max((part.residual for part in parts), default=0.0)
        return Slice(energies, np.hstack(projections), residual), first, last

    def _divide(self, first: Count, last: Count) -> list[Count]:
        """Count at shifts that divide a window into slices, or take counts that are there."""
        slices = -(-(last.below - first.below) // SLICE)
        inner = []
        for step in range(1, slices):
            target = first.below + step * (last.below - first.below) / slices
            known = [Count(*c) for c in self.model.known.items()]
            nearest = min(known, key=lambda c, target=target: abs(c.below - target))
            if abs(nearest.below - target) > 0.2 * SLICE:
                nearest = self.count(self.model.guess(target))
            if first.shift < nearest.shift < last.shift:
                inner.append(nearest)
        return inner

    def _slice(
        self, a: Count, b: Count, report: Callable[[int], None], halvings: int
    ) -> list[Slice]:
        """Find the levels between two counts, in halves if they are too many for one basis."""
        expected = b.below - a.below
        if expected == 0:
            return [self._empty()]
        # Not the very middle: windows are even about E_F, which in a metal is a level.
        at = self._factorized(a.shift + 0.498 * (b.shift - a.shift))
        if expected > 1.5 * SLICE:
            return self._halves(a, at, b, report, halvings)
        wanted = 0

        def satisfied(energies: np.ndarray, converged: np.ndarray) -> np.ndarray | None:
            nonlocal wanted
            inside = converged & (energies > a.shift) & (energies < b.shift)
            wanted = int(inside.sum())
            return inside if wanted >= expected else None

        try:
            found = self._lanczos(at, expected, satisfied)
        except NotFound:
            if halvings:
                return self._halves(a, at, b, report, halvings - 1)
            raise DataError(
                f"Lanczos found {wanted} of the {expected} levels between {a.shift:.4f} and "
                f"{b.shift:.4f} eV that inertia counts; the window is not complete, so there is no "
                "result: ask for a narrower --window or use --solver dense"
            ) from None
        below = int(np.sum(found.energies < at.shift))
        if len(found.energies) != expected or below != at.below - a.below:
            raise DataError(
                f"{below} and {len(found.energies) - below} levels found on the two sides of "
                f"{at.shift:.4f} eV, but inertia counts {at.below - a.below} and "
                f"{b.below - at.below}; use another --engine"
            )
        for end in (a.shift, at.shift, b.shift):
            if abs(found.energies - end).min() < _CLEAR:
                raise DataError(
                    f"a level lies within {_CLEAR:g} eV of {end:.6f} eV, where levels are counted; "
                    "ask for another --window"
                )
        report(expected)
        return [found]

    def _halves(self, a: Count, at: Count, b: Count, report, halvings: int) -> list[Slice]:
        return self._slice(a, at, report, halvings) + self._slice(at, b, report, halvings)

    def _lanczos(self, at: Count, wanted: int, satisfied) -> Slice:
        """Extend a basis about the shift until enough has converged, and compute true residuals."""
        pencil = self.pencil
        limit = self._max_vectors or VECTORS * wanted + MORE_VECTORS
        lanczos = BlockLanczos(
            self.engine.solve, pencil.apply_overlap, pencil.n, pencil.dtype, max_size=limit
        )
        asked = 0
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
                raise NotFound
        return self._certified(energies, theta, coefficients, chosen, lanczos)

    def _certified(self, energies, theta, coefficients, chosen, lanczos: BlockLanczos) -> Slice:
        order = np.flatnonzero(chosen)[np.argsort(energies[chosen])]
        parts, residual = [], 0.0
        for start in range(0, len(order), SLICE):
            some = order[start : start + SLICE]
            x = lanczos.vectors(theta[some], coefficients[:, some])
            hx, sx = self.pencil.apply_hamiltonian(x), self.pencil.apply_overlap(x)
            parts.append(self._project(x, sx))
            hx -= energies[some] * sx
            residual = max(residual, float(np.linalg.norm(hx, axis=0).max()))
        if residual > RESIDUAL:
            raise DataError(
                f"a level has the residual {residual:.1e} eV, more than {RESIDUAL:.0e}; "
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
            raise Untrustworthy(f"backward error {error:.1e} eV")
        # Once more: what grows most is the level next to the shift.
        growth = np.linalg.norm(self.engine.solve(pencil.apply_overlap(x))) / np.linalg.norm(x)
        if growth * _NEXT > 1:
            raise Untrustworthy(f"a level lies {1 / growth:.1e} eV away")


class NotFound(Exception):
    """The basis is full and something is missing."""
