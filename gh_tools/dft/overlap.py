"""The overlap matrix from the basis table alone: no density, no grid, no self-consistency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import ase
import numpy as np
from jaxtyping import Float, Int

from gh_tools.dft.block_list import BlockList, block_lists
from gh_tools.dft.projections import Projections, projection_reach
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.pairs import Neighbours

OnsiteMatrices = dict[int, Float[np.ndarray, "_atoms _k _k"]]
PairMatrices = dict[SpeciesPair, Float[np.ndarray, "_pairs _ki _kj"]]


def overlap(
    atoms: ase.Atoms, basis: Basis, pairs: Mapping[SpeciesPair, tuple]
) -> tuple[OnsiteMatrices, PairMatrices]:
    """Compute S of a whole structure; see `Overlap`.

    Args:
        atoms: the structure, wrapped.
        basis: the basis table; the PAW setups are those that it names.
        pairs: for each species pair i, j, cell_offset, as `orbitals.pairs.stored_pairs` gives them.

    Returns:
        On-site blocks by atomic number (atoms ascending), and the blocks of the pairs.

    Raises:
        DataError: an element is not in the table, or its PAW setup is not this machine's.
    """
    return Overlap(basis, atoms.numbers)(atoms, pairs)


@runtime_checkable
class OverlapSource(Protocol):
    """What computes S of any structure of some elements: `Overlap`, or functions that were fitted to S."""

    def reach(self, numbers: Iterable[int]) -> float:
        """Distance in Å up to which a calculation looks for neighbours of an atom."""
        ...

    def __call__(
        self,
        atoms: ase.Atoms,
        pairs: Mapping[SpeciesPair, tuple],
        onsite: Int[np.ndarray, " some"] | None = None,
        neighbours: Neighbours | None = None,
    ) -> tuple[OnsiteMatrices, PairMatrices]:
        """Compute blocks, see `Overlap`."""
        ...


class Overlap:
    """S_ij(R) = ⟨φ_i|φ_j⟩ + Σ_a ⟨φ_i|p̃_a⟩ dO_a ⟨p̃_a|φ_j⟩ of any structure of some elements.

    Args:
        basis: the basis table; the PAW setups are those that it names.
        numbers: atomic numbers of the structures.

    Raises:
        DataError: an element is not in the table, or its PAW setup is not this machine's.
    """

    def __init__(self, basis: Basis, numbers: Iterable[int]):
        basis.check_covers(numbers, "overlap")
        self._integrals = TwoCenterIntegrals(Basis({int(z): basis[int(z)] for z in set(numbers)}))

    def reach(self, numbers: Iterable[int]) -> float:
        """Distance in Å up to which a calculation looks for neighbours of an atom."""
        return projection_reach(self._integrals, set(numbers))

    def __call__(
        self,
        atoms: ase.Atoms,
        pairs: Mapping[SpeciesPair, tuple],
        onsite: Int[np.ndarray, " some"] | None = None,
        neighbours: Neighbours | None = None,
    ) -> tuple[OnsiteMatrices, PairMatrices]:
        """Compute blocks, with memory in proportion to them.

        Args:
            atoms: the structure, wrapped.
            pairs: for each species pair i, j, cell_offset.
            onsite: atoms whose on-site blocks are wanted, ascending; all if None.
            neighbours: of the structure up to at least `reach`, if they are there already.

        Returns:
            On-site blocks by atomic number (atoms ascending), and the blocks of the pairs.
        """
        lists = block_lists(atoms, pairs, onsite)
        members = [atom for block in lists.values() for atom in (block.i, block.j)]
        sites = np.unique(np.concatenate(members))
        blocks = overlap_blocks(
            lists, self._integrals, Projections(atoms, self._integrals, sites, neighbours)
        )
        onsite_blocks = {z: blocks[z] for z in blocks if isinstance(z, int)}
        return onsite_blocks, {pair: blocks[pair] for pair in pairs}


def overlap_blocks(
    lists: Mapping[int | SpeciesPair, BlockList],
    integrals: TwoCenterIntegrals,
    projections: Projections,
) -> dict[int | SpeciesPair, Float[np.ndarray, "_pairs _ki _kj"]]:
    """Compute S for lists of blocks: ⟨φ_i|φ_j⟩ + Σ_a ⟨φ_i|p̃_a⟩ ΔO_a ⟨p̃_a|φ_j⟩, the second term PAW's.

    Args:
        lists: which blocks, by element or species pair.
        integrals: of the orbitals and projectors of these elements.
        projections: ⟨p̃_a|φ_i⟩ of the structure.
    """
    corrections = {z: setup.dO_ii for z, setup in integrals.setups.items()}
    result = projections.correction(corrections, lists)
    for key, block in lists.items():
        result[key] += integrals.overlap(block.zi, block.zj, block.vector)
    return result
