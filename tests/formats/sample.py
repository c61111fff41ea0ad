"""A Hamiltonian of no particular structure, and files of formats that gh-tools reads but does not write."""

import ase
import numpy as np

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped

# f and d shells, two shells of one l, and an order of shells that does not ascend
SHELLS = {6: (0, 1, 0), 42: (0, 2, 1, 3)}
REACH = 2.2


def sample(spins=1, seed=0, degrees=SHELLS, overlap=0.1, symbols="CMoCMo"):
    """Two C and two Mo in a skew cell, listed in turns or as symbols say, one of them outside of it; S is positive definite."""
    random = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.2, 0.0], [1.3, 4.4, 0.3], [-0.4, 0.5, 4.8]])
    scaled = np.array([[0.05, 0.1, 0.9], [0.45, 0.55, 0.35], [1.02, 0.6, 0.2], [0.5, -0.1, 0.6]])
    atoms = wrapped(ase.Atoms(symbols, scaled @ cell, cell=cell, pbc=True))
    basis = Basis(
        {
            z: ElementBasis(
                z, tuple(Shell(degree, REACH) for degree in shells), n, code="a program"
            )
            for (z, shells), n in zip(degrees.items(), (4.0, 6.0), strict=True)
        }
    )
    size = {z: basis[z].n_orbitals for z in degrees}
    onsite, pairs = {}, {}
    shape = () if spins == 1 else (spins,)
    for z, n in size.items():
        atom = np.flatnonzero(atoms.numbers == z)
        h = random.normal(size=(*shape, len(atom), n, n))
        s = 0.01 * random.normal(size=(len(atom), n, n))
        onsite[z] = OnsiteBlocks(atom, h + h.swapaxes(-1, -2), np.eye(n) + s + s.swapaxes(-1, -2))
    cutoffs = {pair: 2 * REACH for pair in basis.species_pairs()}
    for (zi, zj), (i, j, cell_offset, vector) in stored_pairs(atoms, cutoffs).items():
        decay = np.exp(-np.linalg.norm(vector, axis=1))[:, None, None]
        h = decay * random.normal(size=(*shape, len(i), size[zi], size[zj]))
        s = overlap * decay * random.normal(size=(len(i), size[zi], size[zj]))
        pairs[zi, zj] = PairBlocks(i, j, cell_offset, h, s)
    return Hamiltonian(atoms, basis, onsite, pairs, {"fermi_level": -1.25, "n_electrons": 20.0})
