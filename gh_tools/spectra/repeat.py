"""H and S of a cell repeated along one of its vectors, and of one whose atoms have another order and stand in other cells."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
from jaxtyping import Int

from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks, canonical


def repeated_along(hamiltonian: Hamiltonian, axis: int, count: int) -> Hamiltonian:
    """Return H and S of a cell repeated along one of its vectors; energy and electrons grow with it.

    Args:
        hamiltonian: H(R) and S(R).
        axis: index of the vector.
        count: how often.
    """
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
        pairs[pair] = _as_stored(PairBlocks(i, j, cell_offset, h, s), large.numbers)
    scalars = {
        name: value * (count if name in ("n_electrons", "energy") else 1)
        for name, value in hamiltonian.scalars.items()
    }
    return replace(
        hamiltonian, atoms=large, onsite=onsite, pairs=pairs, scalars=scalars, bands=None
    )


def rearranged(
    hamiltonian: Hamiltonian, order: Int[np.ndarray, " atoms"], cells: Int[np.ndarray, "atoms 3"]
) -> Hamiltonian:
    """Return the same H and S with atoms in another order, and in other cells: H(k) of the same states.

    Args:
        hamiltonian: H(R) and S(R).
        order: our atom that stands at each place.
        cells: lattice vector by which each of our atoms is moved, from where the structure has it.
    """
    rank = np.argsort(order)
    atoms = hamiltonian.atoms.copy()
    atoms.positions += cells @ atoms.cell.array
    atoms = atoms[order]
    onsite = {}
    for z, blocks in hamiltonian.onsite.items():
        places = rank[blocks.atom]
        rows = np.argsort(places)
        h, s = (
            None if m is None else m[..., rows, :, :] for m in (blocks.hamiltonian, blocks.overlap)
        )
        onsite[z] = OnsiteBlocks(places[rows], h, s)
    pairs = {}
    for pair, one in hamiltonian.pairs.items():
        offset = one.cell_offset + cells[one.i] - cells[one.j]
        moved = PairBlocks(rank[one.i], rank[one.j], offset, one.hamiltonian, one.overlap)
        pairs[pair] = _as_stored(moved, atoms.numbers)
    return replace(hamiltonian, atoms=atoms, onsite=onsite, pairs=pairs, bands=None)


def _as_stored(pairs: PairBlocks, numbers: Int[np.ndarray, " atoms"]) -> PairBlocks:
    """Return pairs whose atoms were numbered anew: of like atoms the direction that is stored may be the other one."""
    i, j, cell_offset = pairs.i, pairs.j, pairs.cell_offset
    exchanged = ~canonical(i, j, cell_offset, numbers)
    if not exchanged.any():  # so it is between unlike atoms, whose blocks need not be square
        return pairs
    h, s = (
        None if m is None else np.where(exchanged[:, None, None], m.swapaxes(-1, -2).conj(), m)
        for m in (pairs.hamiltonian, pairs.overlap)
    )
    return PairBlocks(
        np.where(exchanged, j, i),
        np.where(exchanged, i, j),
        np.where(exchanged[:, None], -cell_offset, cell_offset),
        h,
        s,
    )
