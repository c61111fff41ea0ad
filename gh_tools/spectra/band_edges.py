"""Band edges between the points of a k grid: where they are, how direct the gap is, and effective masses.

A grid that misses the k-point of a band edge gives a gap that is too large, by tens of meV on usual grids. So the
extrema of the highest occupied and the lowest empty band are refined from the best points of the grid, with the
gradient of Hellmann and Feynman, ∂ε/∂k = c†(∂H/∂k − ε ∂S/∂k) c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Float
from scipy.constants import electron_mass, elementary_charge, hbar

from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian

# ħ²/m_e in eV Å².
HBAR2_PER_MASS = hbar**2 / electron_mass / elementary_charge * 1e20
# Starting points of a refinement: the grid's best, no two of which are neighbours.
STARTS = 4
# eV. The grid of the labels breaks the symmetry of a multiplet by less.
DEGENERATE = 1e-3
# 1/Å. Step of the differences that give masses: bands are parabolic over much longer distances, and
# the gradient is exact to 1e-9 eV Å.
_STEP = 1e-3
# eV. A refinement ends where a step gains less.
_CONVERGED = 1e-7


@dataclass(frozen=True)
class Edge:
    """An extremum of a band.

    Attributes:
        energy: in eV, on the scale of the Hamiltonian.
        kpoint: in units of the reciprocal lattice vectors, components in (-1/2, 1/2].
        spin: its spin channel.
        degeneracy: number of bands within 1 meV of it there.
        masses: principal effective masses along the periodic directions, in electron masses, ascending by size; of a
            valence band those of holes. None where bands are degenerate, which then have no mass tensor.
        axes: unit vectors along which they are, as rows; None likewise.
    """

    energy: float
    kpoint: Float[np.ndarray, "3"]
    spin: int
    degeneracy: int
    masses: Float[np.ndarray, " periodic"] | None
    axes: Float[np.ndarray, "periodic 3"] | None


@dataclass(frozen=True)
class Gap:
    """The band edges of an insulator.

    Attributes:
        valence: highest occupied state.
        conduction: lowest empty state.
        direct: smallest energy between occupied and empty states of one k-point and spin, eV.
    """

    valence: Edge
    conduction: Edge
    direct: float

    @property
    def gap(self) -> float:
        """Conduction minus valence band edge, in eV; negative where bands overlap."""
        return self.conduction.energy - self.valence.energy

    @property
    def is_direct(self) -> bool:
        """Whether both edges are at one k-point, to what energies can tell."""
        return self.direct - self.gap < 1e-3


class _Bands:
    """Eigenvalues and their gradients at any k.

    Attributes:
        axes: orthonormal Cartesian vectors that span the reciprocal vectors of the periodic directions, as columns.
        change: change of fractional k by coordinates along these axes in 1/Å, 2π included.
    """

    axes: Float[np.ndarray, "3 periodic"]
    change: Float[np.ndarray, "3 periodic"]

    def __init__(self, hamiltonian: Hamiltonian):
        atoms = hamiltonian.atoms
        cell = atoms.cell.complete()
        self.axes = np.linalg.qr(cell.reciprocal().array[atoms.pbc].T)[0]
        self.change = cell.array @ self.axes / (2 * np.pi)
        self.change[~atoms.pbc] = 0.0
        self._overlap = BlochSum(hamiltonian, "overlap")
        self._hamiltonian = [
            BlochSum(hamiltonian, "hamiltonian", spin) for spin in range(hamiltonian.n_spins)
        ]

    def energies(self, k: Float[np.ndarray, "3"], spin: int) -> Float[np.ndarray, " bands"]:
        """Return all eigenvalues at a k-point, eV."""
        matrix, overlap = self._matrices(k, spin)
        return scipy.linalg.eigh(matrix, overlap, eigvals_only=True, check_finite=False)

    def band(
        self, k: Float[np.ndarray, "3"], spin: int, band: int
    ) -> tuple[float, Float[np.ndarray, " periodic"]]:
        """Return the energy of one band in eV, and its gradient along the axes in eV Å."""
        matrix, overlap = self._matrices(k, spin)
        energy, vector = scipy.linalg.eigh(
            matrix, overlap, subset_by_index=[band, band], check_finite=False
        )
        c = vector[:, 0]
        change = self._hamiltonian[spin].gradient(k) - energy[0] * self._overlap.gradient(k)
        return float(energy[0]), np.einsum("i,aij,j->a", c.conj(), change, c).real @ self.change

    def _matrices(self, k, spin):
        return self._hamiltonian[spin].at(k[None])[0], self._overlap.at(k[None])[0]


def refined_gap(
    hamiltonian: Hamiltonian,
    kpoints: Float[np.ndarray, "kpoints 3"],
    energies: Float[np.ndarray, "spins kpoints bands"],
    occupied: tuple[int, ...],
) -> Gap:
    """Find the band edges of a structure from its eigenvalues on a k grid.

    Args:
        hamiltonian: H(R) and S(R).
        kpoints: of the grid, in units of the reciprocal lattice vectors.
        energies: all eigenvalues there, ascending, in eV.
        occupied: number of occupied bands of each spin.

    Returns:
        Edges, gap, and masses. The energies are right to 0.1 meV, as far as the grid has a point in the valley of each
        extremum.
    """
    bands = _Bands(hamiltonian)
    spins = range(len(energies))
    top = [
        _edge(bands, kpoints, energies[s, :, n - 1], s, n - 1, -1)
        for s, n in zip(spins, occupied, strict=True)
        if n > 0
    ]
    bottom = [
        _edge(bands, kpoints, energies[s, :, n], s, n, 1)
        for s, n in zip(spins, occupied, strict=True)
        if n < energies.shape[2]
    ]
    valence = max(top, key=lambda edge: edge.energy)
    conduction = min(bottom, key=lambda edge: edge.energy)
    direct = min(
        _direct(bands, kpoints, energies[s, :, n] - energies[s, :, n - 1], s, n)
        for s, n in zip(spins, occupied, strict=True)
        if 0 < n < energies.shape[2]
    )
    for edge in (valence, conduction):  # both edges are points where a direct gap can be smallest
        n = occupied[edge.spin]
        if 0 < n < energies.shape[2]:
            found = bands.energies(edge.kpoint, edge.spin)
            direct = min(direct, float(found[n] - found[n - 1]))
    return Gap(valence, conduction, direct)


def _edge(bands: _Bands, kpoints, energies, spin: int, band: int, sign: int) -> Edge:
    def value(k):
        energy, gradient = bands.band(k, spin, band)
        return sign * energy, sign * gradient

    k, energy = _minimum(bands, kpoints, sign * energies, value)
    found = bands.energies(k, spin)
    degeneracy = int(np.count_nonzero(np.abs(found - sign * energy) < DEGENERATE))
    masses = axes = None
    if degeneracy == 1:
        masses, axes = _masses(bands, k, spin, band, sign)
    return Edge(sign * energy, k, spin, degeneracy, masses, axes)


def _direct(bands: _Bands, kpoints, gaps, spin: int, n: int) -> float:
    def value(k):
        upper, lower = bands.band(k, spin, n), bands.band(k, spin, n - 1)
        return upper[0] - lower[0], upper[1] - lower[1]

    return _minimum(bands, kpoints, gaps, value)[1]


def _minimum(bands: _Bands, kpoints, energies, value) -> tuple[Float[np.ndarray, "3"], float]:
    """Return the lowest minimum that is reached from the grid's best points, and its energy."""
    best = int(np.argmin(energies))
    k, lowest = np.asarray(kpoints[best], dtype=float), float(energies[best])
    dimension = bands.axes.shape[1]
    for start in _starts(bands, kpoints, energies) if dimension else ():

        def function(x, origin=np.asarray(kpoints[start], dtype=float)):
            return value(origin + bands.change @ x)

        smooth = scipy.optimize.minimize(
            function, np.zeros(dimension), jac=True, method="BFGS", options={"gtol": 1e-5}
        )
        # Where bands touch, the gradient jumps, and the line search ends early.
        found = scipy.optimize.minimize(
            lambda x, function=function: function(x)[0],
            smooth.x,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.vstack([smooth.x, smooth.x + 0.01 * np.eye(dimension)]),
                "fatol": _CONVERGED,
                "xatol": 1e-5,
            },
        )
        if found.fun < lowest:
            k, lowest = kpoints[start] + bands.change @ found.x, float(found.fun)
    return 0.5 - (0.5 - k) % 1.0, lowest


def _starts(bands: _Bands, kpoints, energies) -> list[int]:
    """Return the points of lowest energy, no two of which are neighbours on the grid or each other's ±k."""
    points = np.asarray(kpoints, dtype=float)
    periodic = bands.change.any(axis=1)
    # Coordinates along the axes, from fractional ones.
    to_axes = np.linalg.pinv(bands.change[periodic])
    volume = abs(np.linalg.det(to_axes))
    # Time reversal halves the grid.
    spacing = (volume / (2 * len(points))) ** (1 / periodic.sum())
    chosen: list[int] = []
    for index in np.argsort(energies, kind="stable").tolist():
        others = points[chosen][:, periodic]
        apart = np.concatenate([points[index, periodic] - others, points[index, periodic] + others])
        distance = np.linalg.norm((apart - np.rint(apart)) @ to_axes.T, axis=1)
        if (distance > 1.8 * spacing).all():
            chosen.append(index)
        if len(chosen) == STARTS:
            break
    return chosen


def _masses(bands: _Bands, k, spin: int, band: int, sign: int):
    """Return principal effective masses and their axes, from differences of the exact gradient."""
    dimension = bands.axes.shape[1]
    curvature = np.empty((dimension, dimension))
    for axis in range(dimension):
        step = bands.change[:, axis] * _STEP
        above, below = (bands.band(k + s * step, spin, band)[1] for s in (1, -1))
        curvature[axis] = (above - below) / (2 * _STEP)
    inverse, vectors = np.linalg.eigh(sign * 0.5 * (curvature + curvature.T) / HBAR2_PER_MASS)
    masses = np.divide(1.0, inverse, out=np.full(dimension, np.inf), where=inverse != 0)
    order = np.argsort(np.abs(masses))
    return masses[order], (bands.axes @ vectors).T[order]
