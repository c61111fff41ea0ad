"""The density of states of the whole spectrum by Chebyshev polynomials and random vectors."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.sparse.linalg
from jaxtyping import Float
from scipy.special import ndtr

from gh_tools.console import log, progress
from gh_tools.errors import DataError
from gh_tools.spectra.dos import cell_edges
from gh_tools.spectra.sparse.solver import SlicedSolver

# The series of a Gaussian of width σ on [-1, 1] falls as exp(-(n σ)²/2): this is 1e-11 of it.
_TERMS = 7.0
# Share of the half-width of the spectrum by which the interval of the polynomials goes beyond it.
_MARGIN = 0.02
# Polynomials, each a product with H and a solution: a million of them take days where this pays.
_MOST_TERMS = 10**6
_ELEMENTS = 2**22  # of the matrices of series, at once


def kernel_polynomial_dos(
    solver: SlicedSolver,
    energy: Float[np.ndarray, " points"],
    width: float,
    probes: int,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "species points"], Float[np.ndarray, " points"]]:
    """Estimate the Mulliken-projected density of states, broadened and averaged as `projected_dos`.

    With X the eigenvectors and f a function, f(S⁻¹H) = X f(ε) XᴴS, whose diagonal over the orbitals
    of a species sums f over all eigenvalues with Mulliken's weights. Random vectors z of ±1 estimate it:
    Σ_μ z_μ (f(S⁻¹H) z)_μ. Gaussians are expanded in Chebyshev polynomials to rounding, so that the
    only error is that of the random vectors; it is estimated from their scatter. The number of all states
    is exact, because z_μ² is one.

    Args:
        solver: of the structure; its engine factorises S.
        energy: ascending energies, eV, on the scale of the eigenvalues.
        width: standard deviation of the Gaussian, eV.
        probes: probe vectors, random ones of ±1, for each channel.
        seed: of the random vectors.

    Returns:
        Density of each species and the standard error of their sum, states/eV.

    Raises:
        DataError: if the width needs too many polynomials, or eigenvalues lie beyond the bounds
            that were found.
    """
    belongs, edges = solver.belongs, cell_edges(energy)
    total = np.zeros((len(belongs), len(energy)))
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
        if terms > _MOST_TERMS:
            raise DataError(
                f"--width {width:g}: needs {terms} polynomials for eigenvalues between {low:.2f} and "
                f"{high:.2f} eV, more than {_MOST_TERMS}; use a larger --width, or --solver slices"
            )
        z = rng.choice([-1.0, 1.0], size=(pencil.n, probes)).astype(pencil.dtype)
        log.info("%d polynomials between %.2f and %.2f eV, %d probes", terms, low, high, probes)
        moments = np.empty((len(belongs), terms, probes))
        before, now = z, (apply(z) - middle * z) / half
        with progress("polynomials", terms) as shown:
            for n in range(terms):
                moments[:, n] = belongs @ (z * before).real
                before, now = now, 2 * (apply(now) - middle * now) / half - before
                shown.advance()
        # |T_n| <= 1 on the spectrum, so that no moment is larger than the number of orbitals, but for
        # what S makes of random vectors; beyond the interval polynomials grow without bounds.
        if not np.all(np.abs(moments) < 100 * pencil.n):
            raise DataError(
                f"eigenvalues lie outside {low:.2f} to {high:.2f} eV, where their extremes were found; "
                "use --solver slices"
            )
        scale = solver.degeneracy * solver.kpoints.weights[channel.kpoint] / half
        together = max(1, _ELEMENTS // (2 * terms))
        for start in range(0, len(energy), together):
            some = slice(start, start + together)
            cells = (edges[start : start + together + 1] - middle) / half
            series = _gaussian_series(cells, width / half, terms)
            samples = scale * np.einsum("en,znp->zep", series, moments, optimize=True)
            total[:, some] += samples.mean(axis=2)
            variance[some] += samples.sum(axis=0).var(axis=1, ddof=1) / probes
    return total, np.sqrt(variance)


def _gaussian_series(
    edges: Float[np.ndarray, " edges"], width: float, terms: int
) -> Float[np.ndarray, "edges-1 terms"]:
    """Return the Chebyshev coefficients of normalised Gaussians averaged over cells, by quadrature.

    c_n = (2 - δ_n0)/π ∫ g(cos φ) cos(nφ) dφ, by the trapezoid rule on [0, π], whose nodes resolve the
    polynomials and the Gaussian alike: a discrete cosine transform.
    """
    nodes = 2 * terms
    cosines = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    below = ndtr((edges[:, None] - cosines) / width)
    average = np.diff(below, axis=0) / np.diff(edges)[:, None]
    series = scipy.fft.dct(average, axis=1)[:, :terms] / nodes
    series[:, 0] /= 2
    return series


def _bounds(apply, n: int, dtype: np.dtype) -> tuple[float, float]:
    """Return energies beyond all eigenvalues, from the extreme eigenvalues of S⁻¹H."""
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
    margin = _MARGIN * max(0.5 * (high - low), 1.0)  # all eigenvalues may be the same
    return float(low - margin), float(high + margin)
