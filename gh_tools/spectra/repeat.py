"""H and S of a cell repeated along one of its vectors."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np

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
        # Of like atoms the direction that is stored may be the other one now.
        exchanged = ~canonical(i, j, cell_offset, large.numbers)
        i, j = np.where(exchanged, j, i), np.where(exchanged, i, j)
        cell_offset = np.where(exchanged[:, None], -cell_offset, cell_offset)
        h, s = (
            None if m is None else np.where(exchanged[:, None, None], m.swapaxes(-1, -2).conj(), m)
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
