"""Extrema of bands between the points of a k grid.

They are searched from the best points of the grid, with the gradient of Hellmann and Feynman,
∂ε/∂k = c†(∂H/∂k − ε ∂S/∂k) c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Float, Shaped
from scipy.constants import electron_mass, elementary_charge, hbar

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.choice import REFINED_LIMIT
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.kpoints import KPoints

# ħ²/m_e in eV Å².
HBAR2_PER_MASS = hbar**2 / electron_mass / elementary_charge * 1e20
# Points of the grid, no two of which are neighbours, of which a refinement may start: of a small cell, whose zone is
# large, and of one with more orbitals than that.
STARTS = {60: 6, REFINED_LIMIT: 2}
# 1/Å. Step of the differences that give masses: bands are parabolic over much longer distances, and
# the gradient is exact to 1e-9 eV Å.
_STEP = 1e-3
# eV Å. With a mass of 10 electrons an edge is 2e-5 eV further where the gradient is this.
_GRADIENT = 5e-3
# eV. Where bands touch and the gradient jumps, the search without gradients ends at such differences.
_CONVERGED = 1e-5


class Dispersion:
    """Eigenvalues and their gradients at any k.

    Attributes:
        axes: orthonormal Cartesian vectors that span the reciprocal vectors of the periodic directions, as columns.
        change: change of fractional k by coordinates along these axes in 1/Å, 2π included.
        to_axes: coordinates along the axes in 1/Å, 2π included, by fractional k.
        n_orbitals: rows of the matrices.
        spinor: see `Hamiltonian`.
    """

    axes: Float[np.ndarray, "3 periodic"]
    change: Float[np.ndarray, "3 periodic"]
    to_axes: Float[np.ndarray, "periodic 3"]

    def __init__(self, hamiltonian: Hamiltonian):
        atoms = hamiltonian.atoms
        cell = atoms.cell.complete()
        self.axes = np.linalg.qr(cell.reciprocal().array[atoms.pbc].T)[0]
        self.change = cell.array @ self.axes / (2 * np.pi)
        self.change[~atoms.pbc] = 0.0
        self.to_axes = np.linalg.pinv(self.change)
        self.n_orbitals, self.spinor = hamiltonian.n_orbitals, hamiltonian.spinor
        self._overlap = BlochSum(hamiltonian, "overlap")
        self._hamiltonian = [
            BlochSum(hamiltonian, "hamiltonian", spin) for spin in range(hamiltonian.n_spins)
        ]

    def spacing(self, kpoints: KPoints) -> float:
        """Return the distance between neighbours of a k grid, 1/Å. Points without weight, as of paths, are not of it."""
        volume = np.sqrt(np.linalg.det(self.to_axes @ self.to_axes.T))
        # Time reversal halves the grid.
        n_points = 2 * np.count_nonzero(kpoints.weights)
        return float((volume / n_points) ** (1 / max(1, len(self.to_axes))))

    def energies(self, k: Float[np.ndarray, "3"], spin: int) -> Float[np.ndarray, " bands"]:
        """Return all eigenvalues at a k-point, eV."""
        return self._solve(k, spin, eigvals_only=True)

    def states(
        self, k: Float[np.ndarray, "3"], spin: int
    ) -> tuple[
        Float[np.ndarray, " bands"],
        Shaped[np.ndarray, "orbitals bands"],
        Shaped[np.ndarray, "orbitals orbitals"],
    ]:
        """Return all eigenvalues at a k-point in eV, their S-normalised eigenvectors as columns, and S."""
        return *self._solve(k, spin), self._overlap.at(k[None])[0]

    def band(
        self, k: Float[np.ndarray, "3"], spin: int, band: int
    ) -> tuple[float, Float[np.ndarray, " periodic"]]:
        """Return the energy of one band in eV, and its gradient ∂E/∂k along the axes in eV Å.

        Args:
            k: in units of the reciprocal lattice vectors.
            spin: channel.
            band: its number, from 0.
        """
        energy, vector = self._solve(k, spin, subset_by_index=[band, band])
        c = vector[:, 0]
        change = self._hamiltonian[spin].gradient(k) - energy[0] * self._overlap.gradient(k)
        return float(energy[0]), np.einsum("i,aij,j->a", c.conj(), change, c).real @ self.change

    def _solve(self, k: Float[np.ndarray, "3"], spin: int, **options: Any) -> Any:
        matrix, overlap = self._hamiltonian[spin].at(k[None])[0], self._overlap.at(k[None])[0]
        try:
            return scipy.linalg.eigh(matrix, overlap, check_finite=False, **options)
        except scipy.linalg.LinAlgError:
            where = ", ".join(f"{float(x):.3f}" for x in k)
            raise DataError(
                f"the overlap matrix at k = ({where}), between the k-points, is not positive definite: pairs are "
                "missing, or the basis is dependent; label without pair_cutoff, or with a smaller basis"
            ) from None


@dataclass(frozen=True)
class Extremum:
    """Where a band is highest or lowest.

    Attributes:
        energy: in eV.
        kpoint: in units of the reciprocal lattice vectors.
        spin: its spin channel.
        band: its number, from 0.
        sign: 1 of a minimum, -1 of a maximum.
    """

    energy: float
    kpoint: Float[np.ndarray, "3"]
    spin: int
    band: int
    sign: int


def extrema(
    bands: Dispersion, eigenvalues: Eigenvalues, occupied: Sequence[int]
) -> tuple[Extremum, Extremum]:
    """Return the highest occupied and the lowest empty state, of all spins and of all k, also between the k-points.

    Args:
        bands: energies and gradients at any k.
        eigenvalues: on a grid, where the search begins.
        occupied: number of occupied bands of each spin channel.
    """
    spacing = bands.spacing(eigenvalues.kpoints)

    def extremum(spin: int, band: int, sign: int) -> Extremum:
        kpoints, energies = _on_kpoints(eigenvalues, spin, band)
        if not len(energies):  # of the other spin, and beyond the window of a sparse solver
            return Extremum(sign * np.inf, np.zeros(3), spin, band, sign)
        value = partial(_signed, bands, spin, band, sign)
        k, energy = minimum(bands, kpoints, sign * energies, spacing, value)
        return Extremum(sign * energy, k, spin, band, sign)

    filled = list(enumerate(occupied))
    valence = [extremum(s, n - 1, -1) for s, n in filled if n > 0]
    conduction = [extremum(s, n, 1) for s, n in filled if n < bands.n_orbitals]
    return max(valence, key=lambda e: e.energy), min(conduction, key=lambda e: e.energy)


def _on_kpoints(
    eigenvalues: Eigenvalues, spin: int, band: int
) -> tuple[Float[np.ndarray, "some 3"], Float[np.ndarray, " some"]]:
    """Return the k-points at which a band is listed, and its eigenvalues there in eV."""
    below = 0 if eigenvalues.below is None else eigenvalues.below[spin]
    index = np.broadcast_to(band - below, len(eigenvalues.kpoints))
    inside = (index >= 0) & (index < eigenvalues.energies.shape[2])
    listed = eigenvalues.energies[spin, np.arange(len(index)), np.where(inside, index, 0)]
    inside &= np.isfinite(listed)
    return eigenvalues.kpoints.points[inside], listed[inside]


def _signed(
    bands: Dispersion, spin: int, band: int, sign: int, k: Float[np.ndarray, "3"]
) -> tuple[float, Float[np.ndarray, " periodic"]]:
    """Return the energy of a band times a sign in eV, and its gradient along the axes in eV Å."""
    energy, gradient = bands.band(k, spin, band)
    return sign * energy, sign * gradient


def minimum(
    bands: Dispersion,
    kpoints: Float[np.ndarray, "some 3"],
    energies: Float[np.ndarray, " some"],
    spacing: float,
    value: Callable[[Float[np.ndarray, "3"]], tuple[float, Float[np.ndarray, " periodic"]]],
) -> tuple[Float[np.ndarray, "3"], float]:
    """Return the lowest minimum that is reached from the best k-points, and its energy in eV.

    Args:
        bands: of the structure.
        kpoints: in units of the reciprocal lattice vectors.
        energies: of what is minimised there, eV.
        spacing: of the grid, 1/Å.
        value: energy at a k-point in eV, and its gradient along the axes in eV Å.
    """
    best = int(np.argmin(energies))
    k, lowest = np.asarray(kpoints[best], dtype=float), float(energies[best])
    dimension = bands.axes.shape[1]
    if dimension == 0:
        return k, lowest
    # Points of high symmetry can be saddles, where the gradient vanishes: begin beside them, in no special direction.
    aside = 0.3 * spacing * np.array([0.82, 0.47, 0.33])[:dimension]
    origins = [
        np.asarray(kpoints[s], dtype=float) + bands.change @ aside
        for s in _starts(bands, kpoints, energies, spacing)
    ]
    values = [value(origin) for origin in origins]
    # More than a valley beside a point can hold: three times its gradient all the way to the next point.
    bounds = [energy - 3 * spacing * float(np.linalg.norm(gradient)) for energy, gradient in values]
    for number in np.argsort(bounds):
        if bounds[number] >= lowest:
            break
        origin = origins[number]

        def function(x, origin=origin):
            return value(origin + bands.change @ x)

        found = scipy.optimize.minimize(
            function,
            np.zeros(dimension),
            jac=True,
            method="BFGS",
            options={"gtol": _GRADIENT, "hess_inv0": np.eye(dimension) / HBAR2_PER_MASS},
        )
        if not found.success:
            found = scipy.optimize.minimize(
                lambda x, function=function: function(x)[0],
                found.x,
                method="Nelder-Mead",
                options={
                    "initial_simplex": np.vstack([found.x, found.x + 0.01 * np.eye(dimension)]),
                    "fatol": _CONVERGED,
                    "xatol": 1e-4,
                },
            )
        if found.fun < lowest:
            k, lowest = origin + bands.change @ found.x, float(found.fun)
    return 0.5 - (0.5 - k) % 1.0, lowest


def _starts(
    bands: Dispersion,
    kpoints: Float[np.ndarray, "some 3"],
    energies: Float[np.ndarray, " some"],
    spacing: float,
) -> list[int]:
    """Return the k-points of lowest energy, no two of which are neighbours or each other's ±k."""
    most = next((n for size, n in STARTS.items() if bands.n_orbitals <= size), 1)
    chosen: list[int] = []
    for index in np.argsort(energies, kind="stable").tolist():
        others = kpoints[chosen]
        apart = np.concatenate([kpoints[index] - others, kpoints[index] + others])
        distance = np.linalg.norm((apart - np.rint(apart)) @ bands.to_axes.T, axis=1)
        if (distance > 1.8 * spacing).all():
            chosen.append(index)
        if len(chosen) == most:
            break
    return chosen


def effective_masses(
    bands: Dispersion, extremum: Extremum
) -> tuple[Float[np.ndarray, " periodic"], Float[np.ndarray, "periodic 3"]]:
    """Return principal effective masses in electron masses, and their axes, from differences of the exact gradient."""
    dimension = bands.axes.shape[1]
    curvature = np.empty((dimension, dimension))
    for axis in range(dimension):
        step = bands.change[:, axis] * _STEP
        above, below = (
            bands.band(extremum.kpoint + s * step, extremum.spin, extremum.band)[1] for s in (1, -1)
        )
        curvature[axis] = (above - below) / (2 * _STEP)
    symmetric = extremum.sign * 0.5 * (curvature + curvature.T)
    inverse, vectors = np.linalg.eigh(symmetric / HBAR2_PER_MASS)
    masses = np.divide(1.0, inverse, out=np.full(dimension, np.inf), where=inverse != 0)
    order = np.argsort(np.abs(masses))
    return masses[order], (bands.axes @ vectors).T[order]
