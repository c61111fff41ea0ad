"""The dielectric function, or the polarisability of layers, wires and molecules, of independent particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree
from jaxtyping import Complex, Float

from gh_tools.console import progress
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.geometry import periodic_area
from gh_tools.resources import free_memory
from gh_tools.spectra.choice import dense_bytes
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import band_edges, electrons_of, fermi_level_of
from gh_tools.spectra.optics.config import OpticsConfig
from gh_tools.spectra.optics.transitions import Transitions
from gh_tools.spectra.optics.velocity import Positions, Velocity
from gh_tools.spectra.spectrum import prepared
from gh_tools.units import GIB

E2 = Hartree * Bohr  # e²/4πε0, eV Å
HBAR2_M = Hartree * Bohr**2  # ħ²/m, eV Å²
HBAR_C = 1973.269804  # eV Å


@dataclass(frozen=True)
class OpticalSpectrum:
    """Optical response of a structure.

    Attributes:
        energy: photon energies, eV.
        polarisability: α(ω) of the cell, Å³ (Gaussian units), by Cartesian directions.
        joint: joint density of states, transitions of both spins per eV and cell.
        static: α at ω = 0 without broadening; infinite in a metal.
        plasma: ħω_p of transitions within bands, the root of its tensor's diagonal elements, eV; 0 in an insulator,
            and where not all directions are periodic.
        f_sum: part of the electrons that all transitions hold by the f-sum rule, along x, y and z; 1 in a complete basis, but for
            what is transitions within bands and for non-local potentials.
        gap: of the k-points, eV, with the scissors.
        fermi_level: eV.
        periodic: number of periodic directions.
        size: volume of the cell of a crystal, area of that of a layer, length of that of a wire, in powers of Å; 1 of a molecule.
        positions: which position operator, see `Velocity`.
    """

    energy: Float[np.ndarray, " points"]
    polarisability: Complex[np.ndarray, "3 3 points"]
    joint: Float[np.ndarray, " points"]
    static: Float[np.ndarray, "3 3"]
    plasma: Float[np.ndarray, "3"]
    f_sum: Float[np.ndarray, "3"]
    gap: float
    fermi_level: float
    periodic: int
    size: float
    positions: Positions

    @property
    def response(self) -> Complex[np.ndarray, "3 3 points"]:
        """ε of a crystal; of others the polarisability per area (Å), per length (Å²) or of the whole (Å³)."""
        return self._of(self.polarisability)

    @property
    def static_response(self) -> Float[np.ndarray, "3 3"]:
        """The same at ω = 0, without broadening."""
        return self._of(self.static)

    def _of(self, alpha):
        if self.periodic < 3:
            return alpha / self.size
        unit = np.eye(3).reshape(3, 3, *(1,) * (alpha.ndim - 2))
        return unit + 4 * np.pi * alpha / self.size

    @property
    def absorption(self) -> Float[np.ndarray, "3 points"]:
        """Of a crystal the absorption coefficient along x, y and z, 1/cm; of others the part of light that is absorbed by a layer.

        A layer that stands alone absorbs 4π ω/c Im α, to first order; of wires and molecules both are none.
        """
        diagonal = np.einsum("aap->ap", self.response)
        if self.periodic == 3:
            return 2 * self.energy / HBAR_C * np.sqrt(diagonal).imag * 1e8
        if self.periodic == 2:
            return 4 * np.pi * self.energy / HBAR_C * diagonal.imag
        return np.full(diagonal.shape, np.nan)

    @property
    def symbol(self) -> str:
        """What `response` is, with its unit."""
        return {3: "ε", 2: "α/A (Å)", 1: "α/L (Å²)", 0: "α (Å³)"}[self.periodic]

    def to_json(self) -> dict[str, Any]:
        """Return everything as lists and numbers."""
        names = "xyz"
        parts = {names[a] + names[b]: self.response[a, b] for a in range(3) for b in range(3)}
        return {
            "energy": self.energy.tolist(),
            "quantity": self.symbol,
            "real": {name: part.real.tolist() for name, part in parts.items()},
            "imaginary": {name: part.imag.tolist() for name, part in parts.items()},
            "joint_density": self.joint.tolist(),
            **self.numbers(),
        }

    def numbers(self) -> dict[str, Any]:
        """Return all but spectra."""
        return {
            "static": self.static_response.tolist() if self.gap > 0 else None,
            "plasma_frequency": self.plasma.tolist(),
            "f_sum": self.f_sum.tolist(),
            "gap": self.gap,
            "fermi_level": self.fermi_level,
            "positions": self.positions,
        }


def optical_spectrum(hamiltonian: Hamiltonian, config: OpticsConfig) -> OpticalSpectrum:
    """Compute the optical response of independent particles.

    α_ab(ω) = e² Σ_k w Σ_nm (f_n − f_m) x^a_nm x^b_mn / (ε_m − ε_n − ħω − iη), with x = ħv / i(ε_n − ε_m) and ε_ab = δ_ab + 4π α_ab / V; of
    transitions within bands the plasma frequency alone is computed. There are no excitons, no local fields, and photons have
    no momentum.

    Args:
        hamiltonian: H(R) and S(R).
        config: k grid, photon energies, broadening.

    Raises:
        DataError: eigenvectors do not fit into memory; a metal is to get scissors; or the Fermi level is ill-defined.
    """
    magnetic = hamiltonian.spinor or (config.soc and hamiltonian.n_spins == 2)
    hamiltonian, grid = prepared(hamiltonian, config)
    need, memory = 2 * dense_bytes(hamiltonian.n_orbitals, False), free_memory()
    if need > memory:
        raise DataError(
            f"velocities between states of {hamiltonian.n_orbitals} orbitals take {need / GIB:.1f} GiB, and "
            f"{memory / GIB:.1f} GiB are free: cut a smaller structure out"
        )
    electrons = electrons_of(hamiltonian)
    eigenvalues = solve(hamiltonian, grid, projected=False)
    fermi = fermi_level_of(hamiltonian, eigenvalues, config)
    gap = band_edges(eigenvalues, electrons).gap
    if config.scissors and gap == 0:
        raise UsageError("scissors: the structure is a metal on these k-points: leave it out")
    found = Transitions.of_width(config.width)
    positions = None if config.positions == "auto" else config.positions
    with progress("k-points", hamiltonian.n_spins * len(grid)) as shown:
        for spin in range(hamiltonian.n_spins):
            velocity = Velocity(hamiltonian, spin, positions)
            for k, weight in zip(grid.points, grid.weights, strict=True):
                found.add(
                    velocity.at(k),
                    fermi,
                    config.smearing,
                    float(weight * hamiltonian.degeneracy),
                    config.scissors,
                    config.smearing or config.width,
                )
                shown.advance()
    energy = np.linspace(*config.window, config.points)
    z = energy + 1j * config.width
    static = np.full((3, 3), np.inf)
    if gap > 0:
        static = E2 * found.response(np.zeros(1, complex), False)[:, :, 0].real
    periodic, size = _size(hamiltonian)
    plasma = np.zeros(3)
    if gap == 0 and periodic == 3:
        plasma = np.sqrt(4 * np.pi * E2 * found.intraband[:3] / size)
    return OpticalSpectrum(
        energy,
        E2 * found.response(z, magnetic),
        found.density(z),
        static,
        plasma,
        found.strength / HBAR2_M / electrons,
        gap + config.scissors,
        fermi,
        periodic,
        size,
        velocity.positions,
    )


def _size(hamiltonian: Hamiltonian) -> tuple[int, float]:
    """Return the number of periodic directions, and volume, area or length of the cell along them."""
    atoms = hamiltonian.atoms
    periodic = int(atoms.pbc.sum())
    sizes = {3: lambda: float(atoms.cell.volume), 2: lambda: periodic_area(atoms), 0: lambda: 1.0}
    if periodic == 1:
        return 1, float(np.linalg.norm(atoms.cell.array[atoms.pbc]))
    return periodic, float(sizes[periodic]())
