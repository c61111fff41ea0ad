"""Gaussian-broadened density of states and what lies in an energy window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from gh_tools.spectra.eigen import Levels

# A Gaussian is evaluated within this many widths of its level: beyond it is below
# exp(-8²/2) = 1e-14 of its peak, the rounding of the sum.
REACH = 8.0
# Energies handled at once, in widths: the matrices of Gaussians hold only levels that reach
# the block, and stay small enough for the cache.
BLOCK = 8.0


def energy_grid(window: tuple[float, float], points: int) -> Float[np.ndarray, "points"]:
    """Return evenly spaced energies of a window, both ends included, in eV."""
    return np.linspace(*window, points)


def projected_dos(
    levels: Levels,
    energy: Float[np.ndarray, "points"],
    width: float,
) -> Float[np.ndarray, "species points"]:
    """Return the Mulliken-projected density of states, broadened by Gaussians.

    D_Z(E) = Σ_skn g w_k P_Z(skn) exp(-(E - ε_skn)² / 2σ²) / (σ √2π), with g = 2 for
    spin-paired levels and 1 otherwise. The sum over Z is the total density of states, whose
    integral over all energies is the number of states in the cell.

    Args:
        levels: eigenvalues with projections.
        energy: ascending energies, eV, on the scale of the levels.
        width: standard deviation σ of the Gaussian, eV.

    Returns:
        Density per species, in the order of `levels.species`, states/eV.
    """
    order = np.argsort(levels.energies, axis=None)
    position = levels.energies.ravel()[order]
    weight = (levels.projections * levels.states).reshape(len(levels.species), -1)[:, order]
    density = np.zeros((len(levels.species), len(energy)))
    edges = np.arange(energy[0], energy[-1] + BLOCK * width, BLOCK * width)
    starts = np.searchsorted(energy, edges)
    # One matrix product per block of energies instead of a loop over levels or points.
    for first, last in zip(starts, [*starts[1:], len(energy)], strict=True):
        if first == last:
            continue
        block = energy[first:last]
        near = slice(
            np.searchsorted(position, block[0] - REACH * width),
            np.searchsorted(position, block[-1] + REACH * width),
        )
        distance = (block[None, :] - position[near, None]) / width
        density[:, first:last] = weight[:, near] @ np.exp(-0.5 * distance**2)
    return density / (width * np.sqrt(2 * np.pi))


def states_in_window(
    levels: Levels,
    species: Sequence[int],
    window: tuple[float, float],
    width: float = 0.0,
) -> float:
    """Return how many states of some species lie in an energy window.

    With a width this is the integral of the projected density of states over the window, done
    analytically: Σ g w_k P_Z [Φ((E₂ - ε)/σ) - Φ((E₁ - ε)/σ)]. With none it is the Mulliken-
    weighted number of levels with E₁ < ε <= E₂.

    Args:
        levels: eigenvalues with projections.
        species: atomic numbers to sum over.
        window: E₁ and E₂, eV, on the scale of the levels.
        width: standard deviation σ of the Gaussian, eV; 0 counts sharply.
    """
    low, high = window
    if width > 0:
        inside = ndtr((high - levels.energies) / width) - ndtr((low - levels.energies) / width)
    else:
        inside = (levels.energies > low) & (levels.energies <= high)
    chosen = np.isin(levels.species, species)
    return float(np.sum(levels.projections[chosen] * levels.states * inside))
