"""Systems to measure spectra on: WSe2 on packed HfO2, extended-Hückel H with the true S, no DFT."""

from __future__ import annotations

import ase
import numpy as np

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import overlap
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped

A_WSE2, A_HFO2 = 3.32, 5.1  # Å
# Valence energies in eV by element and l: ionisation energies, and what puts polarisation shells
# above them.
ENERGY = {
    8: {0: -29.0, 1: -13.6, 2: 4.0},
    34: {0: -20.5, 1: -12.0, 2: 2.0},
    72: {0: -7.5, 1: 0.0, 2: -7.0, 3: 6.0},
    74: {0: -8.3, 1: -3.0, 2: -9.5},
}
WOLFSBERG_HELMHOLZ = 1.75


def structure(n_atoms: int, seed: int = 0) -> ase.Atoms:
    """About so many atoms of a WSe2 sheet (square cell) on rattled fluorite HfO2.

    The oxide is two fluorite cells thick, as wide as the sheet.
    """
    rng = np.random.default_rng(seed)
    # Per Å² there are 3 / 9.55 atoms of the sheet and 24 / 26.0 of the oxide.
    side = np.sqrt(n_atoms / (3 / (A_WSE2**2 * np.sqrt(3) / 2) + 24 / A_HFO2**2))
    columns, rows = max(1, round(side / A_WSE2)), max(1, round(side / (A_WSE2 * np.sqrt(3))))
    width, depth = columns * A_WSE2, rows * A_WSE2 * np.sqrt(3)
    sheet = ase.Atoms(
        "WSe2WSe2",
        scaled_positions=[
            [0, 0, 0.5],
            [0.5, 1 / 6, 0.5 + 1.68 / 40],
            [0.5, 1 / 6, 0.5 - 1.68 / 40],
            [0.5, 0.5, 0.5],
            [0, 2 / 3, 0.5 + 1.68 / 40],
            [0, 2 / 3, 0.5 - 1.68 / 40],
        ],
        cell=[A_WSE2, A_WSE2 * np.sqrt(3), 40.0],
        pbc=[True, True, False],
    ).repeat((columns, rows, 1))
    cells = max(1, round(width / A_HFO2)), max(1, round(depth / A_HFO2)), 2
    oxide = ase.Atoms(
        "Hf4O8",
        scaled_positions=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
        + [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)],
        cell=[width / cells[0], depth / cells[1], A_HFO2],
        pbc=True,
    ).repeat(cells)
    top = oxide.positions[:, 2].max()
    sheet.positions[:, 2] += top + 3.0 - sheet.positions[:, 2].min()
    atoms = ase.Atoms(
        np.concatenate([oxide.numbers, sheet.numbers]),
        positions=np.concatenate([oxide.positions, sheet.positions]),
        cell=[width, depth, 60.0],
        pbc=[True, True, False],
    )
    atoms.positions += rng.normal(scale=0.15, size=(len(atoms), 3))
    atoms.positions[:, 2] += 10
    return wrapped(atoms)


def basis() -> Basis:
    """The basis table of W, Se, O and confined Hf; takes half a minute."""
    config = LabelConfig(basis="szp(dzp)", setups={"W": "6"}, energy_shift={"Hf": 0.3})
    return basis_table(config, ENERGY)


def extended_hueckel(atoms: ase.Atoms, table: Basis) -> Hamiltonian:
    """H_ij = K (E_i + E_j) / 2 S_ij between atoms, K = 1 on one, with S from two-centre integrals."""
    pairs = stored_pairs(atoms, basis_cutoffs(table))
    onsite, offsite = overlap(atoms, table, pairs)
    energy = {
        z: np.concatenate([np.full(2 * s.l + 1, ENERGY[z][s.l]) for s in table[z].shells])
        for z in table.numbers
    }

    def hamiltonian(zi: int, zj: int, s: np.ndarray, factor: float) -> np.ndarray:
        return factor * 0.5 * (energy[zi][:, None] + energy[zj]) * s

    return Hamiltonian(
        atoms,
        table,
        {
            z: OnsiteBlocks(np.flatnonzero(atoms.numbers == z), hamiltonian(z, z, s, 1.0), s)
            for z, s in onsite.items()
        },
        {
            (zi, zj): PairBlocks(*pairs[zi, zj][:3], hamiltonian(zi, zj, s, WOLFSBERG_HELMHOLZ), s)
            for (zi, zj), s in offsite.items()
        },
        {"n_electrons": table.n_electrons(atoms.numbers)},
    )
