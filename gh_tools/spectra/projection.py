"""How much of an eigenvalue belongs to each species: Mulliken's and Löwdin's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Shaped
from numpy.polynomial import chebyshev

from gh_tools.orbitals.blocks import Hamiltonian

Projection = Literal["mulliken", "lowdin"]

# Largest error of the polynomial that stands for the square root, relative to the root of S's
# largest eigenvalue. Weights are off by twice that at most.
_ROOT_ERROR = 1e-11


def species_members(
    hamiltonian: Hamiltonian,
) -> tuple[Int[np.ndarray, " species"], Float[np.ndarray, "species orbitals"]]:
    """Return the atomic numbers present, ascending, and 1 where an orbital is of one, else 0."""
    numbers = hamiltonian.atoms.numbers
    species = np.unique(numbers)
    owner = np.repeat(numbers, hamiltonian.orbitals_of_atoms)
    return species, (species[:, None] == owner).astype(float)


def mulliken(
    x: Shaped[np.ndarray, "orbitals eigenvalues"], sx: Shaped[np.ndarray, "orbitals eigenvalues"]
) -> Float[np.ndarray, "orbitals eigenvalues"]:
    """Return Mulliken's weights Re(x*_μ (S x)_μ) of the orbitals; they sum to xᴴSx.

    Args:
        x: eigenvectors.
        sx: S x.
    """
    return (x.conj() * sx).real


def lowdin(
    rooted: Shaped[np.ndarray, "orbitals eigenvalues"],
) -> Float[np.ndarray, "orbitals eigenvalues"]:
    """Return Löwdin's weights |(S^½ x)_μ|²; they sum to xᴴSx, and none is negative.

    Args:
        rooted: S^½ x.
    """
    return rooted.real**2 + rooted.imag**2


def spin_expectation(
    hamiltonian: Hamiltonian,
    x: Shaped[np.ndarray, "orbitals eigenvalues"],
    sx: Shaped[np.ndarray, "orbitals eigenvalues"],
) -> Float[np.ndarray, "3 eigenvalues"]:
    """Return ⟨σ_x⟩, ⟨σ_y⟩ and ⟨σ_z⟩ of eigenvectors of a spinor Hamiltonian, each from -1 to 1.

    With a = ⟨↑|S|↓⟩ they are 2 Re a, 2 Im a and ⟨↑|S|↑⟩ - ⟨↓|S|↓⟩ for xᴴSx = 1.

    Args:
        hamiltonian: whose eigenvectors they are.
        x: eigenvectors.
        sx: S x.
    """
    half = hamiltonian.orbitals_of_atoms // 2
    # Orbitals of one spin before an atom are as many as of the other.
    up = np.arange(half.sum()) + np.repeat(np.cumsum(half) - half, half)
    down = up + np.repeat(half, half)
    mixed = np.sum(x[up].conj() * sx[down], axis=0)
    difference = mulliken(x[up], sx[up]).sum(axis=0) - mulliken(x[down], sx[down]).sum(axis=0)
    return np.stack([2 * mixed.real, 2 * mixed.imag, difference])


def dense_root(overlap: Shaped[np.ndarray, "n n"]) -> Shaped[np.ndarray, "n n"]:
    """Return the Hermitian square root of S."""
    value, vector = scipy.linalg.eigh(overlap)
    return (vector * np.sqrt(value)) @ vector.conj().T


def apply_root(
    apply_overlap: Callable[[Shaped[np.ndarray, "n m"]], Shaped[np.ndarray, "n m"]],
    bounds: tuple[float, float],
    x: Shaped[np.ndarray, "n m"],
) -> Shaped[np.ndarray, "n m"]:
    """Return S^½ x by Chebyshev polynomials of S, without the root itself.

    The error of degree d falls as ρ^-d with ρ = (√κ + 1)/(√κ - 1) and κ the condition number.

    Args:
        apply_overlap: multiplies by S.
        bounds: numbers between which the eigenvalues of S lie, the lower one positive.
        x: vectors.
    """
    low, high = bounds
    middle, half = 0.5 * (high + low), 0.5 * (high - low)
    condition = np.sqrt(high / low)
    degree = int(np.ceil(np.log(1 / _ROOT_ERROR) / np.log((condition + 1) / (condition - 1))))

    def root(t: Any) -> Any:
        return np.sqrt(middle + half * t)

    series = chebyshev.chebinterpolate(root, degree)
    before, now = x, (apply_overlap(x) - middle * x) / half
    total = series[0] * before + series[1] * now
    for coefficient in series[2:]:
        before, now = now, 2 * (apply_overlap(now) - middle * now) / half - before
        total += coefficient * now
    return total
