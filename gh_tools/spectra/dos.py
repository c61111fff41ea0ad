"""Gaussian-broadened density of states and what lies in an energy window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from gh_tools.spectra.config import RESOLUTION
from gh_tools.spectra.eigen import Eigenvalues

# A Gaussian reaches so many widths from its eigenvalue: beyond are 6e-16 of it, the rounding of the sum.
REACH = 8.0
# Energies handled at once: this many widths, and at least this many points. Matrices hold only eigenvalues
# that reach them, and stay small enough for the cache.
BLOCK, BLOCK_POINTS, BLOCK_ELEMENTS = 8.0, 64, 2**20


def energy_grid(window: tuple[float, float], points: int) -> Float[np.ndarray, " points"]:
    """Return evenly spaced energies of a window, both ends included, in eV."""
    return np.linspace(*window, points)


def cell_edges(energy: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points+1"]:
    """Return the ends of the cells of an energy grid: midpoints, and at both ends the grid's own.

    The widths of the cells are the weights of the trapezoid rule.
    """
    return np.concatenate([energy[:1], 0.5 * (energy[1:] + energy[:-1]), energy[-1:]])


def projected_dos(
    eigenvalues: Eigenvalues,
    energy: Float[np.ndarray, " points"],
    width: float,
    weights: Float[np.ndarray, "rows spins kpoints bands"] | None = None,
) -> Float[np.ndarray, "rows points"]:
    """Return the projected density of states, broadened by Gaussians and averaged over grid cells.

    At the energy E_i with the cell (a_i, b_i) of `cell_edges`

        D_Z(E_i) = Σ_skn g w_k P_Z(skn) [Φ((b_i - ε_skn)/σ) - Φ((a_i - ε_skn)/σ)] / (b_i - a_i),

    with g = 2 for spin-paired eigenvalues and 1 otherwise, and Φ the normal distribution function. So the
    trapezoid rule over the grid gives the states between its ends exactly, however small the width is
    against the spacing. Where it is not small this is the density at E_i itself, to D'' h²/24 for a
    spacing h. The sum over Z is the total density of states.

    Args:
        eigenvalues: eigenvalues with projections.
        energy: ascending energies, eV, on the scale of the eigenvalues; two at least.
        width: standard deviation σ of the Gaussian, eV.
        weights: P, of groups other than species.

    Returns:
        Density of each row of the weights; of species in the order of `eigenvalues.species`; states/eV.
    """
    weights = eigenvalues.projections if weights is None else weights
    assert weights is not None  # see above
    order = np.argsort(eigenvalues.energies, axis=None)
    position = eigenvalues.energies.ravel()[order]
    # What reaches none of the energies is left out before weights are sorted, which may be many.
    reached = slice(
        *np.searchsorted(position, (energy[0] - REACH * width, energy[-1] + REACH * width))
    )
    order, position = order[reached], position[reached]
    weight = weights.reshape(len(weights), -1)[:, order] * eigenvalues.states.ravel()[order]
    edges = cell_edges(energy)
    states = np.zeros((len(weights), len(energy)))
    step = max(BLOCK_POINTS, int(BLOCK * width * (len(energy) - 1) / (energy[-1] - energy[0])))
    # Matrix products of blocks of energies and eigenvalues instead of a loop over either.
    for first in range(0, len(energy), step):
        block = edges[first : first + step + 1]
        start, stop = np.searchsorted(
            position, (block[0] - REACH * width, block[-1] + REACH * width)
        )
        together = max(1, BLOCK_ELEMENTS // len(block))
        for begin in range(start, stop, together):
            some = slice(begin, min(begin + together, stop))
            below = ndtr((block - position[some, None]) / width)
            states[:, first : first + step] += weight[:, some] @ np.diff(below, axis=1)
    return states / np.diff(edges)


def share_in_window(
    energies: Float[np.ndarray, "..."], window: tuple[float, float], width: float = 0.0
) -> Float[np.ndarray, "..."]:
    """Return how much of each eigenvalue lies in an energy window.

    With a width this is the part of its Gaussian that does, Φ((E₂ - ε)/σ) - Φ((E₁ - ε)/σ). With none
    it is the limit of that for small widths: one inside, zero outside, and a half on an edge, where an
    eigenvalue is that lies within `RESOLUTION` of it. So shares of adjacent windows add up. Below the window tails
    under 1e-16 are lost in rounding; above it they are taken as zero, too.

    Args:
        energies: eigenvalues, eV.
        window: E₁ and E₂, eV, on their scale.
        width: standard deviation σ of the Gaussian, eV; 0 for none.
    """

    def below(edge: float) -> Float[np.ndarray, "..."]:
        distance = edge - energies
        if width > 0:
            return ndtr(distance / width)
        return np.where(abs(distance) <= RESOLUTION, 0.5, distance > 0)

    low, high = window
    share = below(high) - below(low)
    return np.where(share < np.finfo(float).eps / 2, 0.0, share)


def states_in_window(
    eigenvalues: Eigenvalues,
    species: Sequence[int],
    window: tuple[float, float],
    width: float = 0.0,
) -> float:
    """Return how many states of some species lie in an energy window.

    The sum Σ g w_k P_Z over eigenvalues, each with its `share_in_window`: with a width the integral of
    the projected density of states over the window, done analytically, and with none its limit for small
    widths, the number of eigenvalues in the window weighted by projection, with those on an edge by half.

    Args:
        eigenvalues: eigenvalues with projections.
        species: atomic numbers to sum over.
        window: E₁ and E₂, eV, on the scale of the eigenvalues.
        width: standard deviation σ of the Gaussian, eV; 0 counts sharply.
    """
    chosen = np.isin(eigenvalues.species, species)
    inside = share_in_window(eigenvalues.energies, window, width)
    assert eigenvalues.projections is not None  # see above
    return float(np.sum(eigenvalues.projections[chosen] * eigenvalues.states * inside))
