"""From blocks in real space to matrices at a k-point."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import scipy.sparse
from jaxtyping import Float, Inexact, Int, Shaped

from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks

Field = Literal["hamiltonian", "overlap", "uncertainty"]


@overload
def bloch_matrix(
    hamiltonian: Hamiltonian,
    k: Float[np.ndarray, "3"],
    field: Field = "hamiltonian",
    spin: int = 0,
    sparse: Literal[False] = False,
) -> Shaped[np.ndarray, "orbitals orbitals"]: ...
@overload
def bloch_matrix(
    hamiltonian: Hamiltonian,
    k: Float[np.ndarray, "3"],
    field: Field = "hamiltonian",
    spin: int = 0,
    *,
    sparse: bool,
) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array: ...
def bloch_matrix(
    hamiltonian: Hamiltonian,
    k: Float[np.ndarray, "3"],
    field: Field = "hamiltonian",
    spin: int = 0,
    sparse: bool = False,
) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array:
    """Sum blocks over lattice vectors: H(k) = Σ_R exp(2πi k·R) H(R).

    Args:
        hamiltonian: the blocks.
        k: in units of the reciprocal cell's vectors.
        field: which matrix.
        spin: which spin channel, for fields with a spin axis.
        sparse: give a CSR array instead of a dense one.

    Returns:
        Hermitian matrix, in eV for the Hamiltonian; real where 2k is a reciprocal lattice vector and blocks are real.
    """
    n = hamiltonian.n_orbitals
    row, column, value, cell, cells = _half(hamiltonian, field, spin)
    phase = _phases(cells, np.asarray(k, dtype=np.float64)[None])[:, 0]
    # CSR sums duplicates: several R with the same two atoms.
    half = scipy.sparse.coo_array((value * phase[cell], (row, column)), shape=(n, n)).tocsr()
    summed = (half + half.conj().T).tocsr()
    return summed if sparse else summed.toarray()


def bloch_matrices(
    hamiltonian: Hamiltonian,
    kpoints: Float[np.ndarray, "kpoints 3"],
    field: Field = "hamiltonian",
    spin: int = 0,
) -> list[Shaped[np.ndarray, "orbitals orbitals"]]:
    """Sum blocks over lattice vectors at many k-points at once, into dense matrices.

    The same numbers as `bloch_matrix`; see `BlochSum`.

    Args:
        hamiltonian: the blocks.
        kpoints: in units of the reciprocal cell's vectors.
        field: which matrix.
        spin: which spin channel, for fields with a spin axis.

    Returns:
        One Hermitian matrix for each k-point; real where 2k is a reciprocal lattice vector and blocks are real.
    """
    kpoints = np.asarray(kpoints, dtype=np.float64)
    if len(kpoints) == 1:
        return [bloch_matrix(hamiltonian, kpoints[0], field, spin)]
    return BlochSum(hamiltonian, field, spin).at(kpoints)


class BlochSum:
    """The blocks of one matrix, gathered once for Bloch sums at many k-points.

    A sum over R is then a product of one sparse matrix with the phases.
    """

    def __init__(self, hamiltonian: Hamiltonian, field: Field = "hamiltonian", spin: int = 0):
        """Gather the blocks.

        Args:
            hamiltonian: the blocks.
            field: which matrix.
            spin: which spin channel, for fields with a spin axis.
        """
        self._n = hamiltonian.n_orbitals
        row, column, value, cell, self._cells = _half(hamiltonian, field, spin)
        self._gathered = scipy.sparse.coo_array(
            (value, (row * self._n + column, cell)), (self._n**2, len(self._cells))
        ).tocsr()

    def at(
        self, kpoints: Float[np.ndarray, "kpoints 3"]
    ) -> list[Shaped[np.ndarray, "orbitals orbitals"]]:
        """Return one Hermitian matrix for each k-point; real where `bloch_matrix` is."""
        halves = (self._gathered @ _phases(self._cells, kpoints)).T.reshape(-1, self._n, self._n)
        real = _is_real(kpoints) & np.isrealobj(self._gathered.data)
        halves = [half.real if r else half for half, r in zip(halves, real, strict=True)]
        return [half + half.conj().T for half in halves]

    def derivative(
        self, k: Float[np.ndarray, "3"], direction: Float[np.ndarray, "3"]
    ) -> Shaped[np.ndarray, "orbitals orbitals"]:
        """Return the derivative of the matrix along a direction, Σ_a d_a ∂H/∂k_a; see `gradient`."""
        phase = np.exp(2j * np.pi * (self._cells @ np.asarray(k)))
        weighted = 2j * np.pi * (self._cells @ np.asarray(direction)) * phase
        half = (self._gathered @ weighted).reshape(self._n, self._n)
        return half + half.conj().T

    def gradient(self, k: Float[np.ndarray, "3"]) -> Shaped[np.ndarray, "3 orbitals orbitals"]:
        """Return the derivatives of the matrix by the components of k.

        ∂H/∂k_a = Σ_R 2πi R_a exp(2πi k·R) H(R), with k in units of the reciprocal lattice vectors.
        """
        phase = np.exp(2j * np.pi * (self._cells @ np.asarray(k)))
        weighted = 2j * np.pi * self._cells * phase[:, None]
        halves = (self._gathered @ weighted).T.reshape(3, self._n, self._n)
        return halves + halves.conj().transpose(0, 2, 1)


def elements(
    hamiltonian: Hamiltonian, field: Field = "hamiltonian", spin: int = 0
) -> tuple[
    Int[np.ndarray, " entries"],
    Int[np.ndarray, " entries"],
    Inexact[np.ndarray, " entries"],
    Int[np.ndarray, "entries 3"],
]:
    """Return row, column, value and R of all elements of M(R), in both directions; those that are listed twice add up.

    Args:
        hamiltonian: the blocks.
        field: which matrix.
        spin: which spin channel, for fields with a spin axis.
    """
    row, column, value, cell, cells = _half(hamiltonian, field, spin)
    place = cells[cell]
    return (
        np.concatenate([row, column]),
        np.concatenate([column, row]),
        np.concatenate([value, value.conj()]),
        np.concatenate([place, -place]),
    )


def _half(
    hamiltonian: Hamiltonian, field: Field, spin: int
) -> tuple[
    Int[np.ndarray, " entries"],
    Int[np.ndarray, " entries"],
    Inexact[np.ndarray, " entries"],
    Int[np.ndarray, " entries"],
    Int[np.ndarray, "cells 3"],
]:
    """Gather the elements of a matrix whose sum with its adjoint is H(R).

    Returns:
        Row, column and value of each element, the index of its R among the cells, the cells.
    """
    start = hamiltonian.orbital_ptr[:-1]
    rows, columns, values, cell_offsets, sizes = [], [], [], [], []
    for key, blocks in hamiltonian.groups():
        matrix = getattr(blocks, field)
        if matrix is None:
            raise ValueError(f"blocks {key} have no {field}")
        matrix = matrix[spin] if matrix.ndim == 4 else matrix
        matrix = matrix.astype(np.result_type(matrix, np.float64))
        if isinstance(blocks, OnsiteBlocks):
            i = j = blocks.atom
            cell_offset = np.zeros((len(i), 3), dtype=np.int64)
            matrix = 0.5 * matrix
        else:
            i, j, cell_offset = blocks.i, blocks.j, blocks.cell_offset
        row, column = np.broadcast_arrays(
            start[i][:, None, None] + np.arange(matrix.shape[1])[:, None],
            start[j][:, None, None] + np.arange(matrix.shape[2]),
        )
        rows.append(row.ravel())
        columns.append(column.ravel())
        values.append(matrix.ravel())
        cell_offsets.append(cell_offset)
        sizes.append(np.full(len(i), matrix.shape[1] * matrix.shape[2]))
    cells, cell_of_block = np.unique(np.concatenate(cell_offsets), axis=0, return_inverse=True)
    cell = np.repeat(cell_of_block.ravel(), np.concatenate(sizes))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values), cell, cells


def _is_real(kpoints: Float[np.ndarray, "kpoints 3"]) -> np.ndarray:
    """Where 2k is a reciprocal lattice vector all phases are ±1."""
    return np.all(2 * kpoints == np.round(2 * kpoints), axis=1)


def _phases(
    cells: Int[np.ndarray, "cells 3"], kpoints: Float[np.ndarray, "kpoints 3"]
) -> Shaped[np.ndarray, "cells kpoints"]:
    phases = np.exp(2j * np.pi * (cells @ kpoints.T))
    return phases.real if _is_real(kpoints).all() else phases
