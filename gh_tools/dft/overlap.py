"""The overlap matrix from the basis table alone: no density, no grid, no self-consistency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float, Int

from gh_tools.dft.projections import Projections
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.orbitals.basis import Basis, SpeciesPair

OnsiteMatrices = dict[int, Float[np.ndarray, "atoms k k"]]
PairMatrices = dict[SpeciesPair, Float[np.ndarray, "pairs ki kj"]]


class BlockList(NamedTuple):
    """Where the blocks of one species (on-site) or species pair stand.

    Attributes:
        zi: atomic number of the first atoms.
        zj: atomic number of the second atoms.
        i: first atom, in cell 0.
        j: second atom.
        shift: cell of the second atom.
        vector: from the first atom to the second, in Å.
    """

    zi: int
    zj: int
    i: Int[np.ndarray, "pairs"]
    j: Int[np.ndarray, "pairs"]
    shift: Int[np.ndarray, "pairs 3"]
    vector: Float[np.ndarray, "pairs 3"]


def block_lists(
    atoms: ase.Atoms, pairs: Mapping[SpeciesPair, tuple]
) -> dict[int | SpeciesPair, BlockList]:
    """List all on-site blocks by atomic number, then the blocks of ``pairs`` (i, j, shift, ...)."""
    lists = {}
    for number in sorted(set(atoms.numbers.tolist())):
        atom = np.flatnonzero(atoms.numbers == number)
        nowhere = np.zeros((len(atom), 3))
        lists[number] = BlockList(number, number, atom, atom, nowhere.astype(np.int64), nowhere)
    for (zi, zj), (i, j, shift, *_) in pairs.items():
        vector = atoms.positions[j] + shift @ atoms.cell.array - atoms.positions[i]
        lists[zi, zj] = BlockList(zi, zj, i, j, shift, vector)
    return lists


def overlap(
    atoms: ase.Atoms, basis: Basis, pairs: Mapping[SpeciesPair, tuple]
) -> tuple[OnsiteMatrices, PairMatrices]:
    """Compute S_ij(R) = ⟨φ_i|φ_j⟩ + Σ_a ⟨φ_i|p̃_a⟩ dO_a ⟨p̃_a|φ_j⟩ for given pairs.

    Args:
        atoms: the structure, wrapped.
        basis: the basis table; the PAW setups are those that it names.
        pairs: for each species pair i, j, shift, as `orbitals.pairs.stored_pairs` gives them.

    Returns:
        On-site blocks by atomic number (atoms ascending), and the blocks of the pairs.

    Raises:
        DataError: an element is not in the table, or its PAW setup is not this machine's.
    """
    basis.check_covers(atoms.numbers, "overlap")
    present = set(atoms.numbers.tolist())
    integrals = TwoCenterIntegrals(Basis({z: basis[z] for z in present}))
    blocks = overlap_blocks(block_lists(atoms, pairs), integrals, Projections(atoms, integrals))
    onsite = {z: blocks[z] for z in blocks if isinstance(z, int)}
    return onsite, {pair: blocks[pair] for pair in blocks if not isinstance(pair, int)}


def overlap_blocks(
    lists: Mapping[int | SpeciesPair, BlockList],
    integrals: TwoCenterIntegrals,
    projections: Projections,
) -> dict[int | SpeciesPair, Float[np.ndarray, "pairs ki kj"]]:
    """Compute S for lists of blocks, with PAW correction."""
    corrections = {z: setup.dO_ii for z, setup in integrals.setups.items()}
    result = projections.correction([corrections[z] for z in projections.numbers.tolist()], lists)
    for key, block in lists.items():
        result[key] += integrals.overlap(block.zi, block.zj, block.vector)
    return result
