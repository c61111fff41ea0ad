"""Inertia and eigenvalues of one sparse pencil at one shift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Inexact, Int, Shaped

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.spectra.perturbation import DEGENERATE
from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.factor import Engine
from gh_tools.spectra.sparse.factor.engine import UnreliableInertia
from gh_tools.spectra.sparse.lanczos import BlockLanczos
from gh_tools.spectra.sparse.pencil import Pencil
from gh_tools.spectra.sparse.spinors import SpinorPencil

# Vectors of the Lanczos basis per eigenvalue wanted, and beyond: many, where eigenvalues crowd outside.
VECTORS, MORE_VECTORS = 4, 300
# By how much a basis grows before it is asked again what has converged.
_GROWTH = 1.15
# Eigenvalues whose residuals are computed at once.
_TOGETHER = 256
# eV; largest ‖Hx - εSx‖ of an eigenvalue that is accepted. It bounds the error of ε once divided by the
# root of the smallest eigenvalue of S; the error itself is quadratic in it.
RESIDUAL = 1e-8
# eV; what Lanczos goes on to by its own estimate, so that true residuals keep well below.
_ESTIMATE = 1e-11
# eV; no eigenvalue may be this near to an end of a window: rounding could count it on either side.
CLEAR = 1e-8
# eV; the change of H that a count in single precision may amount to: some eigenvalues of a large structure.
ROUGH = 5e-3
# eV; a shift this near to an eigenvalue drowns the others in it.
_NEXT = 1e-6
# eV; by how much a shift that hits an eigenvalue is moved, and how often.
_NUDGE, _NUDGES = 3.7e-5, 4

Project = Callable[
    [Shaped[np.ndarray, "n m"], Shaped[np.ndarray, "n m"], Float[np.ndarray, " m"]],
    Inexact[np.ndarray, "rows m"],
]
# Of energies in eV and whether each has converged: which are wanted, or None for more vectors.
Satisfied = Callable[
    [Float[np.ndarray, " m"], Bool[np.ndarray, " m"]], Bool[np.ndarray, " m"] | None
]


@dataclass(frozen=True)
class Slice:
    """Eigenvalues of a window, all of them.

    Attributes:
        energies: eV, ascending.
        projections: what is computed of each eigenvector: the weight of each species, by how much members of an
            ensemble move the energy, or the vector itself.
        residual: largest ‖Hx - εSx‖ in eV, for xᴴSx = 1.
    """

    energies: Float[np.ndarray, " m"]
    projections: Inexact[np.ndarray, "rows m"]
    residual: float


class Inertia(NamedTuple):
    """The number of negative eigenvalues of H - σS, which by Sylvester's law is that of eigenvalues below σ.

    Attributes:
        shift: σ, eV.
        below: number of eigenvalues below it.
    """

    shift: float
    below: int


class NotConverged(Exception):
    """The basis is full and something is missing."""


class ShiftInvert:
    """Eigenvalues about a shift σ, which are the largest of (H - σS)⁻¹ S, and their number below it.

    Attributes:
        pencil: H and S.
        engine: library that factorises H - σS; it holds the factors at one shift.
        model: where eigenvalues are expected; it learns the inertia at each shift.
    """

    def __init__(
        self,
        pencil: Pencil,
        engine: Engine,
        project: Project,
        model: CountModel,
        *,
        rough: Engine | None = None,
        max_vectors: int | None = None,
    ):
        """Begin.

        Args:
            pencil: H and S.
            engine: to factorise with.
            project: gives the rows of `Slice.projections` of S-normalised vectors x, from x, Sx and their energies in eV,
                ascending; degenerate ones are given together.
            model: of where eigenvalues lie; learns what is counted.
            rough: engine of single precision, for guesses; None to do without.
            max_vectors: limit of each Lanczos basis; None for one by the number of eigenvalues.
        """
        self.pencil, self.engine, self.model, self._project = pencil, engine, model, project
        self._rough, self._max_vectors = rough, max_vectors
        self._current: Inertia | None = None

    def inertia(self, sigma: float, *, factors: bool = False) -> Inertia:
        """Count the eigenvalues below a shift, which is moved a little if it hits one.

        Args:
            sigma: eV.
            factors: have the engine hold the factors, even if the inertia is known.

        Raises:
            DataError: if no factorisation near the shift can be trusted.
        """
        for nudge in range(_NUDGES):
            shift = sigma + nudge * _NUDGE
            if shift in self.model.known and not factors:
                return Inertia(shift, int(self.model.known[shift]))
            try:
                self._current = None
                if self._rough is not None:
                    self._rough.close()
                below = self.engine.factorize(self.pencil.shifted(shift))
                self._check_solution(shift, self.engine, CLEAR)
            except UnreliableInertia as problem:
                log.info("the factorisation at %.5f eV is not trustworthy (%s)", shift, problem)
                continue
            self._current = Inertia(shift, below)
            self.model.known[shift] = below
            return self._current
        raise DataError(
            f"no factorisation of H - σS near σ = {sigma:.4f} eV with {self.engine.name} can be "
            "trusted to count eigenvalues; use another --engine or --solver dense"
        )

    def rough_inertia(self, sigma: float) -> int:
        """Count the eigenvalues below a shift in single precision, for guesses that an exact count corrects.

        The count is that of H changed by at most `ROUGH`; where that cannot be said, it is the exact one.

        Args:
            sigma: eV.
        """
        if self._rough is None or sigma in self.model.known:
            return self.inertia(sigma).below
        try:
            below = self._rough.factorize(self.pencil.shifted(sigma))
            self._check_solution(sigma, self._rough, ROUGH)
        except UnreliableInertia as problem:
            # So it will be at other shifts: matrices of spinors are harder to factorise.
            log.info("counted in double precision from %.5f eV on (%s)", sigma, problem)
            self._rough.close()
            self._rough = None
            return self.inertia(sigma).below
        return below

    def forget(self) -> None:
        """Take note that the engine holds other factors now."""
        self._current = None

    def solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        """Solve with the matrix factorised last."""
        return self.engine.solve(rhs)

    def near(
        self, sigma: float, need: tuple[int, int]
    ) -> tuple[Inertia, Slice, tuple[float, float]]:
        """Find eigenvalues on both sides of a shift, nearest first; nothing certifies them yet.

        Args:
            sigma: eV.
            need: how many below and above, at least; fewer if there are no more.

        Returns:
            The inertia at the shift, the eigenvalues found, and the energies between which they are.

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

    def _lanczos(self, at: Inertia, wanted: int, satisfied: Satisfied) -> Slice:
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

        def vectors(some: np.ndarray) -> np.ndarray:
            return lanczos.vectors(theta[order[some]], coefficients[:, order[some]])

        return certified_slice(self.pencil, self._project, energies[order], vectors)

    def _empty(self) -> Slice:
        return certified_slice(self.pencil, self._project, np.empty(0), lambda _: np.empty(0))

    def _factorized(self, sigma: float) -> Inertia:
        """Make sure that the engine holds the factors at a shift."""
        if self._current is None or abs(self._current.shift - sigma) > _NUDGE * _NUDGES:
            self.inertia(sigma, factors=True)
        assert self._current is not None  # just counted with factors
        return self._current

    def _check_solution(self, shift: float, engine: Engine, most: float) -> None:
        """Make sure that an engine's factors are those of the matrix, to so many eV: solve, multiply, compare."""
        pencil = self.pencil
        rhs = np.random.default_rng(1).standard_normal((pencil.n, 1)).astype(pencil.dtype)
        x = engine.solve(rhs).astype(pencil.dtype)
        left = pencil.apply_hamiltonian(x) - shift * pencil.apply_overlap(x) - rhs
        error = np.linalg.norm(left) / np.linalg.norm(x)
        # ‖r‖/‖x‖ is the size in eV of the change of H that would make the solution exact, and with
        # it the one to which the inertia belongs.
        if not error < most:
            raise UnreliableInertia(f"backward error {error:.1e} eV")
        if engine.single:
            return  # an eigenvalue next to the shift may be counted on either side of it
        # Once more: what grows most is the eigenvalue next to the shift.
        growth = np.linalg.norm(engine.solve(pencil.apply_overlap(x))) / np.linalg.norm(x)
        if growth * _NEXT > 1:
            raise UnreliableInertia(f"an eigenvalue lies {1 / growth:.1e} eV away")


def certified_slice(
    pencil: Pencil | SpinorPencil,
    project: Project,
    energies: Float[np.ndarray, " m"],
    vectors: Callable[[Int[np.ndarray, " some"]], Shaped[np.ndarray, "n some"]],
) -> Slice:
    """Return eigenvalues with what is computed of their eigenvectors, and their true residuals.

    Args:
        pencil: H and S.
        project: see `ShiftInvert`.
        energies: eV, ascending.
        vectors: gives the S-normalised eigenvectors of some.

    Raises:
        DataError: a residual is too large.
    """
    parts, residual = [], 0.0
    for some in _together(energies):
        x = vectors(some)
        hx, sx = pencil.apply_hamiltonian(x), pencil.apply_overlap(x)
        parts.append(project(x, sx, energies[some]))
        hx -= energies[some] * sx
        residual = max(residual, float(np.linalg.norm(hx, axis=0).max()))
    if residual > RESIDUAL:
        raise DataError(
            f"an eigenvalue has the residual {residual:.1e} eV, more than {RESIDUAL:.0e}; "
            "use another --engine or --solver dense"
        )
    if not parts:
        nothing = np.empty((pencil.n, 0), pencil.dtype)
        return Slice(np.empty(0), project(nothing, nothing, np.empty(0)), 0.0)
    return Slice(energies, np.hstack(parts), residual)


def _together(energies: Float[np.ndarray, " m"]) -> list[Int[np.ndarray, " part"]]:
    """Divide what is in the order of its energies into parts of bounded size, between which no energies are degenerate."""
    gaps = np.flatnonzero(np.diff(energies) > DEGENERATE) + 1
    cuts: list[int] = []
    for start in range(_TOGETHER, len(energies), _TOGETHER):
        before = gaps[gaps <= start]
        if len(before) and before[-1] > (cuts[-1] if cuts else 0):
            cuts.append(int(before[-1]))
    return [part for part in np.split(np.arange(len(energies)), cuts) if len(part)]
