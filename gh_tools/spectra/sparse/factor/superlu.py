"""SuperLU of SciPy: always there, slow, and good for a few thousand orbitals."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Shaped
from scipy.sparse.linalg import splu

from gh_tools.errors import DataError
from gh_tools.spectra.sparse.factor.engine import Engine, UnreliableInertia

# Imaginary part of a pivot against its size: rounding, far too small to leave its sign in doubt.
_ROUNDING = 1e-4


class SuperLU(Engine):
    """LU in its symmetric mode: with pivots taken from the diagonal, U's has the signs of D in LDL†.

    There are no 2×2 pivots, so that a zero on the diagonal may make factors grow. It is found out:
    rows must be permuted like columns.
    """

    name = "superlu"
    hermitian = True

    def __init__(self, memory: int, single: bool = False):
        super().__init__(memory)
        self.single = single

    def _analyse(self, upper: scipy.sparse.csr_array) -> int:
        # SuperLU tells what it took only afterwards: L and U, with indices, if they were all dense.
        return upper.shape[0] ** 2 * (upper.dtype.itemsize + 4)

    def _factorize(self, upper: scipy.sparse.csr_array) -> int:
        strict = scipy.sparse.triu(upper, 1, "csr")
        self._matrix = matrix = (upper + strict.conj().T).tocsc()
        try:
            self._factors = factors = splu(
                matrix,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as problem:
            raise UnreliableInertia(f"SuperLU: {problem}") from None
        except MemoryError:
            raise DataError(
                f"SuperLU ran out of memory at {upper.shape[0]} orbitals; install PARDISO or MUMPS"
            ) from None
        pivots = factors.U.diagonal()
        if not np.array_equal(factors.perm_r, factors.perm_c):
            raise UnreliableInertia("SuperLU took a pivot off the diagonal")
        if np.any(abs(pivots.imag) > _ROUNDING * abs(pivots)) or np.any(pivots == 0):
            raise UnreliableInertia("SuperLU lost Hermiticity")
        return int(np.sum(pivots.real < 0))

    def _solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        rhs = np.asfortranarray(rhs, dtype=self._matrix.dtype)
        x = self._factors.solve(rhs)
        # Without pivoting factors may have grown: one step of refinement brings their rounding down.
        return x + self._factors.solve(rhs - self._matrix @ x)

    def close(self) -> None:
        """Give all memory back."""
        super().close()
        self._factors = self._matrix = None
