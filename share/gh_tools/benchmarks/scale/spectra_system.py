"""Extended-Hückel H with the true S for W, Se, Hf and O: spectra of any size without DFT or a model."""

from __future__ import annotations

import ase
import numpy as np

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import overlap
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs

# Valence energies in eV by element and l: ionisation energies, and what puts polarisation shells
# above them.
ENERGY = {
    8: {0: -29.0, 1: -13.6, 2: 4.0},
    34: {0: -20.5, 1: -12.0, 2: 2.0},
    72: {0: -7.5, 1: 0.0, 2: -7.0, 3: 6.0},
    74: {0: -8.3, 1: -3.0, 2: -9.5},
}
WOLFSBERG_HELMHOLZ = 1.75


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
