"""Block Lanczos for the shifted and inverted pencil, (H - σS)⁻¹ S, orthogonal in S."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from jaxtyping import Float, Shaped

BLOCK = 16
# What is left of a vector after orthogonalisation, if this small against it, is rounding.
_DEPENDENT = 1e-12
_SMALL = 1e-4
# Smallest eigenvalue of a Gram matrix against the largest that rounding leaves some digits of.
_RESOLVED = 1e-12

Apply = Callable[[Shaped[np.ndarray, "n m"]], Shaped[np.ndarray, "n m"]]


class BlockLanczos:
    """Grows an S-orthonormal basis V with full reorthogonalisation, and T = Vᴴ S (H - σS)⁻¹ S V.

    Eigenvalues near the shift converge first: an eigenvalue θ of T is the eigenvalue σ + 1/θ of H and S.

    Attributes:
        size: number of vectors that T is known for.
    """

    def __init__(
        self,
        solve: Apply,
        apply_overlap: Apply,
        n: int,
        dtype: np.dtype,
        *,
        max_size: int,
        block: int = BLOCK,
        seed: int = 0,
    ):
        """Start from random vectors.

        Args:
            solve: applies (H - σS)⁻¹.
            apply_overlap: applies S.
            n: number of orbitals.
            dtype: of the matrices.
            max_size: vectors that the basis may hold.
            block: vectors that are added at once; no degeneracy may exceed it much.
            seed: of the random vectors.
        """
        self._solve, self._apply = solve, apply_overlap
        self._rng = np.random.default_rng(seed)
        self._n, self.max_size, self.size = n, min(max_size, n), 0
        block = min(block, self.max_size)
        columns = self.max_size + block
        # Columns are written and multiplied in blocks: Fortran order keeps each together.
        self._v = np.empty((n, columns), dtype, order="F")
        self._sv = np.empty_like(self._v)
        self._t = np.zeros((columns, columns), dtype)
        self._coupling = np.zeros((0, 0), dtype)
        self._block = 0
        self._append(*self._random(block))

    @property
    def finished(self) -> bool:
        """Whether the basis is full, or spans all there is."""
        return self._block == 0 or self.size + self._block > self.max_size

    def extend(self) -> None:
        """Multiply the newest block, and append what is new in it."""
        new = slice(self.size, self.size + self._block)
        width, self.size = self._block, self.size + self._block
        w = self._solve(self._sv[:, new])
        sw = self._apply(w)
        scale = _norms(w, sw).max()
        w, sw, inside = self._orthogonal(w, sw)
        self._t[: self.size, new] = inside
        w, sw, coupling = self._basis_of(w, sw, scale)
        kept = w.shape[1]
        if kept < width:  # the Krylov space of the start is nearly exhausted: go on with another
            more = self._random(width - kept, w, sw)
            w, sw = np.hstack([w, more[0]]), np.hstack([sw, more[1]])
            coupling = np.vstack([coupling, np.zeros((more[0].shape[1], width))])
        room = min(w.shape[1], self._n - self.size)
        self._coupling = coupling[:room]
        self._append(w[:, :room], sw[:, :room])
        rows = slice(self.size, self.size + room)
        self._t[rows, new] = self._coupling
        self._t[new, rows] = self._coupling.conj().T

    def ritz(
        self,
    ) -> tuple[
        Float[np.ndarray, " size"], Shaped[np.ndarray, "size size"], Float[np.ndarray, " size"]
    ]:
        """Return the eigenvalues θ of T, its eigenvectors, and their residual norms in S."""
        t = self._t[: self.size, : self.size]
        theta, vectors = scipy.linalg.eigh(0.5 * (t + t.conj().T))
        width = self._coupling.shape[1]
        return theta, vectors, np.linalg.norm(self._coupling @ vectors[-width:], axis=0)

    def vectors(
        self, theta: Float[np.ndarray, " m"], coefficients: Shaped[np.ndarray, "size m"]
    ) -> Shaped[np.ndarray, "n m"]:
        """Return S-normalised eigenvectors: the Ritz vectors, multiplied by the operator once more.

        The product lies in the space spanned by one more block, so it costs no solve. It takes out
        what of the error lies far from the shift: the residual of x becomes S V β s / θ².
        """
        width = self._coupling.shape[1]
        beyond = self._coupling @ coefficients[-width:] / theta
        whole = np.vstack([coefficients, beyond])
        whole /= np.linalg.norm(whole, axis=0)
        return self._v[:, : len(whole)] @ whole

    def _random(self, count: int, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return S-orthonormal random vectors, orthogonal to the basis and to other vectors."""
        x = self._rng.standard_normal((self._n, count)).astype(self._v.dtype)
        sx = self._apply(x)
        scale = _norms(x, sx).max()
        x, sx, _ = self._orthogonal(x, sx, *others)
        return self._basis_of(x, sx, scale)[:2]

    def _orthogonal(self, w, sw, *others) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take out what lies in the basis (and in other vectors), twice for rounding."""
        v, sv = self._v[:, : self.size], self._sv[:, : self.size]
        inside = np.zeros((self.size, w.shape[1]), self._v.dtype)
        for _ in range(2):
            part = v.conj().T @ sw
            w, sw, inside = w - v @ part, sw - sv @ part, inside + part
            if others:
                part = others[0].conj().T @ sw
                w, sw = w - others[0] @ part, sw - others[1] @ part
        return w, sw, inside

    def _basis_of(self, w, sw, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return an S-orthonormal basis Q, S Q and R of w = Q R, without what is rounding of ``scale``.

        A Gram matrix resolves six orders of magnitude: what is smaller comes from what it leaves.
        """
        q, sq = w[:, :0], sw[:, :0]
        rest, srest = w, sw
        while q.shape[1] < w.shape[1]:
            value, vector = scipy.linalg.eigh(rest.conj().T @ srest)
            keep = value > max((_DEPENDENT * scale) ** 2, _RESOLVED * value[-1])
            if not keep.any():
                break
            transform = vector[:, keep] / np.sqrt(value[keep])
            new, snew = rest @ transform, srest @ transform
            if value[keep][0] < (_SMALL * scale) ** 2:
                # Rounding of what was taken out is large against these.
                new, snew, _ = self._orthogonal(new, snew, q, sq)
                real = _norms(new, snew) > 0.5  # of nothing but rounding, little is left
                new, snew = new[:, real], snew[:, real]
                if not real.any():
                    break
            new, snew = _unit(new, snew)
            q, sq = np.hstack([q, new]), np.hstack([sq, snew])
            part = new.conj().T @ srest
            rest, srest = rest - new @ part, srest - snew @ part
        return q, sq, q.conj().T @ sw

    def _append(self, w: np.ndarray, sw: np.ndarray) -> None:
        self._block = w.shape[1]
        place = slice(self.size, self.size + self._block)
        self._v[:, place], self._sv[:, place] = w, sw


def _norms(w: np.ndarray, sw: np.ndarray) -> Float[np.ndarray, " m"]:
    return np.sqrt(abs(np.einsum("nm,nm->m", w.conj(), sw)))


def _unit(w: np.ndarray, sw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make nearly S-orthonormal vectors so, without those that are rounding alone."""
    value, vector = scipy.linalg.eigh(w.conj().T @ sw)
    real = value > 0.1
    transform = vector[:, real] / np.sqrt(value[real])
    return w @ transform, sw @ transform
