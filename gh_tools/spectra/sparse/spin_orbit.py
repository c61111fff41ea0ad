"""Eigenvalues with spin–orbit coupling from those without it, certified, without factorising matrices of spinors.

Let P be the states of H₀, without coupling, in and about a window, and Q all that is S-orthogonal to them. The coupling V
lies between two matrices that do not act on spins, -B₋ ≤ V ≤ B₊ (`coupling_bounds`). If H₀ + B₊ has as many eigenvalues in Q
below the lower end of a wider window as H₀ - B₋ below its upper end, then H₀ + V has none in Q within it, by the monotony of
eigenvalues (Weyl). Its number of eigenvalues below σ is then twice that number, plus the number of negative eigenvalues of
the Schur complement of H₀ + V - σS on P (Haynsworth).

States of P of both spins are dressed with parts in Q until those of the window are eigenvectors. H₀ + V - σS within the
dressed states differs from a form that is congruent with the Schur complement by less than Rᴴ S⁻¹ R / d, with R what
H₀ + V - σS makes of them in Q, and d the distance of σ from the eigenvalues in Q. So the count is certain where adding and
subtracting as much gives the same number. All factorisations are those of matrices of half the size, real at Γ.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Float, Shaped

from gh_tools.console import log, progress
from gh_tools.errors import DataError
from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.dressed_states import Dressed
from gh_tools.spectra.sparse.factor import Engine
from gh_tools.spectra.sparse.pencil import Pencil
from gh_tools.spectra.sparse.shift_invert import (
    CLEAR,
    RESIDUAL,
    Inertia,
    Project,
    Slice,
    certified_slice,
)
from gh_tools.spectra.sparse.slices import Slicer
from gh_tools.spectra.sparse.spinors import SpinorPencil
from gh_tools.spectra.sparse.uncoupled import UncoupledStates, below_in_rest
from gh_tools.spectra.sparse.window_part import Part
from gh_tools.store.parts import Pieces

# eV by which states without coupling are taken beyond a window, at first, by how much that grows where it is too little, and
# how often. Coupling moves a state of W 5d by up to 0.35 eV.
_BEYOND, _GROWTH, _TRIALS = 0.8, 1.4, 8
# eV by which eigenvalues in Q stay away from a window, at least.
_DISTANCE = 0.2
# eV about a window in which states are refined, too, so that counts at its ends are certain; doubled where they are not.
_GUARD = 0.1
# eV about eigenvalues that are only looked at, which nothing certifies.
_MARGIN = 0.03
# eV; residual to which states of a window are refined. Of those about it as a part of the root of their distances from its
# end and from eigenvalues in Q.
_FINE, _NEAR = 0.3 * RESIDUAL, 0.1
_MOST_CYCLES = 20
# Steps by which each cycle improves what the window needs, and the one by which all states are dressed.
_STEPS, _FIRST_STEPS = 4, 1
# States without coupling about one part of a window, since dense algebra grows as their cube; eV that a part may have.
_MOST_STATES, _WIDEST = 1000, 2.0
# Part of a combination of dressed states, squared, that must lie in P.
_INDEPENDENT = 1e-3
# eV; beyond all eigenvalues.
_EVERYTHING = 1e4
# Bytes that a state takes, in those of one vector of spinors: with products and what is worked on.
_PER_STATE = 12
# eV; by how much the end of a window that hits an eigenvalue is moved, and how often; eV that it must keep from one.
_NUDGE, _NUDGES, _APART = 3.7e-5, 4, 1e-6


def most_states(memory: int, pencil: SpinorPencil) -> int:
    """Return how many states without coupling may be taken at once.

    Args:
        memory: bytes of the subspace with its products.
        pencil: of spinors.
    """
    return max(1, memory // (_PER_STATE * pencil.n * pencil.dtype.itemsize))


class SpinOrbitSlicer:
    """Finds all eigenvalues of spinors in a window, as `Slicer` does of other matrices.

    Attributes:
        pencil: H and S of spinors.
        model: where eigenvalues are expected.
    """

    def __init__(
        self,
        pencil: SpinorPencil,
        bounding: tuple[Pencil, Pencil],
        engine: Engine,
        project: Project,
        model: CountModel,
        *,
        rough: Engine | None = None,
        max_vectors: int | None = None,
        max_states: int | None = None,
    ):
        """Begin.

        Args:
            pencil: H and S of spinors.
            bounding: S, and H₀ plus the upper or lower bound of the coupling.
            engine: to factorise with.
            project: see `ShiftInvert`; sees spinors.
            model: of where eigenvalues without coupling lie.
            rough: engine of single precision, for guesses; None to do without.
            max_vectors: limit of each Lanczos basis.
            max_states: of states without coupling that may be taken at once.
        """
        self.pencil, self._engine, self._project = pencil, engine, project
        self.scalar = Slicer(
            *(pencil.scalar, engine, lambda x, sx, energies: x, model),
            rough=rough,
            max_vectors=max_vectors,
        )
        self.model = CountModel(
            np.repeat(model.eigenvalues, 2), np.ones(2 * len(model.eigenvalues))
        )
        self._bounding = bounding
        self._most = min(max_states or _MOST_STATES, _MOST_STATES)
        self._found: UncoupledStates | None = None

    def forget(self) -> None:
        """Take note that the engine holds other factors now."""
        self.scalar.forget()

    def solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "n m"]:
        """Solve with the matrix factorised last, for both spins."""
        return self.pencil.by_spins(self._engine.solve, rhs)

    def inertia(self, sigma: float, *, factors: bool = False) -> Inertia:
        """Return twice the number of states without coupling below an energy: a guess."""
        at = self.scalar.inertia(sigma, factors=factors)
        return Inertia(at.shift, 2 * at.below)

    def rough_inertia(self, sigma: float) -> int:
        """Return about as much, from single precision."""
        return 2 * self.scalar.rough_inertia(sigma)

    def near(
        self, sigma: float, need: tuple[int, int]
    ) -> tuple[Inertia, Slice, tuple[float, float]]:
        """Find eigenvalues on both sides of an energy; nothing certifies them yet. See `ShiftInvert.near`."""
        # Where states without coupling are: half as many, and a few more.
        more = (need[0] // 2 + 3, need[1] // 2 + 3)
        guess = self.scalar.near(sigma, more)[1].energies
        guess = np.concatenate([guess[guess < sigma][-more[0] :], guess[guess >= sigma][: more[1]]])
        low, high, wider = min(sigma, *guess) - _MARGIN, max(sigma, *guess) + _MARGIN, _GUARD
        while True:
            states = self._states(low - _BEYOND, high + _BEYOND)
            if 2 * len(states.energies) > self.pencil.scalar.n:
                states = self._states(-_EVERYTHING, _EVERYTHING)
            whole = len(states.energies) == self.pencil.scalar.n
            dressed = self._dressed(states, low, high, 0)
            self._refine(dressed, low, high, _MARGIN)
            below = 2 * states.below + int(np.sum(dressed.energies < sigma))
            inside = (dressed.energies > low) & (dressed.energies < high)
            left = int(np.sum(dressed.energies[inside] < sigma))
            enough = left >= min(need[0], below)
            enough &= inside.sum() - left >= min(need[1], self.pencil.n - below)
            if enough or whole:
                break
            low, high, wider = low - wider, high + wider, 2 * wider
        ends = (-np.inf if left == below else low, high)
        if inside.sum() - left == self.pencil.n - below:
            ends = ends[0], np.inf
        return Inertia(sigma, below), self._slice(dressed, inside), ends

    def eigenvalues(
        self, low: float, high: float, *, title: str = "eigenvalues", kept: Pieces | None = None
    ) -> tuple[Slice, Inertia, Inertia]:
        """Find all eigenvalues of a window. See `Slicer.eigenvalues`."""
        begun = None if kept is None else kept.read(0)
        if begun is not None and (float(begun["low"]), float(begun["high"])) == (low, high):
            edges = begun["edges"]
        else:
            begun = None
            states = self._states(low - _BEYOND, high + _BEYOND)
            edges = np.array([low, *_divisions(low, high, states.energies, self._most), high])
            if kept is not None:
                kept.write(0, {"low": np.array(low), "high": np.array(high), "edges": edges})
        parts: list[Part] = []
        with progress(f"{title} with coupling", len(edges) - 1) as shown:
            for number, end in enumerate(edges[1:].tolist(), 1):
                start = parts[-1].last if parts else low
                part = None
                if kept is not None and begun is not None:
                    part = Part.read(kept, number, start, end, _NUDGE * _NUDGES)
                if part is None:
                    begun = None  # what follows belongs to another window, before the Fermi level was final
                    part = self._window(start, end)
                    if kept is not None:
                        kept.write(number, part.arrays())
                parts.append(part)
                shown.advance()
        found = [part.found for part in parts]
        whole = Slice(
            np.concatenate([one.energies for one in found]),
            np.hstack([one.projections for one in found]),
            max(one.residual for one in found),
        )
        return whole, parts[0].first, parts[-1].last

    def _window(self, low: float | Inertia, high: float) -> Part:
        """Find all eigenvalues between two energies, of which the lower one may have been counted before."""
        before = low if isinstance(low, Inertia) else None
        bottom = low.shift if isinstance(low, Inertia) else low
        beyond = _BEYOND
        for _ in range(_TRIALS):
            states = self._states(bottom - beyond, high + beyond)
            states = states.within(bottom - beyond, high + beyond)
            if self._none_beyond(states, bottom - _DISTANCE, high + _DISTANCE):
                break
            log.info("spin–orbit coupling reaches beyond %.2f eV: taking more states", beyond)
            beyond *= _GROWTH
        else:
            raise DataError(
                "spin–orbit coupling moves states by so much that their number between "
                f"{bottom:.4f} and {high:.4f} eV cannot be certified; use --solver dense"
            )
        if not len(states.energies):
            count = 2 * states.below
            nothing = certified_slice(
                self.pencil, self._project, np.empty(0), lambda _: np.empty(0)
            )
            return Part(nothing, before or Inertia(bottom, count), Inertia(high, count))
        dressed, guard = self._dressed(states, bottom, high, _FIRST_STEPS), _GUARD
        while True:
            self._refine(dressed, bottom, high, guard)
            self._factors_of_overlap()
            form = dressed.residual_form(self.solve)
            self._check_congruent(dressed, form[2])
            first = before or self._counted(dressed, form, states, bottom)
            last = self._counted(dressed, form, states, high)
            if first is not None and last is not None:
                break
            guard *= 2
            if guard > beyond:
                raise DataError(
                    f"the eigenvalues below {bottom:.4f} and {high:.4f} eV cannot be counted for certain; ask for another "
                    "--window or use --solver dense"
                )
            self.scalar.inertia(dressed.sigma, factors=True)
        inside = (dressed.energies > first.shift) & (dressed.energies < last.shift)
        if inside.sum() != last.below - first.below:
            raise DataError(
                f"{inside.sum()} eigenvalues found between {first.shift:.4f} and {last.shift:.4f} eV, but "
                f"{last.below - first.below} are counted; ask for another --window or use --solver dense"
            )
        return Part(self._slice(dressed, inside), first, last)

    def _check_congruent(self, dressed: Dressed, in_rest: Complex[np.ndarray, "m m"]) -> None:
        """Make sure that the parts in P of the dressed states are linearly independent.

        Args:
            dressed: states.
            in_rest: S within their parts in Q.
        """
        smallest = np.linalg.eigvalsh(dressed.overlap - in_rest)[0]
        if smallest < _INDEPENDENT:
            raise DataError(
                f"spin–orbit coupling turns states into others wholly (a part of {smallest:.1e} is left of one), so that "
                "their number cannot be certified; use --solver dense"
            )

    def _factors_of_overlap(self) -> None:
        """Put the factors of S in the place of those of a shift."""
        self._engine.factorize(self.pencil.upper_overlap())
        self.forget()

    def _slice(self, dressed: Dressed, inside: Bool[np.ndarray, " states"]) -> Slice:
        """Return states with their weights."""
        index = np.flatnonzero(inside)
        return certified_slice(
            *(self.pencil, self._project, dressed.energies[index]),
            lambda some: dressed.vectors(index[some]),
        )

    def _states(self, low: float, high: float) -> UncoupledStates:
        """Return all states without coupling in a window, or in a wider one that is known."""
        if self._found is None:
            self._found = self._computed(low, high)
        if low < self._found.low:
            self._found = self._computed(low, self._found.low).joined(self._found)
        if high > self._found.high:
            self._found = self._found.joined(self._computed(self._found.high, high))
        return self._found

    def _computed(self, low: float, high: float) -> UncoupledStates:
        found, first, last = self.scalar.eigenvalues(low, high, title="states without coupling")
        return UncoupledStates(
            first.shift, last.shift, first.below, found.energies, found.projections
        )

    def _none_beyond(self, states: UncoupledStates, low: float, high: float) -> bool:
        """Tell whether all eigenvalues in Q certainly lie outside a window."""
        self.forget()
        return all(
            below_in_rest(pencil, self._engine, states.vectors, sigma) == states.below
            for pencil, sigma in zip(self._bounding, (low, high), strict=True)
        )

    def _dressed(self, states: UncoupledStates, low: float, high: float, steps: int) -> Dressed:
        """Dress all states in and about a window, by so many steps."""
        # Any energy within the window serves, but for eigenvalues of H₀ themselves.
        at = self.scalar.inertia(0.502 * low + 0.498 * high, factors=True)
        dressed = Dressed(
            *(self.pencil, states.energies, states.vectors, self.solve, at.shift),
            window=(low, high),
        )
        dressed.improve(np.arange(dressed.size), steps)
        return dressed

    def _refine(self, dressed: Dressed, low: float, high: float, guard: float) -> None:
        """Make the vectors of a window eigenvectors, and those about it nearly so.

        The engine holds the factors that they were dressed with.
        """
        for cycle in range(_MOST_CYCLES):
            if not cycle or not dressed.covers(low, high):
                dressed.window = (low - guard, high + guard)
                dressed.choose(*dressed.window)
            energies, residual = dressed.residuals()
            inside = (energies > low) & (energies < high)
            # What is left of the residual of one outside must not let it seem on the other side of an end.
            outside = _NEAR * np.sqrt(
                _DISTANCE * np.maximum(low - energies, energies - high).clip(_APART)
            )
            rough = residual > np.where(inside, _FINE, outside)
            if not rough.any():
                return
            log.debug("residuals up to %.1e eV, %d states to improve", residual.max(), rough.sum())
            dressed.improve(dressed.chosen[rough], _STEPS)
            dressed.diagonalise()
        raise DataError(
            f"eigenvectors with spin–orbit coupling do not converge between {low:.4f} and {high:.4f} eV (residual "
            f"{residual.max():.1e} eV); ask for a narrower --window or use --solver dense"
        )

    def _counted(
        self,
        dressed: Dressed,
        form: tuple[Complex[np.ndarray, "m m"], ...],
        states: UncoupledStates,
        sigma: float,
    ) -> Inertia | None:
        """Count the eigenvalues below σ, which is moved a little if it hits one.

        Args:
            dressed: states.
            form: of their residuals, as `Dressed.residual_form` gives it.
            states: without coupling.
            sigma: eV.

        Returns:
            None where the count is not certain.
        """
        nudged = sigma + _NUDGE * np.arange(_NUDGES)
        apart = abs(dressed.energies - nudged[:, None]).min(axis=1, initial=np.inf) > _APART
        shift = float(nudged[np.argmax(apart)])
        error = form[0] - shift * form[1] + shift**2 * form[2]
        error /= _DISTANCE - 2 * _NUDGES * _NUDGE
        within = dressed.hamiltonian - shift * dressed.overlap
        fewest, most = (
            int(np.sum(np.linalg.eigvalsh(within + sign * error) < -sign * CLEAR))
            for sign in (1, -1)
        )
        if fewest == most:
            return Inertia(shift, 2 * states.below + fewest)
        log.debug("between %d and %d eigenvalues below %.4f eV", fewest, most, shift)
        return None


def _divisions(
    low: float, high: float, energies: Float[np.ndarray, " states"], most: int
) -> list[float]:
    """Divide a window so that the number of states without coupling in and about each part is bounded.

    Parts that are narrower than what is taken about them would have hardly fewer.
    """
    inside = int(np.sum((energies > low - _BEYOND) & (energies < high + _BEYOND)))
    if (inside <= most and high - low < _WIDEST) or high - low < _BEYOND:
        return []
    middle = 0.5 * (low + high)
    return [
        *_divisions(low, middle, energies, most),
        middle,
        *_divisions(middle, high, energies, most),
    ]
