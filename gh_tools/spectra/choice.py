"""Which solver a structure gets, by its size and the memory there is."""

from __future__ import annotations

from typing import Literal

from gh_tools.errors import DataError
from gh_tools.units import GIB

Solver = Literal["dense", "slices", "kpm"]

# Orbitals up to which dense solvers are used: all eigenvalues then cost less than a window by slices
# (docs/how-to/spectra.md). Comparisons, which need all eigenvalues, leave larger structures out.
DENSE_LIMIT = 5000
# Orbitals up to which a dense solver answers a question beside, in seconds: how deep the deepest state is.
DEEPEST_STATE_LIMIT = 2000
# Orbitals up to which band edges are refined between k-points. A larger cell has a small zone, whose grid misses little.
REFINED_LIMIT = 600
# Matrices of N² elements that a dense solution holds at its peak: H, S, vectors and work.
DENSE_MATRICES = 8


def dense_bytes(n_orbitals: int, real: bool) -> int:
    """Return the memory that a dense solution takes at one k-point, in bytes."""
    return DENSE_MATRICES * n_orbitals**2 * (8 if real else 16)


def choose_solver(
    wanted: Solver | Literal["auto"], n_orbitals: int, real: bool, memory: int
) -> Solver:
    """Return the solver for a structure.

    Args:
        wanted: ``auto`` or a solver.
        n_orbitals: of the structure.
        real: whether all k-points have real matrices.
        memory: bytes that may be used.

    Raises:
        DataError: if dense matrices are asked for and do not fit.
    """
    need = dense_bytes(n_orbitals, real)
    if wanted == "auto":
        return "dense" if n_orbitals <= DENSE_LIMIT and need <= memory else "slices"
    if wanted == "dense" and need > memory:
        raise DataError(
            f"dense matrices of {n_orbitals} orbitals take {need / GIB:.1f} GiB, and "
            f"{memory / GIB:.1f} GiB are allowed or free; use --solver slices, or give more --memory"
        )
    return wanted
