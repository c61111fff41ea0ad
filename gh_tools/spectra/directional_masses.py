"""Effective masses of the bands of a degenerate edge, along directions.

Bands that meet have no mass tensor: how each curves depends on the direction, as of heavy and light holes. Along one
direction each has a mass. The states of the multiplet at k₀ ± h d are expressed in those at k₀ (by the unitary matrix
next to their overlap), which makes of their eigenvalues a matrix E(h); the eigenvalues of
[E(h) + E(-h) - 2 E(0)]/h² are the curvatures. So a splitting of the multiplet by the grid of the labels, which is in all
three, cancels, and so does a part that is odd in h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_extrema import HBAR2_PER_MASS, Dispersion
from gh_tools.spectra.gap import DEGENERATE, Edge, Gap

# 1/Å. Step of the differences, and twice it: energies of 1e-4 eV for the mass of an electron, far above rounding, and
# within the parabola of light holes.
_STEP = 0.005
# Relative difference of the curvatures of both steps, from which on a band is no parabola: it may be linear in k.
_UNLIKE = 0.2


def with_directional_masses(
    hamiltonian: Hamiltonian, gap: Gap, points: Mapping[str, Float[np.ndarray, "3"]]
) -> Gap:
    """Return a gap whose degenerate edges have masses towards points of high symmetry.

    Args:
        hamiltonian: H(R) and S(R).
        gap: its edges.
        points: k-points by name, in units of the reciprocal vectors.
    """
    bands = Dispersion(hamiltonian)

    def completed(edge: Edge, sign: int) -> Edge:
        if edge.masses is not None:
            return edge
        towards = {}
        for name, point in points.items():
            along = bands.to_axes @ (np.asarray(point) - edge.kpoint)
            length = float(np.linalg.norm(along))
            if length > 0.1:  # else the edge is there
                towards[name] = _masses(bands, edge, sign, bands.change @ along / length)
        return replace(edge, towards=towards)

    return replace(gap, valence=completed(gap.valence, -1), conduction=completed(gap.conduction, 1))


def _masses(
    bands: Dispersion, edge: Edge, sign: int, direction: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " degenerate"]:
    """Return the mass of each band of an edge along a direction, the heaviest first; NaN where it is no parabola.

    Args:
        bands: of the structure.
        edge: where they meet.
        sign: 1 of a minimum, -1 of a maximum, whose masses are those of holes.
        direction: change of fractional k by 1/Å.
    """
    energies, vectors, overlap = bands.states(edge.kpoint, edge.spin)
    some: Int[np.ndarray, " _"] = np.flatnonzero(np.abs(energies - edge.energy) < DEGENERATE)
    rows = vectors[:, some].conj().T @ overlap

    def curvature(step: float) -> Float[np.ndarray, " degenerate"]:
        total = -2 * np.diag(energies[some]).astype(complex)
        for end in (step, -step):
            moved, states, _ = bands.states(edge.kpoint + end * direction, edge.spin)
            basis, _ = scipy.linalg.polar(rows @ states[:, some])
            total += (basis * moved[some]) @ basis.conj().T
        return sign * np.linalg.eigvalsh(total) / step**2

    near, far = curvature(_STEP), curvature(2 * _STEP)
    parabolic = np.abs(near - far) <= _UNLIKE * np.maximum(np.abs(near), np.abs(far))
    exact = (4 * near - far) / 3  # the term of the fourth order is eliminated
    masses = np.where(parabolic & (exact != 0), HBAR2_PER_MASS / np.where(exact, exact, 1), np.nan)
    return masses[np.argsort(-np.abs(masses), kind="stable")]
