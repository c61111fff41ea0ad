"""Whether S is positive definite, without which counts of eigenvalues mean nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.spectra.eigen import POOR_OVERLAP
from gh_tools.spectra.sparse.factor import Engine
from gh_tools.spectra.sparse.factor.engine import UnreliableInertia
from gh_tools.spectra.sparse.pencil import Pencil, overlap_bounds

# By how much the smallest eigenvalue of S must be above the error of its factors in single precision, and at least.
_DECIDED, _SMALL_OVERLAP = 100.0, 1e-3


def check_overlap(
    pencil: Pencil, engine: Engine, rough: Engine | None, name: str, k: Float[np.ndarray, "3"]
) -> tuple[float, float]:
    """Make sure that S is positive definite, and return bounds of its eigenvalues.

    Args:
        pencil: H and S.
        engine: to factorise with.
        rough: engine of single precision, which is tried first; None to do without.
        name: of the structure, for messages.
        k: where, in units of the reciprocal lattice vectors.

    Raises:
        DataError: it is not, so that there are no eigenvalues.
    """
    where = f"the overlap matrix at k = {k.round(4).tolist()}"
    mend = "label with a more confined or smaller basis"
    bounds = None if rough is None else _rough_bounds(pencil, rough)
    if bounds is None:
        if rough is not None:
            rough.close()
        try:
            negative = engine.factorize(pencil.upper_overlap())
        except UnreliableInertia:
            negative = -1
        if negative:
            raise DataError(
                f"{where} is not positive definite, so there are no eigenvalues; {mend}"
            )
        bounds = overlap_bounds(pencil, engine.solve)
    low, high = bounds
    if low < POOR_OVERLAP:
        log.warning(
            "%s: %s has the eigenvalue %.1e: errors of H grow up to %.0e times in the eigenvalues; %s",
            *(name, where, low, 1 / low, mend),
        )
    return low, high


def _rough_bounds(pencil: Pencil, engine: Engine) -> tuple[float, float] | None:
    """Return bounds of the eigenvalues of S from its factors in single precision; None where these do not decide.

    They decide where the smallest eigenvalue is far above the change of S that would make the factors exact.
    """
    try:
        if engine.factorize(pencil.upper_overlap()):
            return None
    except UnreliableInertia:
        return None
    rhs = np.random.default_rng(1).standard_normal((pencil.n, 1)).astype(pencil.dtype)
    x = engine.solve(rhs).astype(pencil.dtype)
    error = np.linalg.norm(pencil.apply_overlap(x) - rhs) / np.linalg.norm(x)
    bounds = overlap_bounds(pencil, engine.solve)
    return bounds if bounds[0] > max(_DECIDED * float(error), _SMALL_OVERLAP) else None
