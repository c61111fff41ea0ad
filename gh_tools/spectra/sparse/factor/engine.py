"""What a factorisation must give, and which libraries can."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import scipy.sparse
from jaxtyping import Int, Shaped

from gh_tools.errors import DataError
from gh_tools.units import GIB


class UnreliableInertia(Exception):
    """A factorisation whose inertia cannot be relied on: the matrix is too close to singular."""


class Engine(ABC):
    """Factorises Hermitian matrices that share one pattern, and solves with the last of them.

    Attributes:
        name: as in `ENGINES`.
        memory: bytes that a factorisation may take.
        single: whether it works in single precision, in half the time and memory: for what need not be exact.
    """

    name: str
    hermitian = False  # whether the library itself factorises complex Hermitian matrices
    single = False

    def __init__(self, memory: int):
        self.memory = memory
        self._pattern: tuple[np.ndarray, np.ndarray] | None = None
        self._halves = False

    def factorize(self, upper: scipy.sparse.csr_array) -> int:
        """Factorise a matrix and count its negative eigenvalues, by Sylvester's law of inertia.

        Args:
            upper: upper triangle with the whole diagonal, indices sorted. The pattern is analysed
                once for all matrices that share its index arrays.

        Raises:
            DataError: the factors need more than the memory that is allowed.
            UnreliableInertia: pivots vanish, so that the count may be wrong.
        """
        known = self._pattern is not None and all(
            mine is its
            for mine, its in zip(self._pattern, (upper.indptr, upper.indices), strict=True)
        )
        pattern, n = (upper.indptr, upper.indices), upper.shape[0]
        self._halves = np.iscomplexobj(upper) and not self.hermitian
        if self.single:
            upper = upper.astype(np.complex64 if np.iscomplexobj(upper) else np.float32)
        if self._halves:
            upper = real_form(upper)
        if not known:
            self.close()
            need = self._analyse(upper)
            if need > self.memory:
                self.close()
                raise DataError(
                    f"the factors of a matrix of {n} orbitals take {need / GIB:.1f} GiB "
                    f"with {self.name}, and {self.memory / GIB:.1f} GiB are allowed or free; "
                    "give more with --memory, or use a machine that has it"
                )
            self._pattern = pattern
        negative = self._factorize(upper)
        if self._halves and negative % 2:
            raise UnreliableInertia(f"{self.name} split a pair of eigenvalues of the real form")
        return negative // 2 if self._halves else negative

    def solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        """Solve with the matrix factorised last."""
        if not self._halves:
            return self._solve(rhs)
        n = len(rhs)
        both = self._solve(np.concatenate([rhs.real, rhs.imag]))
        return both[:n] + 1j * both[n:]

    def close(self) -> None:
        """Give all memory back."""
        self._pattern = None

    @abstractmethod
    def _analyse(self, upper: scipy.sparse.csr_array) -> int:
        """Order the unknowns, and return how many bytes the factorisation will take."""

    @abstractmethod
    def _factorize(self, upper: scipy.sparse.csr_array) -> int: ...

    @abstractmethod
    def _solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]: ...


def real_form(upper: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Return the upper triangle of the real symmetric form [[A, -B], [B, A]] of A + iB.

    It has each eigenvalue of the Hermitian matrix twice: for libraries that know none such.
    """
    strict = scipy.sparse.triu(upper, 1, "csr")
    # Upper right: -B, whole and antisymmetric; explicit zeros stay, for the pattern to be the same.
    coupling = scipy.sparse.csr_array(
        (-strict.data.imag, strict.indices, strict.indptr), upper.shape
    ).tocoo()
    real = upper.real.tocoo()
    n = upper.shape[0]
    rows: Int[np.ndarray, " entries"] = np.concatenate(
        [real.row, real.row + n, coupling.row, coupling.col]
    )
    columns = np.concatenate([real.col, real.col + n, coupling.col + n, coupling.row + n])
    values = np.concatenate([real.data, real.data, coupling.data, -coupling.data])
    both = scipy.sparse.coo_array((values, (rows, columns)), shape=(2 * n, 2 * n)).tocsr()
    both.sort_indices()
    return scipy.sparse.csr_array(
        (both.data, both.indices.astype(np.int32), both.indptr.astype(np.int32)), both.shape
    )
