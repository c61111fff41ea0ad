"""The density of states of the whole spectrum by Chebyshev polynomials and random vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float, Shaped

from gh_tools.console import log, progress
from gh_tools.errors import DataError

if TYPE_CHECKING:
    from gh_tools.spectra.sparse.solver import SlicedSolver

# The series of a Gaussian of width σ on [-1, 1] falls as exp(-(n σ)²/2): this is 1e-11 of it.
_TERMS = 7.0
# Share of the half-width of the spectrum by which the interval of the polynomials goes beyond it.
_MARGIN = 0.02
_ENERGIES = 1000  # at once


def kernel_polynomial_dos(
    solver: SlicedSolver,
    energy: Float[np.ndarray, "points"],
    width: float,
    probes: int,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "species points"], Float[np.ndarray, "points"]]:
    """Estimate the Mulliken-projected density of states, broadened by Gaussians.

    With X the eigenvectors and f a function, f(S⁻¹H) = X f(ε) XᴴS, whose diagonal over the orbitals
    of a species sums f over all levels with Mulliken's weights. Random vectors z of ±1 estimate it:
    Σ_μ z_μ (f(S⁻¹H) z)_μ. Gaussians are expanded in Chebyshev polynomials to rounding, so that the
    only error is that of the random vectors; it is estimated from their scatter.

    Args:
        solver: of the structure; its engine factorises S.
        energy: ascending energies, eV, on the scale of the levels.
        width: standard deviation of the Gaussian, eV.
        probes: random vectors for each channel.
        seed: of the random vectors.

    Returns:
        Density of each species and the standard error of their sum, states/eV.
    """
    members = solver.members
    total = np.zeros((len(members), len(energy)))
    variance = np.zeros(len(energy))
    for channel in solver.channels:
        pencil = solver.pencil(channel)
        solver.factorize_overlap(channel)

        def apply(x: np.ndarray, pencil=pencil) -> np.ndarray:
            return solver.solve(pencil.apply_hamiltonian(x))

        rng = np.random.default_rng([seed, channel.spin, channel.kpoint])
        low, high = _bounds(apply, pencil.n, pencil.dtype)
        middle, half = 0.5 * (high + low), 0.5 * (high - low)
        terms = int(np.ceil(_TERMS * half / width)) + 1
        z = rng.choice([-1.0, 1.0], size=(pencil.n, probes)).astype(pencil.dtype)
        log.info("%d polynomials between %.2f and %.2f eV, %d probes", terms, low, high, probes)
        moments = np.empty((len(members), terms, probes))
        before, now = z, (apply(z) - middle * z) / half
        with progress("polynomials", terms) as shown:
            for n in range(terms):
                moments[:, n] = members @ (z * before).real
                before, now = now, 2 * (apply(now) - middle * now) / half - before
                shown.advance()
        # |T_n| <= 1 on the spectrum, so that no moment is larger than the number of orbitals, but for
        # what S makes of random vectors; beyond the interval polynomials grow without bounds.
        if not np.all(np.abs(moments) < 100 * pencil.n):
            raise DataError(
                f"levels lie outside {low:.2f} to {high:.2f} eV, where their extremes were found; "
                "use --solver slices"
            )
        scale = solver.degeneracy * solver.kpoints.weights[channel.kpoint] / half
        for start in range(0, len(energy), _ENERGIES):
            some = slice(start, start + _ENERGIES)
            series = _gaussian_series((energy[some] - middle) / half, width / half, terms)
            samples = scale * np.einsum("en,znp->zep", series, moments, optimize=True)
            total[:, some] += samples.mean(axis=2)
            variance[some] += samples.sum(axis=0).var(axis=1, ddof=1) / probes
    return total, np.sqrt(variance)


def _gaussian_series(
    position: Float[np.ndarray, "points"], width: float, terms: int
) -> Float[np.ndarray, "points terms"]:
    """Return the Chebyshev coefficients of normalised Gaussians at positions, by quadrature.

    c_n = (2 - δ_n0)/π ∫ g(cos φ - position) cos(nφ) dφ, by the trapezoid rule on [0, π], whose nodes
    resolve the polynomials and the Gaussian alike.
    """
    angles = np.pi * (np.arange(2 * terms) + 0.5) / (2 * terms)
    gaussian = np.exp(-0.5 * ((np.cos(angles) - position[:, None]) / width) ** 2)
    series = gaussian @ np.cos(np.arange(terms) * angles[:, None])
    series *= 2 / (2 * terms * width * np.sqrt(2 * np.pi))
    series[:, 0] /= 2
    return series


def _bounds(apply, n: int, dtype: Shaped) -> tuple[float, float]:
    """Return energies beyond all levels, from the extreme eigenvalues of S⁻¹H."""
    if n < 40:
        value = np.linalg.eigvals(apply(np.eye(n, dtype=dtype))).real
        low, high = value.min(), value.max()
    else:
        # S⁻¹H is not Hermitian in the plain product, but its eigenvalues are real.
        operator = scipy.sparse.linalg.LinearOperator(
            (n, n), matvec=lambda x: apply(x[:, None])[:, 0], dtype=dtype
        )
        start = np.random.default_rng(0).standard_normal(n).astype(dtype)
        low, high = (
            scipy.sparse.linalg.eigs(
                operator, 1, which=which, tol=1e-3, v0=start, return_eigenvectors=False
            )[0].real
            for which in ("SR", "LR")
        )
    margin = _MARGIN * 0.5 * (high - low)
    return float(low - margin), float(high + margin)
