"""MUMPS, through python-mumps: free, and on every platform that conda-forge has."""

from __future__ import annotations

import mumps
import numpy as np
import scipy.sparse
from jaxtyping import Shaped

from gh_tools.errors import DataError
from gh_tools.spectra.sparse.factor.engine import Engine, UnreliableInertia

_MIB = 2**20
# MUMPS' estimate leaves no room for pivots that are put off; what it is allowed to add, in percent.
_ROOM = 30


class Mumps(Engine):
    """Symmetric indefinite factorisation. MUMPS has complex symmetric, but no Hermitian matrices."""

    name = "mumps"

    def _analyse(self, upper: scipy.sparse.csr_array) -> int:
        self._context = mumps.Context()
        self._context.set_matrix(upper, symmetric=True)
        self._context.mumps_instance.icntl[14] = _ROOM
        self._call(self._context.analyze)
        return int((1 + _ROOM / 100) * self._context.analysis_stats.est_mem_incore * _MIB)

    def _factorize(self, upper: scipy.sparse.csr_array) -> int:
        self._context.set_matrix(upper, symmetric=True)
        # 24: null pivots are found, and counted. 13: no ScaLAPACK for the last block, whose
        # inertia would then be left out.
        self._context.mumps_instance.icntl[24] = 1
        self._context.mumps_instance.icntl[13] = 1
        self._call(self._context.factor, reuse_analysis=True)
        facts = self._context.mumps_instance.infog
        if facts[28] > 0:
            raise UnreliableInertia(f"MUMPS found {facts[28]} null pivots")
        return int(facts[12])

    def _solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        return self._context.solve(np.asfortranarray(rhs, dtype=float))

    def close(self) -> None:
        """Give all memory back."""
        super().close()
        self._context = None

    def _call(self, function, **options) -> None:
        try:
            function(**options)
        except mumps.MUMPSError as problem:
            if problem.error in (-5, -7, -13):
                raise DataError(f"{problem}; use a machine with more memory") from None
            raise UnreliableInertia(str(problem)) from None
