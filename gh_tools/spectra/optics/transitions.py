"""Transitions between states, gathered by energy: what optical spectra are sums over."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.special import expit

from gh_tools.spectra.config import RESOLUTION
from gh_tools.spectra.optics.velocity import BlochStates

# Components of a symmetric tensor, and of an antisymmetric one.
SYMMETRIC = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
ANTISYMMETRIC = ((1, 2), (2, 0), (0, 1))
# Bins of a broadening's half width. Weights are divided between two bins, so that a Lorentzian is off by 1e-4 of its maximum.
_BINS = 50
_NONE = 1e-12
# Elements of a kernel that are computed at once.
_ELEMENTS = 2**22


@dataclass
class Transitions:
    """Sums over transitions by their energy E, on a grid from 0 in steps of `step`.

    Attributes:
        step: eV.
        symmetric: Σ f Re x_a x_b* in bins, by `SYMMETRIC`, Å² per cell, with the positions x between states.
        antisymmetric: Σ f Im x_a x_b*, by `ANTISYMMETRIC`.
        joint: Σ f.
        strength: Σ 2 f E |x_a|², along x, y and z, eV Å².
        intraband: Σ (-df/dε) ħv_a ħv_b, by `SYMMETRIC`, eV Å².
    """

    step: float
    symmetric: Float[np.ndarray, "6 bins"] = field(default_factory=lambda: np.zeros((6, 1)))
    antisymmetric: Float[np.ndarray, "3 bins"] = field(default_factory=lambda: np.zeros((3, 1)))
    joint: Float[np.ndarray, " bins"] = field(default_factory=lambda: np.zeros(1))
    strength: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    intraband: Float[np.ndarray, "6"] = field(default_factory=lambda: np.zeros(6))

    @classmethod
    def of_width(cls, width: float) -> Transitions:
        """Return none yet, in bins that are narrow against a broadening in eV."""
        return cls(width / _BINS)

    def add(
        self,
        states: BlochStates,
        fermi: float,
        kT: float,
        weight: float,
        scissors: float,
        metal_kT: float,
    ) -> None:
        """Add the transitions of a k-point.

        Args:
            states: with their velocities.
            fermi: Fermi level, eV.
            kT: width of the occupations, eV; 0 fills sharply.
            weight: of the k-point, times the electrons that a state holds.
            scissors: energy by which states above the Fermi level are shifted, eV.
            metal_kT: width of the derivative of the occupations, for transitions within bands, eV.
        """
        energies = states.energies
        filled = occupations(energies, fermi, kT)
        lower, upper = np.nonzero(
            (filled[:, None] - filled > _NONE) & (energies - energies[:, None] > RESOLUTION)
        )
        held = weight * (filled[lower] - filled[upper])
        apart = energies[upper] - energies[lower]
        # ⟨n|r|m⟩ = ħ⟨n|v|m⟩ / i(ε_n − ε_m)
        position = 1j * states.velocity[:, lower, upper] / apart
        self.strength += np.sum(2 * held * apart * np.abs(position) ** 2, axis=1)
        apart = apart + scissors * ((energies[upper] > fermi) & (energies[lower] < fermi))
        place = apart / self.step
        first = np.floor(place).astype(np.int64)
        self._grow(int(first.max(initial=0)) + 2)
        for bins, share in ((first, 1 - (place - first)), (first + 1, place - first)):
            part = held * share
            self._put(self.joint, bins, part)
            for row, (a, b) in enumerate(SYMMETRIC):
                product = (position[a] * position[b].conj()).real
                self._put(self.symmetric[row], bins, part * product)
            for row, (a, b) in enumerate(ANTISYMMETRIC):
                product = (position[a] * position[b].conj()).imag
                self._put(self.antisymmetric[row], bins, part * product)
        at_fermi = (
            weight * expit((energies - fermi) / metal_kT) * expit((fermi - energies) / metal_kT)
        )
        slopes = np.diagonal(states.velocity, axis1=1, axis2=2).real
        for row, (a, b) in enumerate(SYMMETRIC):
            self.intraband[row] += float(np.sum(at_fermi * slopes[a] * slopes[b])) / metal_kT

    def _put(self, row: Float[np.ndarray, " bins"], bins: Int[np.ndarray, " n"], values) -> None:
        row += np.bincount(bins, weights=values, minlength=len(row))

    def _grow(self, bins: int) -> None:
        missing = bins - len(self.joint)
        if missing > 0:
            self.joint = np.pad(self.joint, (0, missing))
            self.symmetric = np.pad(self.symmetric, ((0, 0), (0, missing)))
            self.antisymmetric = np.pad(self.antisymmetric, ((0, 0), (0, missing)))

    def response(
        self, z: Complex[np.ndarray, " points"], antisymmetric: bool
    ) -> Complex[np.ndarray, "3 3 points"]:
        """Return Σ f [x_a x_b* / (E − z) + x_a* x_b / (E + z)], Å²/eV per cell.

        Args:
            z: photon energies with their broadening as imaginary parts, eV.
            antisymmetric: whether time reversal leaves that part.
        """
        some = np.flatnonzero(self.joint)
        energy = self.step * np.maximum(some, 0.5)
        even, odd = np.zeros((6, len(z)), complex), np.zeros((3, len(z)), complex)
        for part in _parts(len(z), len(some)):
            kernel = 2 / (energy[:, None] ** 2 - z[part] ** 2)
            even[:, part] = (self.symmetric[:, some] * energy) @ kernel
            if antisymmetric:
                odd[:, part] = 1j * z[part] * (self.antisymmetric[:, some] @ kernel)
        found = np.zeros((3, 3, len(z)), complex)
        for row, (a, b) in enumerate(SYMMETRIC):
            found[a, b] += even[row]
            if a != b:
                found[b, a] += even[row]
        for row, (a, b) in enumerate(ANTISYMMETRIC):
            found[a, b] += odd[row]
            found[b, a] -= odd[row]
        return found

    def density(self, z: Complex[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Return the joint density of states Σ f δ(E − ħω), with Lorentzians, 1/eV per cell."""
        some = np.flatnonzero(self.joint)
        found = np.zeros(len(z))
        for part in _parts(len(z), len(some)):
            kernel = (1 / (self.step * some[:, None] - z[part])).imag / np.pi
            found[part] = self.joint[some] @ kernel
        return found


def occupations(
    energies: Float[np.ndarray, "..."], fermi: float, kT: float
) -> Float[np.ndarray, "..."]:
    """Return the part of each state that is filled; of a state at the Fermi level half, where filled sharply.

    Args:
        energies: of states, eV.
        fermi: the Fermi level, eV.
        kT: width of the Fermi–Dirac distribution, eV.
    """
    if kT < RESOLUTION:
        return 0.5 * (
            np.sign(np.where(np.abs(energies - fermi) < RESOLUTION, 0.0, fermi - energies)) + 1
        )
    return expit((fermi - energies) / kT)


def _parts(points: int, bins: int) -> list[slice]:
    size = max(1, _ELEMENTS // max(1, bins))
    return [slice(start, start + size) for start in range(0, points, size)]
