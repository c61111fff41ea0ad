"""Landauer transmission through a device between two leads, from their H(R) and S(R).

T(E) = Tr[Γ_L G Γ_R G†] with G = [(E + iη) S - H - Σ_L - Σ_R]⁻¹ and Γ = i (Σ - Σ†): Y. Meir and N. S. Wingreen, Phys. Rev.
Lett. 68, 2512 (1992). The self-energies Σ of semi-infinite leads are sisl's, by the decimation of M. P. López Sancho,
J. M. López Sancho and J. Rubio, J. Phys. F 15, 851 (1985).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float

from gh_tools.console import progress
from gh_tools.formats.format import extra
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.contacts import Contact, check_alike, find_contact
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.spectra.layers import Layers
from gh_tools.spectra.repeat import repeated_along
from gh_tools.spectra.self_energy import BROADENING, SelfEnergy

# Orbitals of a device up to which dense matrices are faster than sparse ones.
_DENSE = 1000


@dataclass(frozen=True)
class Transmission:
    """T(E) of a device.

    Attributes:
        energy: from the Fermi level of the left lead, eV.
        transmission: of each spin channel, the mean over k-points across; each counts one spin, of spinors both.
        kpoints: across, with weights.
        fermi_level: of the left lead in the device, eV.
        contacts: the leads, left and right, of the first spin channel.
        spinor: whether states are spinors.
    """

    energy: Float[np.ndarray, " points"]
    transmission: Float[np.ndarray, "spins points"]
    kpoints: KPoints
    fermi_level: float
    contacts: tuple[Contact, Contact]
    spinor: bool = False

    @property
    def conductance(self) -> Float[np.ndarray, " points"]:
        """Conductance in units of 2e²/h: the mean over both spins."""
        return self.transmission.mean(axis=0) / (2 if self.spinor else 1)

    def to_json(self) -> dict[str, Any]:
        """Return everything as lists and numbers."""
        return {
            "energy": self.energy.tolist(),
            "transmission": self.transmission.tolist(),
            "conductance": self.conductance.tolist(),
            "fermi_level": self.fermi_level,
            "kpoints": self.kpoints.points.tolist(),
            "weights": self.kpoints.weights.tolist(),
            "shifts": [contact.shift for contact in self.contacts],
        }


def transmission(
    device: Hamiltonian,
    left: Hamiltonian,
    right: Hamiltonian,
    axis: int,
    energy: Float[np.ndarray, " points"],
    kpoints: KPoints,
    config: SamplingConfig | None = None,
) -> Transmission:
    """Compute T(E) by the equation of this module, with η of 1e-6 eV.

    Args:
        device: begins and ends with atoms of the leads, a principal layer of each at least; what it repeats along the axis does
            not count.
        left: lead, of one cell that repeats along the axis, as wide as the device.
        right: likewise.
        axis: index of the cell's vector along which electrons go.
        energy: from the Fermi level of the left lead, eV.
        kpoints: across; their components along the axis do not count.
        config: k grid of the leads, for their Fermi levels.

    Raises:
        DataError: the leads do not fit the device or have another number of spins, or a self-energy is not accurate.
        MissingExtraError: sisl is not installed.
    """
    extra("sisl")
    check_alike(device, left, right)
    config = config or SamplingConfig()
    values = np.zeros((device.n_spins, len(energy)))
    first: tuple[Contact, Contact] | None = None
    with progress("transmission", device.n_spins * len(kpoints) * len(energy)) as shown:
        for spin in range(device.n_spins):
            middle = Layers(device, axis, spin)
            ends = tuple(
                find_contact(middle, lead, spin, side, config)
                for side, lead in ((-1, left), (1, right))
            )
            contacts = ends[0], ends[1]
            first = first or contacts
            fermi = first[0].fermi_level
            for k, weight in zip(kpoints.points, kpoints.weights, strict=True):
                solver = _Junction(middle, contacts, k)
                for index, e in enumerate(energy):
                    values[spin, index] += weight * solver.transmission(e + fermi)
                    shown.advance()
    assert first is not None  # there is a spin
    return Transmission(energy, values, kpoints, first[0].fermi_level, first, device.spinor)


def ballistic(
    lead: Hamiltonian,
    axis: int,
    energy: Float[np.ndarray, " points"],
    kpoints: KPoints,
    config: SamplingConfig | None = None,
) -> Transmission:
    """Compute T(E) of a perfect lead, which is its number of channels at E.

    Args:
        lead: H(R) and S(R) of one cell that repeats along the axis.
        axis: index of the cell's vector along which electrons go.
        energy: from the Fermi level, eV.
        kpoints: across; their components along the axis do not count.
        config: k grid of the lead, for its Fermi level.

    Raises:
        DataError: the lead does not repeat along the axis, or a self-energy is not accurate.
        MissingExtraError: sisl is not installed.
    """
    layers = Layers(lead, axis)
    return transmission(
        repeated_along(lead, axis, 2 * max(1, layers.reach)),
        lead,
        lead,
        axis,
        energy,
        kpoints,
        config,
    )


class _Junction:
    """Device and leads at one k-point across."""

    def __init__(self, middle: Layers, contacts: tuple[Contact, Contact], k) -> None:
        self._h, self._s = middle.at(k, 0)
        self._contacts = contacts
        self._phases = [np.exp(2j * np.pi * (contact.cells @ k)) for contact in contacts]
        self._selves = [
            SelfEnergy(contact.lead.principal(k).shifted(contact.shift), direction)
            for contact, direction in zip(contacts, "-+", strict=True)
        ]

    def transmission(self, energy: float) -> float:
        matrix = complex(energy, BROADENING) * self._s - self._h
        broadenings = []
        for contact, phase, of in zip(self._contacts, self._phases, self._selves, strict=True):
            sigma = phase.conj()[:, None] * of.at(energy) * phase
            row, column = np.broadcast_arrays(contact.orbitals[:, None], contact.orbitals)
            matrix = matrix - scipy.sparse.coo_array(
                (sigma.ravel(), (row.ravel(), column.ravel())), matrix.shape
            )
            broadenings.append(1j * (sigma - sigma.conj().T))
        left, right = (contact.orbitals for contact in self._contacts)
        unit = np.zeros((matrix.shape[0], len(right)), dtype=complex)
        unit[right, np.arange(len(right))] = 1.0
        if len(unit) > _DENSE:
            green = scipy.sparse.linalg.splu(matrix.tocsc()).solve(unit)[left]
        else:
            green = scipy.linalg.solve(matrix.toarray(), unit, overwrite_a=True)[left]
        product_ = broadenings[0] @ green @ broadenings[1]
        return float(np.sum(product_ * green.conj()).real)


def kpoints_across(hamiltonian: Hamiltonian, axis: int, counts: tuple[int, int, int]) -> KPoints:
    """Return a Γ-centred grid of the directions across the axis, half of it by time reversal; of spinors, whose run may have been magnetic, all.

    Args:
        hamiltonian: of the structure, whose periodic directions count.
        axis: index of the cell's vector along which electrons go.
        counts: points along each of the cell's vectors; those along the axis and where nothing repeats do not count.
    """
    return monkhorst_pack(
        counts_across(hamiltonian, axis, counts), time_reversal=not hamiltonian.spinor
    )


def counts_across(hamiltonian: Hamiltonian, axis: int, counts: tuple[int, int, int]) -> list[int]:
    """Return the numbers of k-points of `kpoints_across` along each of the cell's vectors, 1 where they do not count."""
    return [
        count if periodic and n != axis else 1
        for n, (count, periodic) in enumerate(zip(counts, hamiltonian.atoms.pbc, strict=True))
    ]
