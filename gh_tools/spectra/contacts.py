"""Where a lead goes on in a device: which atoms, and by how much its energies are shifted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level_of
from gh_tools.spectra.layers import Layers, tiled
from gh_tools.spectra.spectrum import prepared

# Å: how far an atom of the device may be from that of the lead which it continues.
_APART = 0.1
# Part by which the vectors across of lead and device may differ.
_STRAINED = 1e-3


@dataclass(frozen=True)
class Contact:
    """A lead at an end of a device.

    Attributes:
        lead: its layers.
        atoms: of the device, for each of the lead's principal layer.
        orbitals: of the device, for each of the lead's principal layer.
        cells: lattice vector, across the axis, from the cell of each of these orbitals to that of the layer's.
        shift: energy that is added to the lead, so that its atoms have the device's energies, eV.
        mismatch: root mean square of what is left between diagonal elements of H, eV.
        fermi_level: of the lead, shifted, eV.
    """

    lead: Layers
    atoms: Int[np.ndarray, " atoms"]
    orbitals: Int[np.ndarray, " n"]
    cells: Int[np.ndarray, "n 3"]
    shift: float
    mismatch: float
    fermi_level: float


def check_alike(device: Hamiltonian, left: Hamiltonian, right: Hamiltonian) -> None:
    """Raise `DataError` if a device and its leads have other numbers of spins, or spinors not in all of them."""
    if not device.spinor == left.spinor == right.spinor:
        raise DataError("expected spinors in the device and in both leads, or in none of them")
    if not device.n_spins == left.n_spins == right.n_spins:
        raise DataError(
            f"the device has {device.n_spins} spin channels and the leads {left.n_spins} and {right.n_spins}: expected equal "
            "numbers; label all with the same spin"
        )


def find_contact(
    device: Layers, hamiltonian: Hamiltonian, spin: int, side: int, config: SamplingConfig
) -> Contact:
    """Find the atoms of a device that continue a lead.

    Args:
        device: the device.
        hamiltonian: of one cell of the lead.
        spin: channel.
        side: -1 for the beginning of the device along the axis, 1 for its end.
        config: k grid of the lead, for its Fermi level.

    Raises:
        DataError: the lead does not repeat along the axis, is not as wide as the device, has another basis, or the device
            does not have its atoms there.
    """
    name = "left" if side < 0 else "right"
    axis = device.axis
    atoms, other = device.hamiltonian.atoms, hamiltonian.atoms
    if not other.pbc[axis]:
        raise DataError(f"the {name} lead does not repeat along the axis of transport")
    across = [n for n in range(3) if n != axis and atoms.pbc[n]]
    if any(not other.pbc[n] for n in across) or not np.allclose(
        other.cell.array[across],
        atoms.cell.array[across],
        atol=_STRAINED * max(atoms.cell.lengths().max(), 1.0),
    ):
        raise DataError(
            f"the {name} lead's vectors across the axis are {other.cell.array[across].round(3).tolist()} Å, expected the "
            f"device's, {atoms.cell.array[across].round(3).tolist()}: repeat it to the device's width"
        )
    device.hamiltonian.basis.check_same(hamiltonian.basis, f"{name} lead")
    # The device may begin with any atom of the lead's cell.
    for first in (None, *range(len(other))):
        lead = Layers(hamiltonian, axis, spin, first)
        matched, steps, far = _match(device, *tiled(lead), side, across)
        if far <= _APART:
            break
    if far > _APART:
        raise DataError(
            f"the device does not {'begin' if side < 0 else 'end'} with {max(1, lead.reach)} cells of the {name} lead, as far as "
            f"its orbitals couple: atoms are to be {_APART} Å at most from where the lead has them. Add cells of the lead to the device, and predict it anew"
        )
    counts = np.diff(device.start)[matched]
    orbitals = np.concatenate(
        [device.start[a] + np.arange(n) for a, n in zip(matched, counts, strict=True)]
    )
    origin = np.zeros(3)
    theirs = np.tile(lead.at(origin, 0)[0].diagonal().real, max(1, lead.reach))
    difference = device.at(origin, 0)[0].diagonal().real[orbitals] - theirs
    shift = float(difference.mean())
    hamiltonian, grid = prepared(hamiltonian, config)
    eigenvalues = solve(hamiltonian, grid, projected=False)
    return Contact(
        lead,
        matched,
        orbitals,
        np.repeat(steps, counts, axis=0),
        shift,
        float(np.std(difference)),
        fermi_level_of(hamiltonian, eigenvalues, config) + shift,
    )


def _match(
    device: Layers, numbers, places, side: int, across: list[int]
) -> tuple[Int[np.ndarray, " atoms"], Int[np.ndarray, "atoms 3"], float]:
    """Return the device's atom for each of a lead, the lattice vector between both, and the largest distance."""
    atoms = device.hamiltonian.atoms
    cell = atoms.cell.complete().array
    inverse = np.linalg.inv(cell)
    outermost = side * (places @ inverse[:, device.axis])
    reference = int(np.argmax(outermost))
    heights = side * (device.positions @ inverse[:, device.axis])
    length = 1 / np.linalg.norm(inverse[:, device.axis])
    ends = np.flatnonzero(
        (heights > heights.max() - 2 * _APART / length) & (atoms.numbers == numbers[reference])
    )
    best = (np.zeros(len(places), int), np.zeros((len(places), 3), int), np.inf)
    periodic = np.isin(np.arange(3), across)
    for end in ends:
        moved = places + device.positions[end] - places[reference]
        chosen, steps, far = [], [], 0.0
        for number, place in zip(numbers, moved, strict=True):
            fractions = (place - device.positions) @ inverse
            step = np.where(periodic, np.rint(fractions), 0.0)
            distance = np.linalg.norm((fractions - step) @ cell, axis=1)
            distance[atoms.numbers != number] = np.inf
            nearest = int(np.argmin(distance))
            chosen.append(nearest)
            steps.append(step[nearest])
            far = max(far, float(distance[nearest]))
        if far < best[2] and len(set(chosen)) == len(chosen):
            best = np.array(chosen), np.array(steps, dtype=int), far
    return best
