"""PARDISO of Intel's MKL, through the library that pypardiso finds."""

from __future__ import annotations

import ctypes

import numpy as np
import scipy.sparse
from jaxtyping import Shaped
from pypardiso import PyPardisoSolver

from gh_tools.errors import DataError
from gh_tools.spectra.sparse.factor.engine import Engine, UnreliableInertia

_INT = ctypes.c_int32
_SYMMETRIC_INDEFINITE = -2
_ANALYSE, _FACTORIZE, _SOLVE, _RELEASE = 11, 22, 33, -1
_OUT_OF_MEMORY = -2


class Pardiso(Engine):
    """Symmetric indefinite factorisation (mtype -2).

    There is a Hermitian one (mtype -4), but it reports no inertia.
    """

    name = "pardiso"

    def __init__(self, memory: int, single: bool = False):
        super().__init__(memory)
        self.single, self._dtype = single, np.dtype(np.float32 if single else np.float64)
        # Looked up by index: a function object of its own, without pypardiso's argument types.
        self._pardiso = PyPardisoSolver().libmkl["pardiso"]
        self._pardiso.restype = None
        self._handle = np.zeros(64, dtype=np.int64)
        self._n = 0

    def _analyse(self, upper: scipy.sparse.csr_array) -> int:
        self._n = upper.shape[0]
        self._handle[:] = 0
        self._options = options = np.zeros(64, dtype=np.int32)
        options[0] = 1  # not the defaults
        options[1] = 2  # nested dissection by METIS
        # Pivots below 1e-13 of the norm are perturbed, and counted; in single precision below 1e-6
        options[9] = 6 if self.single else 13
        options[20] = 1  # Bunch-Kaufman pivoting
        options[27] = int(self.single)
        options[34] = 1  # indices count from zero
        self._matrix = upper
        self._call(_ANALYSE)
        # In KiB: peak of the analysis, then what it keeps and what the factorisation adds.
        return 1024 * max(int(options[14]), int(options[15]) + int(options[16]))

    def _factorize(self, upper: scipy.sparse.csr_array) -> int:
        self._matrix = upper
        self._call(_FACTORIZE)
        if self._options[13] > 0:
            raise UnreliableInertia(f"PARDISO perturbed {self._options[13]} pivots")
        positive, negative = int(self._options[21]), int(self._options[22])
        if positive + negative != self._n:
            raise UnreliableInertia(
                f"PARDISO counted {positive} + {negative} of {self._n} eigenvalues"
            )
        return negative

    def _solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        rhs = np.asfortranarray(rhs, dtype=self._dtype)
        solution = np.empty_like(rhs, order="F")
        self._call(_SOLVE, rhs, solution)
        return solution

    def close(self) -> None:
        """Give all memory back."""
        super().close()
        if self._n:
            self._call(_RELEASE)
            self._n = 0
            self._matrix = None

    def _call(self, phase: int, rhs: np.ndarray | None = None, solution=None) -> None:
        matrix, error = self._matrix, _INT(0)
        empty = np.zeros(1)
        rhs = empty if rhs is None else rhs
        solution = empty if solution is None else solution
        one, silent = ctypes.byref(_INT(1)), ctypes.byref(_INT(0))

        def address(array: np.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(array.ctypes.data)

        self._pardiso(
            address(self._handle),
            one,
            one,
            ctypes.byref(_INT(_SYMMETRIC_INDEFINITE)),
            ctypes.byref(_INT(phase)),
            ctypes.byref(_INT(self._n)),
            address(matrix.data),
            address(matrix.indptr),
            address(matrix.indices),
            None,
            ctypes.byref(_INT(rhs.shape[1] if rhs.ndim == 2 else 1)),
            address(self._options),
            silent,
            address(rhs),
            address(solution),
            ctypes.byref(error),
        )
        if error.value == _OUT_OF_MEMORY:
            raise DataError(
                f"PARDISO ran out of memory at {self._n} orbitals; use a machine with more"
            )
        if error.value:
            raise UnreliableInertia(f"PARDISO failed with error {error.value} in phase {phase}")
