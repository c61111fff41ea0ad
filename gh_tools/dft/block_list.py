"""Where the blocks of a species or species pair stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import SpeciesPair


class BlockList(NamedTuple):
    """Where the blocks of one species (on-site) or species pair stand.

    Attributes:
        zi: atomic number of the first atoms.
        zj: atomic number of the second atoms.
        i: first atom, in cell 0.
        j: second atom.
        cell_offset: cell of the second atom.
        vector: from the first atom to the second, in Å.
    """

    zi: int
    zj: int
    i: Int[np.ndarray, " pairs"]
    j: Int[np.ndarray, " pairs"]
    cell_offset: Int[np.ndarray, "pairs 3"]
    vector: Float[np.ndarray, "pairs 3"]


def block_lists(
    atoms: ase.Atoms,
    pairs: Mapping[SpeciesPair, tuple],
    onsite: Int[np.ndarray, " some"] | None = None,
) -> dict[int | SpeciesPair, BlockList]:
    """List the on-site blocks by atomic number, then those of pairs by species pair.

    Args:
        atoms: the structure.
        pairs: by species pair: first atoms, second atoms, cell offsets of the second; what follows is left alone.
        onsite: indices of the atoms whose on-site blocks are listed; None for all.
    """
    onsite = np.arange(len(atoms)) if onsite is None else onsite
    lists = {}
    for number in np.unique(atoms.numbers[onsite]).tolist():
        atom = onsite[atoms.numbers[onsite] == number]
        nowhere = np.zeros((len(atom), 3))
        lists[number] = BlockList(number, number, atom, atom, nowhere.astype(np.int64), nowhere)
    for (zi, zj), (i, j, cell_offset, *_) in pairs.items():
        vector = atoms.positions[j] + cell_offset @ atoms.cell.array - atoms.positions[i]
        lists[zi, zj] = BlockList(zi, zj, i, j, cell_offset, vector)
    return lists
