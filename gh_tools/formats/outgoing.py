"""From blocks in our order to another program's orbitals: both directions of each pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import ase
import numpy as np
import scipy.sparse
from jaxtyping import Inexact, Int

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks
from gh_tools.orbitals.order import shell_convention

Field = Literal["hamiltonian", "overlap"]


class Target(NamedTuple):
    """What a program's order makes of a structure.

    Attributes:
        atoms: the structure in the program's order of atoms.
        rank: where each of our atoms stands in it.
        order: for each element, our orbital that stands at each place of the program's order.
        sign: ±1 of each such place.
        degrees: for each element, l of the shells in the program's order.
    """

    atoms: ase.Atoms
    rank: Int[np.ndarray, " atoms"]
    order: dict[int, Int[np.ndarray, " orbitals"]]
    sign: dict[int, Int[np.ndarray, " orbitals"]]
    degrees: dict[int, tuple[int, ...]]

    @property
    def start(self) -> Int[np.ndarray, " starts"]:
        """First orbital of each atom in the program's order, and the end."""
        counts = [len(self.order[int(z)]) for z in self.atoms.numbers]
        return np.concatenate([[0], np.cumsum(counts)])


def target(
    hamiltonian: Hamiltonian, program: str, *, by_element: bool = False, by_degree: bool = False
) -> Target:
    """Return how a program orders the atoms and orbitals of a structure.

    Args:
        hamiltonian: the structure and its basis table.
        program: a key of `gh_tools.orbitals.order.CONVENTIONS`.
        by_element: whether like atoms must follow each other.
        by_degree: whether the shells of an atom must ascend in l.
    """
    atoms = hamiltonian.atoms
    ours = np.arange(len(atoms))
    if by_element:
        _, first, species = np.unique(atoms.numbers, return_index=True, return_inverse=True)
        ours = np.argsort(first[species.ravel()], kind="stable")
    rank = np.empty(len(atoms), dtype=int)
    rank[ours] = np.arange(len(atoms))
    order, sign, degrees = {}, {}, {}
    for z in np.unique(atoms.numbers).tolist():
        shells = hamiltonian.basis[z].degrees
        starts = np.concatenate([[0], np.cumsum([2 * degree + 1 for degree in shells])])
        chosen = np.argsort(shells, kind="stable") if by_degree else np.arange(len(shells))
        maps = [shell_convention(program, shells[shell]) for shell in chosen]
        places = [
            starts[shell] + shells[shell] + m for shell, (m, _) in zip(chosen, maps, strict=True)
        ]
        order[z], sign[z] = np.concatenate(places), np.concatenate([s for _, s in maps])
        degrees[z] = tuple(shells[shell] for shell in chosen)
    return Target(atoms[ours], rank, order, sign, degrees)


def directed_blocks(
    hamiltonian: Hamiltonian, aim: Target, field: Field, spin: int = 0
) -> Iterator[tuple[Int[np.ndarray, "blocks 5"], Inexact[np.ndarray, "blocks ki kj"]]]:
    """Yield R1, R2, R3, i, j and the block of both directions of all pairs, in a program's order.

    Args:
        hamiltonian: the blocks.
        aim: the program's order.
        field: which matrix.
        spin: which channel of a spin-polarised H.

    Raises:
        DataError: the blocks are not there.
    """
    for key, blocks in hamiltonian.groups():
        matrix = getattr(blocks, field)
        if matrix is None:
            raise DataError(f"there is no {field} to write")
        matrix = matrix[spin] if matrix.ndim == 4 else matrix
        matrix = matrix.astype(np.result_type(matrix, np.float64))
        zi, zj = (key, key) if isinstance(key, int) else key
        if hamiltonian.spinor and field == "overlap":  # that of spin up is that of the orbitals
            matrix = matrix[:, : len(aim.order[zi]), : len(aim.order[zj])]
        spinor = hamiltonian.spinor and field == "hamiltonian"
        (order_i, sign_i), (order_j, sign_j) = (_places(aim, z, spinor) for z in (zi, zj))
        matrix = matrix[:, order_i][:, :, order_j] * (sign_i[:, None] * sign_j)
        if isinstance(blocks, OnsiteBlocks):
            atom = aim.rank[blocks.atom]
            yield np.column_stack([np.zeros((len(atom), 3), int), atom, atom]), matrix
            continue
        i, j, cell_offset = (
            aim.rank[blocks.i],
            aim.rank[blocks.j],
            blocks.cell_offset.astype(np.int64),
        )
        yield np.column_stack([cell_offset, i, j]), matrix
        other = matrix.swapaxes(1, 2)
        yield np.column_stack([-cell_offset, j, i]), other.conj() if spinor else other


def _places(
    aim: Target, z: int, spinor: bool
) -> tuple[Int[np.ndarray, " orbitals"], Int[np.ndarray, " orbitals"]]:
    """Return order and signs of an element's orbitals, those of spinors with spin up, then down."""
    order, sign = aim.order[z], aim.sign[z]
    return (np.r_[order, order + len(order)], np.r_[sign, sign]) if spinor else (order, sign)


def sorted_blocks(
    hamiltonian: Hamiltonian, aim: Target, field: Field, spin: int = 0
) -> tuple[Int[np.ndarray, "blocks 5"], list[Inexact[np.ndarray, "_ki _kj"]]]:
    """Return the blocks of `directed_blocks`, sorted by R, i and j."""
    parts = list(directed_blocks(hamiltonian, aim, field, spin))
    pairs = np.concatenate([part for part, _ in parts])
    blocks = [block for _, part in parts for block in part]
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], [blocks[row] for row in order]


def cell_matrices(
    hamiltonian: Hamiltonian,
    aim: Target,
    field: Field,
    spin: int = 0,
    cells: Int[np.ndarray, "cells 3"] | None = None,
) -> tuple[Int[np.ndarray, "cells 3"], list[scipy.sparse.csr_array]]:
    """Return M(R) as one sparse matrix for each R, elements that are zero left out.

    Args:
        hamiltonian: the blocks.
        aim: the program's order.
        field: which matrix.
        spin: which channel of a spin-polarised H.
        cells: R that are wanted; those that have blocks if None.
    """
    start = aim.start
    n = int(start[-1])
    rows, columns, values, places = [], [], [], []
    for pairs, blocks in directed_blocks(hamiltonian, aim, field, spin):
        a, b = np.broadcast_arrays(
            start[pairs[:, 3]][:, None, None] + np.arange(blocks.shape[1])[:, None],
            start[pairs[:, 4]][:, None, None] + np.arange(blocks.shape[2]),
        )
        rows.append(a.ravel())
        columns.append(b.ravel())
        values.append(blocks.ravel())
        places.append(np.repeat(pairs[:, :3], blocks[0].size, axis=0))
    row, column, value, place = map(np.concatenate, (rows, columns, values, places))
    if cells is None:
        cells = np.unique(place, axis=0)
    key = {tuple(cell): index for index, cell in enumerate(cells.tolist())}
    unique, inverse = np.unique(place, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(unique) + 1))
    found: list = [scipy.sparse.csr_array((n, n))] * len(cells)
    for index, cell in enumerate(unique.tolist()):
        chosen = order[bounds[index] : bounds[index + 1]]
        chosen = chosen[value[chosen] != 0]
        found[key[tuple(cell)]] = scipy.sparse.csr_array(
            (value[chosen], (row[chosen], column[chosen])), shape=(n, n)
        )
    return cells, found


def shells_text(degrees: Sequence[int]) -> str:
    """Write shells as in ``2s2p1d``; they must ascend in l."""
    letters = "spdfghiklm"
    return "".join(
        f"{list(degrees).count(degree)}{letters[degree]}" for degree in sorted(set(degrees))
    )
