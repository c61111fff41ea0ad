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
from jaxtyping import Complex, Float, Int

from gh_tools.console import progress
from gh_tools.errors import DataError
from gh_tools.formats.format import extra
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.layers import Layers, Principal, tiled
from gh_tools.spectra.spectrum import prepared

# eV. Small against all widths, and large against rounding.
BROADENING = 1e-6
# eV. At an energy of the isolated lead's own, which decimation divides by, one beside it stands for it.
_BESIDE = (0.0, 1.3e-5, -2.1e-5, 7.1e-5)
# Of Σ, by which it may fail Dyson's equation.
_RESIDUAL = 1e-6
# Å: how far an atom of the device may be from that of the lead which it continues.
_APART = 0.1
# Part by which the vectors across of lead and device may differ.
_STRAINED = 1e-3


@dataclass(frozen=True)
class Contact:
    """A lead at an end of a device.

    Attributes:
        lead: its layers.
        orbitals: of the device, for each of the lead's principal layer.
        cells: lattice vectors across by which that layer's orbitals are from the device's.
        shift: energy that is added to the lead, so that its atoms have the device's energies, eV.
        mismatch: root mean square of what is left between diagonal elements of H, eV.
        fermi_level: of the lead, shifted, eV.
    """

    lead: Layers
    orbitals: Int[np.ndarray, " n"]
    cells: Int[np.ndarray, "n 3"]
    shift: float
    mismatch: float
    fermi_level: float


@dataclass(frozen=True)
class Transmission:
    """T(E) of a device.

    Attributes:
        energy: from the Fermi level of the left lead, eV.
        transmission: of each spin channel, the mean over k-points across; each counts one spin.
        kpoints: across, with weights.
        fermi_level: of the left lead in the device, eV.
        contacts: the leads, left and right, of the first spin channel.
    """

    energy: Float[np.ndarray, " points"]
    transmission: Float[np.ndarray, "spins points"]
    kpoints: KPoints
    fermi_level: float
    contacts: tuple[Contact, Contact]

    @property
    def conductance(self) -> Float[np.ndarray, " points"]:
        """Conductance in units of 2e²/h: the mean over both spins."""
        return self.transmission.mean(axis=0)

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
    """Compute T(E).

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
        DataError: the leads do not fit the device, or have another number of spins.
        MissingExtraError: sisl is not installed.
    """
    extra("sisl")
    if not device.n_spins == left.n_spins == right.n_spins:
        raise DataError(
            f"the device has {device.n_spins} spin channels and the leads {left.n_spins} and {right.n_spins}: expected equal "
            "numbers; label all with the same spin"
        )
    config = config or SamplingConfig()
    values = np.zeros((device.n_spins, len(energy)))
    first: tuple[Contact, Contact] | None = None
    with progress("transmission", device.n_spins * len(kpoints) * len(energy)) as shown:
        for spin in range(device.n_spins):
            middle = Layers(device, axis, spin)
            ends = tuple(
                _contact(middle, lead, spin, side, config)
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
    return Transmission(energy, values, kpoints, first[0].fermi_level, first)


def ballistic(
    lead: Hamiltonian,
    axis: int,
    energy: Float[np.ndarray, " points"],
    kpoints: KPoints,
    config: SamplingConfig | None = None,
) -> Transmission:
    """Compute T(E) of a perfect lead: its number of channels.

    Args and errors are those of `transmission`.
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
            _SelfEnergy(contact.lead.principal(k).shifted(contact.shift), direction)
            for contact, direction in zip(contacts, "-+", strict=True)
        ]

    def transmission(self, energy: float) -> float:
        matrix = (complex(energy, BROADENING) * self._s - self._h).toarray()
        broadenings = []
        for contact, phase, of in zip(self._contacts, self._phases, self._selves, strict=True):
            sigma = phase.conj()[:, None] * of.at(energy) * phase
            matrix[np.ix_(contact.orbitals, contact.orbitals)] -= sigma
            broadenings.append(1j * (sigma - sigma.conj().T))
        left, right = (contact.orbitals for contact in self._contacts)
        unit = np.zeros((len(matrix), len(right)), dtype=complex)
        unit[right, np.arange(len(right))] = 1.0
        green = scipy.linalg.solve(matrix, unit, overwrite_a=True, overwrite_b=True)[left]
        product_ = broadenings[0] @ green @ broadenings[1]
        return float(np.sum(product_ * green.conj()).real)


class _SelfEnergy:
    """Σ(E) of a semi-infinite lead, by sisl."""

    def __init__(self, layer: Principal, direction: str) -> None:
        sisl = extra("sisl")
        n = len(layer.h)
        # A chain of cells of n orbitals, whatever they are.
        places = np.column_stack([np.arange(n) / n, np.zeros((n, 2))])
        lattice = sisl.Lattice([1, 10, 10], nsc=[3, 1, 1])
        geometry = sisl.Geometry(places, sisl.Atom(1, sisl.Orbital(0.01)), lattice)
        parts = []
        for within, beyond in ((layer.h, layer.h_next), (layer.s, layer.s_next)):
            columns: list = [None] * 3
            for step, block in ((0, within), (1, beyond), (-1, beyond.conj().T)):
                columns[lattice.sc_index([step, 0, 0])] = block
            parts.append(scipy.sparse.csr_matrix(np.hstack(columns)))
        pattern = (abs(parts[0]) + abs(parts[1])).tocsr()
        rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
        same = [
            scipy.sparse.csr_matrix(
                (np.asarray(part[rows, pattern.indices]).ravel(), pattern.indices, pattern.indptr),
                shape=part.shape,
            )
            for part in parts
        ]
        chain = sisl.Hamiltonian.fromsp(geometry, same[0], S=same[1])
        self._of = sisl.physics.RecursiveSI(chain, f"{direction}A", eta=BROADENING)

        self._layer, self._left = layer, direction == "-"

    def at(self, energy: float) -> Complex[np.ndarray, "n n"]:
        """Return Σ, which is checked: Σ = τ g τ' with g = [(E + iη) S - H - Σ]⁻¹ holds, or an energy beside is taken.

        Raises:
            DataError: it does not hold at any of them.
        """
        layer = self._layer
        for step in _BESIDE:
            z = complex(energy + step, BROADENING)
            sigma = self._of.self_energy(z, dtype=np.complex128)
            out = z * layer.s_next - layer.h_next
            back = z * layer.s_next.conj().T - layer.h_next.conj().T
            there, here = (back, out) if self._left else (out, back)
            again = there @ np.linalg.solve(z * layer.s - layer.h - sigma, here)
            if np.abs(again - sigma).max() <= _RESIDUAL * max(np.abs(sigma).max(), 1.0):
                return sigma
        raise DataError(
            f"the self-energy of a lead at {energy:.6f} eV is not accurate: take another energy, or a larger lead"
        )


def _contact(
    device: Layers, hamiltonian: Hamiltonian, spin: int, side: int, config: SamplingConfig
) -> Contact:
    """Find the atoms of a device that continue a lead, at its beginning (side -1) or its end (1)."""
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


def kpoints_across(hamiltonian: Hamiltonian, axis: int, counts: tuple[int, int, int]) -> KPoints:
    """Return a Γ-centred grid of the directions across the axis, half of it by time reversal."""
    from gh_tools.spectra.kpoints import monkhorst_pack

    grid = [
        count if periodic and n != axis else 1
        for n, (count, periodic) in enumerate(zip(counts, hamiltonian.atoms.pbc, strict=True))
    ]
    return monkhorst_pack(grid)


def repeated_along(hamiltonian: Hamiltonian, axis: int, count: int) -> Hamiltonian:
    """Return H and S of a cell repeated along one of its vectors.

    Args:
        hamiltonian: H(R) and S(R).
        axis: index of the vector.
        count: how often.
    """
    from dataclasses import replace

    import ase

    from gh_tools.orbitals.blocks import OnsiteBlocks, PairBlocks, canonical

    atoms, n = hamiltonian.atoms, len(hamiltonian.atoms)
    cell = atoms.cell.array.copy()
    steps = np.arange(count)[:, None, None] * cell[axis]
    cell[axis] *= count
    large = ase.Atoms(
        np.tile(atoms.numbers, count),
        (atoms.positions + steps).reshape(-1, 3),
        cell=cell,
        pbc=atoms.pbc,
    )

    def stack(matrix, rows):
        return (
            None if matrix is None else np.concatenate([matrix] * count, axis=-3)[..., rows, :, :]
        )

    onsite: dict = {}
    for z, blocks in hamiltonian.onsite.items():
        atom = np.concatenate([blocks.atom + n * c for c in range(count)])
        every = np.arange(len(atom))
        onsite[z] = OnsiteBlocks(
            atom, stack(blocks.hamiltonian, every), stack(blocks.overlap, every)
        )
    pairs: dict = {}
    for pair, one in hamiltonian.pairs.items():
        parts = []
        for c in range(count):
            there = c + one.cell_offset[:, axis]
            cell_offset = one.cell_offset.copy()
            cell_offset[:, axis] = there // count
            parts.append((one.i + n * c, one.j + n * (there % count), cell_offset))
        i, j, cell_offset = (np.concatenate(part) for part in zip(*parts, strict=True))
        h, s = (stack(matrix, np.arange(len(i))) for matrix in (one.hamiltonian, one.overlap))
        # Of like atoms the direction that is stored may be the other one now.
        exchanged = ~canonical(i, j, cell_offset, large.numbers)
        i, j = np.where(exchanged, j, i), np.where(exchanged, i, j)
        cell_offset = np.where(exchanged[:, None], -cell_offset, cell_offset)
        h, s = (
            None if m is None else np.where(exchanged[:, None, None], m.swapaxes(-1, -2), m)
            for m in (h, s)
        )
        pairs[pair] = PairBlocks(i, j, cell_offset, h, s)
    scalars = {
        name: value * (count if name in ("n_electrons", "energy") else 1)
        for name, value in hamiltonian.scalars.items()
    }
    return replace(
        hamiltonian, atoms=large, onsite=onsite, pairs=pairs, scalars=scalars, bands=None
    )
