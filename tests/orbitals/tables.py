"""Basis tables and random Hamiltonians that need no DFT."""

import ase
import numpy as np

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped


def basis(**shells):
    """Basis(W=[(0, 4.8), (2, 3.8)], ...): shells as (l, cutoff in Å)."""
    from ase.data import atomic_numbers

    elements = {}
    for symbol, rows in shells.items():
        z = atomic_numbers[symbol]
        elements[z] = ElementBasis(
            z, tuple(Shell(*row) for row in rows), n_valence=float(min(z, z % 8 + 1))
        )
    return Basis(elements)


SIO = basis(Si=[(0, 3.0), (1, 3.4), (2, 3.4)], O=[(0, 2.4), (1, 2.9), (1, 2.2), (3, 2.0)])


def random_hamiltonian(
    atoms: ase.Atoms, table: Basis, seed: int = 0, spins: int = 1
) -> Hamiltonian:
    """Blocks of the right shape and symmetry, overlaps dominated by their diagonal."""
    rng = np.random.default_rng(seed)
    atoms = wrapped(atoms)
    spin = (spins,) if spins > 1 else ()
    onsite = {}
    for z in sorted(set(atoms.numbers.tolist())):
        atom = np.flatnonzero(atoms.numbers == z)
        k = table[z].n_orbitals
        h = rng.normal(size=(*spin, len(atom), k, k))
        s = np.eye(k) + np.zeros((len(atom), 1, 1))
        onsite[z] = OnsiteBlocks(atom, h + np.swapaxes(h, -1, -2), s)
    pairs = {}
    for (zi, zj), (i, j, cell_offset, _) in stored_pairs(atoms, basis_cutoffs(table)).items():
        shape = (len(i), table[zi].n_orbitals, table[zj].n_orbitals)
        h, s = rng.normal(size=(*spin, *shape)), 1e-3 * rng.normal(size=shape)
        pairs[zi, zj] = PairBlocks(i, j, cell_offset, h, s)
    scalars = {"fermi_level": -4.0, "n_electrons": table.n_electrons(atoms.numbers)}
    return Hamiltonian(atoms, table, onsite, pairs, scalars)


def quartz_like(seed: int = 0) -> ase.Atoms:
    """A small triclinic cell with Si and O, some atoms outside it."""
    rng = np.random.default_rng(seed)
    cell = np.diag([4.2, 4.9, 5.6]) + rng.uniform(-0.6, 0.6, size=(3, 3))
    fractional = rng.uniform(-0.5, 1.5, size=(5, 3))
    return ase.Atoms("SiO2SiO", scaled_positions=fractional, cell=cell, pbc=True)
