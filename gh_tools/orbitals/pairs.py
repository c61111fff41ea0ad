"""Pairs of atoms within a distance, periodic images included."""

from __future__ import annotations

from collections.abc import Mapping

import ase
import numpy as np
import vesin
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.blocks import canonical

DirectedPairs = tuple[
    Int[np.ndarray, "pairs"],
    Int[np.ndarray, "pairs"],
    Int[np.ndarray, "pairs 3"],
    Float[np.ndarray, "pairs 3"],
]


def wrapped(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy with the atoms inside the cell along its periodic directions.

    Lattice vectors R of stored blocks are counted from such positions.
    """
    atoms = atoms.copy()
    if atoms.pbc.any():
        cell = atoms.cell.complete().array
        # Twice: a tiny negative coordinate becomes exactly 1 at first.
        for _ in range(2):
            cells = np.floor(np.linalg.solve(cell.T, atoms.positions.T).T) * atoms.pbc
            atoms.positions -= cells @ cell
    return atoms


def directed_pairs(atoms: ase.Atoms, cutoff: float) -> DirectedPairs:
    """All pairs closer than ``cutoff``, both directions, sorted by (i, j, shift).

    Args:
        atoms: the structure; a cell vector may be zero where it is not periodic.
        cutoff: in Å.

    Returns:
        i, j, shift (in cells), and the vector r_j + shift·cell - r_i in Å. An atom pairs with its
        own images, not with itself.
    """
    # vesin wants three vectors that span space; along directions that are not periodic, any do.
    cell = atoms.cell.complete().array
    i, j, shift, vector = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
        points=atoms.positions, box=cell, periodic=atoms.pbc.tolist(), quantities="ijSD"
    )
    shift = shift.astype(np.int64)
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], j, i))
    return i[order].astype(np.int64), j[order].astype(np.int64), shift[order], vector[order]


def basis_cutoffs(basis: Basis, limit: float | None = None) -> dict[SpeciesPair, float]:
    """Distance in Å up to which each species pair has blocks: the sum of reaches, or ``limit`` if less."""
    limit = np.inf if limit is None else limit
    return {pair: min(basis.pair_cutoff(*pair), limit) for pair in basis.species_pairs()}


def stored_pairs(
    atoms: ase.Atoms, cutoffs: Mapping[SpeciesPair, float]
) -> dict[SpeciesPair, DirectedPairs]:
    """The canonical pairs of each species pair present, within its cutoff.

    Args:
        atoms: the structure, wrapped.
        cutoffs: in Å for each (Zi, Zj), Zi <= Zj; species pairs that are not there have no pairs.

    Returns:
        For each species pair with at least one pair: i, j, shift, vector, sorted by (i, j, shift).
    """
    numbers = atoms.numbers
    i, j, shift, vector = directed_pairs(atoms, max(cutoffs.values()))
    distance = np.linalg.norm(vector, axis=1)
    keep = canonical(i, j, shift, numbers)
    found = {}
    for (zi, zj), cutoff in sorted(cutoffs.items()):
        of_pair = keep & (numbers[i] == zi) & (numbers[j] == zj) & (distance < cutoff)
        if of_pair.any():
            found[zi, zj] = i[of_pair], j[of_pair], shift[of_pair], vector[of_pair]
    return found
