"""States without spin–orbit coupling, dressed by it until they are eigenvectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from jaxtyping import Complex, Float, Int, Shaped

from gh_tools.spectra.sparse.spinors import SpinorPencil

# Columns that are worked on at once.
_TOGETHER = 64
# eV; eigenvalues nearer than this are taken for the same when partners of time reversal are told apart.
_SAME = 1e-6

Solve = Callable[[Complex[np.ndarray, "n m"]], Complex[np.ndarray, "n m"]]


class Dressed:
    """As many vectors as states of both spins, each of which is those states mostly, and a part S-orthogonal to them.

    Diagonalising within vectors of that kind cannot give what lies between the eigenvalues of the orthogonal part (spectral
    pollution), as it would with these parts as vectors of their own.

    Where H₀ is real, time reversal makes of each vector another one: only one of both is kept.

    Attributes:
        energies: of all vectors after the last `diagonalise`, eV, ascending.
        chosen: columns that are diagonalised.
        sigma: where what precedes GMRES was factorised, eV.
        window: energies at which vectors are dressed, eV.
        hamiltonian: H within all vectors.
        overlap: S within them.
    """

    def __init__(
        self,
        pencil: SpinorPencil,
        energies: Float[np.ndarray, " states"],
        states: Shaped[np.ndarray, "n states"],
        solve: Solve,
        sigma: float,
        window: tuple[float, float],
    ):
        """Begin with states without coupling.

        Args:
            pencil: H and S of spinors.
            energies: of the states, eV.
            states: S-normalised.
            solve: applies (H₀ - σS)⁻¹ to both spins.
            sigma: eV.
            window: energies at which vectors are dressed, eV.
        """
        self.window = window
        self._pencil, self._solve, self.sigma = pencil, solve, sigma
        self._p, self._sp = states, pencil.scalar.apply_overlap(states)
        self._paired = np.isrealobj(pencil.scalar.hamiltonian)
        x = pencil.spinors(states)
        self._x = x[:, : states.shape[1]] if self._paired else x
        self._sx = pencil.apply_overlap(self._x)
        self._hx = pencil.apply_hamiltonian(self._x)
        self.chosen: Int[np.ndarray, " chosen"] = np.arange(self.size)
        both = np.concatenate([energies, energies])
        self.energies = np.sort(both)
        self._of_columns = energies.copy() if self._paired else both
        shape = (self.size, self.size)
        reverse = shape if self._paired else (0, 0)
        self._h, self._s = (
            (np.zeros(shape, complex), np.zeros(reverse, complex)) for _ in range(2)
        )
        self._gather(self.chosen)

    @property
    def size(self) -> int:
        """Number of columns that are kept."""
        return self._x.shape[1]

    def improve(self, columns: Int[np.ndarray, " some"], steps: int) -> None:
        """Add to vectors what solves for their parts in Q, nearly, at their energy or the end of `window` next to it.

        Of states far away their own energies may be those of states in Q, which then would take their places.

        Args:
            columns: which.
            steps: of GMRES; with none the parts are what (H₀ - σS)⁻¹ makes of residuals.
        """
        for start in range(0, len(columns), _TOGETHER):
            some = columns[start : start + _TOGETHER]
            energy = self._of_columns[some].clip(*self.window)
            residual = self._hx[:, some] - energy * self._sx[:, some]
            x = self._x[:, some] + self._correction(residual, energy, steps)
            self._x[:, some] = x
            self._sx[:, some] = self._pencil.apply_overlap(x)
            self._hx[:, some] = self._pencil.apply_hamiltonian(x)
        self._gather(columns)

    def choose(self, low: float, high: float) -> None:
        """Make all columns eigenvectors of H within them, and choose those with energies in a window.

        Args:
            low: eV.
            high: eV.
        """
        values, coefficients = self._eigenvectors()
        self._rotate(np.arange(self.size), values, coefficients)
        self.chosen = np.flatnonzero((values > low) & (values < high))

    def diagonalise(self) -> None:
        """Make the chosen columns eigenvectors of H within all; the others stay, and span the same space with them."""
        values, coefficients = self._eigenvectors()
        self._rotate(self.chosen, values[self.chosen], coefficients[:, self.chosen])

    def covers(self, low: float, high: float) -> bool:
        """Tell whether all vectors with energies in a window are chosen."""
        (inside,) = np.nonzero((self.energies > low) & (self.energies < high))
        return bool(np.isin(inside // (2 if self._paired else 1), self.chosen).all())

    def residuals(self) -> tuple[Float[np.ndarray, " chosen"], Float[np.ndarray, " chosen"]]:
        """Return energies and residuals ‖Hx - εSx‖ of the chosen columns, eV."""
        energies = self._of_columns[self.chosen]
        rest = self._hx[:, self.chosen] - energies * self._sx[:, self.chosen]
        return energies, np.linalg.norm(rest, axis=0)

    def vectors(self, index: Int[np.ndarray, " some"]) -> Complex[np.ndarray, "n some"]:
        """Return S-normalised eigenvectors by their number among all, which must be of chosen columns."""
        if not self._paired:
            return self._x[:, index]
        x = self._x[:, index // 2]
        odd = index % 2 == 1
        x[:, odd] = self._reversed(x[:, odd])
        return x

    def residual_form(
        self, solve_overlap: Solve
    ) -> tuple[Complex[np.ndarray, "m m"], Complex[np.ndarray, "m m"], Complex[np.ndarray, "m m"]]:
        """Return A, B and C of RᴴS⁻¹R = A - σB + σ²C, with R the part in Q of (H - σS) x of all vectors.

        Args:
            solve_overlap: applies S⁻¹ to both spins.
        """
        of_h, of_s = np.empty_like(self._x), np.empty_like(self._x)
        for start in range(0, self.size, _TOGETHER):
            some = slice(start, start + _TOGETHER)
            of_h[:, some] = self._in_rest(solve_overlap(self._hx[:, some]))
            of_s[:, some] = self._in_rest(self._x[:, some])
        both = self._whole(*self._form(of_h, self._sx))
        return (
            _hermitian(self._whole(*self._form(of_h, self._hx))),
            both + both.conj().T,
            _hermitian(self._whole(*self._form(of_s, self._sx))),
        )

    def _eigenvectors(self) -> tuple[Float[np.ndarray, " size"], Complex[np.ndarray, "m size"]]:
        """Diagonalise within all vectors, and return what becomes of the columns."""
        values, coefficients = scipy.linalg.eigh(self.hamiltonian, self.overlap)
        self.energies = values
        if not self._paired:
            return values, coefficients
        return values[::2], _one_of_each(values, coefficients, self.overlap)

    def _rotate(self, columns, values, coefficients) -> None:
        """Put combinations of all vectors in the place of columns."""
        for whole in (self._x, self._sx, self._hx):
            combined = whole @ coefficients[: self.size]
            if self._paired:
                combined += self._reversed(whole @ coefficients[self.size :].conj())
            whole[:, columns] = combined
        self._of_columns[columns] = values
        self._gather(columns)

    def _gather(self, columns: Int[np.ndarray, " some"]) -> None:
        """Bring the matrices within the vectors up to date."""
        for form, products in ((self._h, self._hx), (self._s, self._sx)):
            changed = self._form(self._x, products[:, columns])
            form[0][:, columns], form[0][columns] = changed[0], changed[0].conj().T
            if self._paired:  # of a vector with one that time has reversed, it is antisymmetric
                form[1][:, columns], form[1][columns] = changed[1], -changed[1].T
        self.hamiltonian = _hermitian(self._whole(*self._h))
        self.overlap = _hermitian(self._whole(*self._s))

    def _form(self, left, right) -> tuple[np.ndarray, np.ndarray]:
        """Return leftᴴ·right, and with time reversed on the right, leftᴴ·T(right)."""
        direct = left.conj().T @ right
        return direct, (left.conj().T @ self._reversed(right) if self._paired else direct[:0])

    def _whole(self, direct: np.ndarray, reverse: np.ndarray) -> np.ndarray:
        """Return the form of all vectors from that of the columns that are kept."""
        if not self._paired:
            return direct
        return np.block([[direct, reverse], [-reverse.conj(), direct.conj()]])

    def _correction(self, residual, energy, steps: int) -> np.ndarray:
        """Return Δ in Q that makes (H - εS)Δ minus the residual, nearly, by GMRES with (H₀ - σS)⁻¹ before it."""
        pencil, moved = self._pencil, energy - self.sigma

        def apply(u: np.ndarray) -> np.ndarray:
            rest = pencil.apply_coupling(u) - moved * pencil.apply_overlap(u)
            return u + self._in_rest(self._solve(rest))

        start = -self._in_rest(self._solve(residual))
        if not steps:
            return start
        norm = np.linalg.norm(start, axis=0)
        basis = [start / np.where(norm > 0, norm, 1)]
        # Each column has a Krylov space of its own.
        hessenberg = np.zeros((len(energy), steps + 1, steps), complex)
        for step in range(steps):
            new = apply(basis[step])
            for _ in range(2):
                for row, one in enumerate(basis):
                    part = np.einsum("nm,nm->m", one.conj(), new)
                    hessenberg[:, row, step] += part
                    new -= one * part
            size = np.linalg.norm(new, axis=0)
            hessenberg[:, step + 1, step] = size
            basis.append(new / np.where(size > 0, size, 1))
        target = np.zeros((len(energy), steps + 1), complex)
        target[:, 0] = norm
        weights = np.einsum("msr,mr->ms", np.linalg.pinv(hessenberg), target)
        return sum(one * weight for one, weight in zip(basis[:-1], weights.T, strict=True))

    def _in_rest(self, x: np.ndarray) -> np.ndarray:
        """Take out what lies in the states without coupling."""
        adjoint = self._sp.conj().T
        return x - self._pencil.by_spins(lambda y: self._p @ (adjoint @ y), x)

    def _reversed(self, x: np.ndarray) -> np.ndarray:
        """Reverse time."""
        result = np.empty_like(x)
        result[self._pencil.up] = -x[self._pencil.down].conj()
        result[self._pencil.down] = x[self._pencil.up].conj()
        return result


def _one_of_each(values, coefficients, overlap) -> np.ndarray:
    """Return one of each pair of eigenvectors that time reversal makes of each other.

    Of a single pair any vector will do. Among more than two of the same energy those are taken one by one that have most that
    is neither in those taken, nor in their partners.
    """
    chosen = coefficients[:, ::2].copy()
    pairs = np.split(
        np.arange(len(values) // 2), np.flatnonzero(values[2::2] - values[1:-1:2] > _SAME) + 1
    )
    half = len(overlap) // 2
    for pair in pairs:
        if len(pair) < 2:
            continue
        rest = coefficients[:, 2 * pair[0] : 2 * pair[-1] + 2].copy()
        for column in pair:
            size = np.einsum("im,im->m", rest.conj(), overlap @ rest).real
            one = rest[:, [size.argmax()]] / np.sqrt(size.max())
            both = np.hstack([one, np.vstack([-one[half:].conj(), one[:half].conj()])])
            rest -= both @ (both.conj().T @ (overlap @ rest))
            chosen[:, column] = one[:, 0]
    return chosen


def _hermitian(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.conj().T)
