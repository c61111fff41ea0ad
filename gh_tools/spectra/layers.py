"""H and S between the cells of one direction, along which electrons are transported, at a k-point of the two others."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Complex, Float, Int

from gh_tools.orbitals.bloch import elements
from gh_tools.orbitals.blocks import Hamiltonian

# Å. Atoms so near below the end of the cell are those of its beginning, wrapped by rounding.
_AT_THE_END = 0.01
_FIELDS: tuple[Literal["hamiltonian", "overlap"], ...] = ("hamiltonian", "overlap")


class Layers:
    """H_c(k) and S_c(k) between a cell and the c-th after it along an axis.

    Attributes:
        hamiltonian: H(R) and S(R).
        axis: the direction.
        cells: lattice vector by which each atom is moved, along the axis, from where the structure has it.
        positions: of the atoms, Å, of which none lies at the end of the cell by rounding.
        reach: largest number of cells between which there are elements.
        start: first orbital of each atom, and the end.
    """

    def __init__(
        self, hamiltonian: Hamiltonian, axis: int, spin: int = 0, first: int | None = None
    ):
        """Gather the elements.

        Args:
            hamiltonian: H(R) and S(R).
            axis: index of the cell's vector along which layers follow each other.
            spin: which channel.
            first: atom with which the cell begins: those before it are taken from the next cell. By default the cell begins
                where the structure's does.
        """
        self.hamiltonian, self.axis = hamiltonian, axis
        atoms = hamiltonian.atoms
        cell = atoms.cell.complete().array
        along = np.linalg.inv(cell)[:, axis]
        height = 1 / np.linalg.norm(along)
        moved = ((1 - atoms.positions @ along) * height < _AT_THE_END) & atoms.pbc[axis]
        moved = -moved.astype(int)
        fractions = atoms.positions @ along + moved
        if first is not None:
            moved += fractions < fractions[first]
        self.cells = moved[:, None] * np.eye(3, dtype=int)[axis]
        self.positions = atoms.positions + self.cells @ cell
        self.start = hamiltonian.orbital_ptr
        of = np.repeat(moved, hamiltonian.orbitals_of_atoms)
        self._elements = []
        self.reach = 0
        for field in _FIELDS:
            row, column, value, place = elements(hamiltonian, field, spin)
            columns = [row, column, value, place[:, axis] - of[column] + of[row], place]
            self._elements.append(columns)
            self.reach = max(self.reach, int(np.abs(columns[3][value != 0]).max(initial=0)))

    @property
    def n_orbitals(self) -> int:
        """Orbitals of a cell."""
        return int(self.start[-1])

    def at(self, k: Float[np.ndarray, "3"], step: int) -> list[scipy.sparse.csr_array]:
        """Return H_c(k) in eV and S_c(k).

        Args:
            k: in units of the reciprocal vectors; its component along the axis does not count.
            step: c.
        """
        across = np.where(np.arange(3) == self.axis, 0.0, k)
        found = []
        for row, column, value, steps, place in self._elements:
            of = steps == step
            phase = np.exp(2j * np.pi * (place[of] @ across))
            n = self.n_orbitals
            matrix = scipy.sparse.coo_array((value[of] * phase, (row[of], column[of])), (n, n))
            found.append(matrix.tocsr())
        return found

    def principal(self, k: Float[np.ndarray, "3"]) -> Principal:
        """Return the blocks of as many cells as it takes that only neighbours couple."""
        n_cells = max(1, self.reach)
        blocks = {step: self.at(k, step) for step in range(-n_cells, n_cells + 1)}
        n = self.n_orbitals
        empty = scipy.sparse.csr_array((n, n))

        def block(field: int, apart: int) -> Complex[np.ndarray, "n n"]:
            rows = [
                [
                    blocks[b - a + apart][field] if b - a + apart in blocks else empty
                    for b in range(n_cells)
                ]
                for a in range(n_cells)
            ]
            return scipy.sparse.block_array(rows, dtype=complex).toarray()

        return Principal(*(block(field, apart) for apart in (0, n_cells) for field in (0, 1)))


class Principal:
    """Blocks of a principal layer of a lead.

    Attributes:
        h, s: within it.
        h_next, s_next: between it and the next one.
    """

    def __init__(self, h, s, h_next, s_next) -> None:
        self.h: Complex[np.ndarray, "n n"] = h
        self.s: Complex[np.ndarray, "n n"] = s
        self.h_next: Complex[np.ndarray, "n n"] = h_next
        self.s_next: Complex[np.ndarray, "n n"] = s_next

    def shifted(self, energy: float) -> Principal:
        """Return the blocks of H + energy S."""
        return Principal(
            self.h + energy * self.s, self.s, self.h_next + energy * self.s_next, self.s_next
        )


def tiled(
    layers: Layers,
) -> tuple[Int[np.ndarray, " atoms"], Float[np.ndarray, "atoms 3"]]:
    """Return atomic numbers and positions of the cells of a principal layer, cell after cell."""
    n_cells = max(1, layers.reach)
    atoms = layers.hamiltonian.atoms
    steps = np.arange(n_cells)[:, None, None] * atoms.cell.array[layers.axis]
    return np.tile(atoms.numbers, n_cells), (layers.positions + steps).reshape(-1, 3)
