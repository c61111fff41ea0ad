"""H(k) and S(k) of a large structure, sparse, and a cheap model of how their levels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float, Int, Shaped

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import Field, bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian

# Orbitals of the parts whose levels model those of the whole: fractions of a second each.
PART_SIZE = 600


@dataclass(frozen=True)
class Pencil:
    """The upper triangles of H(k) and S(k) on one pattern, real where both are.

    Attributes:
        hamiltonian: elements of H in eV, in CSR order.
        overlap: elements of S.
        indices: column of each; the diagonal is always there.
        indptr: first element of each row, and the end.
    """

    hamiltonian: Shaped[np.ndarray, "entries"]
    overlap: Shaped[np.ndarray, "entries"]
    indices: Int[np.ndarray, "entries"]
    indptr: Int[np.ndarray, "n+1"]

    @property
    def n(self) -> int:
        """Number of orbitals."""
        return len(self.indptr) - 1

    @property
    def dtype(self) -> np.dtype:
        """Of the elements."""
        return self.hamiltonian.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        arrays = (self.hamiltonian, self.overlap, self.indices, self.indptr)
        return sum(array.nbytes for array in arrays)

    def shifted(self, sigma: float) -> scipy.sparse.csr_array:
        """Return the upper triangle of H - σS."""
        return self._matrix(self.hamiltonian - sigma * self.overlap)

    def upper_overlap(self) -> scipy.sparse.csr_array:
        """Return the upper triangle of S."""
        return self._matrix(self.overlap)

    def apply_hamiltonian(self, x: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        """Return H x."""
        return self._apply(self.hamiltonian, x)

    def apply_overlap(self, x: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        """Return S x."""
        return self._apply(self.overlap, x)

    def _matrix(self, values: np.ndarray) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array((values, self.indices, self.indptr), (self.n, self.n))

    def _apply(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        upper = self._matrix(values)
        x = np.ascontiguousarray(x)
        diagonal = values[self.indptr[:-1]]
        adjoint = upper.T @ x if np.isrealobj(values) else (upper.T @ x.conj()).conj()
        return upper @ x + adjoint - diagonal[:, None] * x


def make_pencil(hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"], spin: int = 0) -> Pencil:
    """Sum blocks over lattice vectors into sparse H(k) and S(k).

    Raises:
        DataError: if an element is not finite.
    """

    def upper(field: Field, spin: int) -> scipy.sparse.csr_array:
        matrix = bloch_matrix(hamiltonian, k, field, spin, sparse=True)
        matrix = scipy.sparse.triu(matrix, format="csr")
        matrix.sort_indices()
        if not np.isfinite(matrix.data).all():
            name = "H" if field == "hamiltonian" else "S"
            raise DataError(f"{name}(k) at k = {k} is not finite: the blocks hold NaN or infinity")
        return matrix

    h, s = upper("hamiltonian", spin), upper("overlap", 0)
    n = h.shape[0]
    # Sums that vanish are dropped, in H and S at different places: both go onto the union.
    keys = [_keys(matrix) for matrix in (h, s)]
    union = np.concatenate([*keys, np.arange(n, dtype=np.int64) * (n + 1)])
    union.sort(kind="stable")  # three ascending runs: merged in linear time
    union = union[np.diff(union, prepend=-1) > 0]
    dtype = np.result_type(h.dtype, s.dtype)
    values = []
    for matrix, key in zip((h, s), keys, strict=True):
        full = np.zeros(len(union), dtype)
        full[np.searchsorted(union, key)] = matrix.data
        values.append(full)
    indptr = np.searchsorted(union, np.arange(n + 1, dtype=np.int64) * n).astype(np.int32)
    return Pencil(*values, (union % n).astype(np.int32), indptr)


def _keys(matrix: scipy.sparse.csr_array) -> Int[np.ndarray, "entries"]:
    """Number the elements along the rows of the whole matrix."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return row * matrix.shape[1] + matrix.indices


def model_levels(
    pencil: Pencil, owner: Int[np.ndarray, "n"], positions: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, "n"]:
    """Return levels of compact parts of the structure, each by itself, all together ascending.

    They say roughly where the levels of the whole lie, for guesses that inertia then corrects.

    Args:
        pencil: H and S.
        owner: atom of each orbital, ascending.
        positions: of the atoms, Å.
    """
    h, s = (
        pencil._matrix(values).tocsc().tocsr() for values in (pencil.hamiltonian, pencil.overlap)
    )
    counts = np.bincount(owner, minlength=len(positions))
    start = np.concatenate([[0], np.cumsum(counts)])
    levels = []
    for atoms in _parts(positions, counts):
        orbitals = np.concatenate([np.arange(start[a], start[a + 1]) for a in np.sort(atoms)])
        blocks = []
        for matrix in (h, s):
            upper = matrix[orbitals][:, orbitals].toarray()
            blocks.append(upper + np.triu(upper, 1).conj().T)
        try:
            levels.append(scipy.linalg.eigh(*blocks, eigvals_only=True))
        except np.linalg.LinAlgError:
            raise DataError(
                "the overlap matrix is not positive definite, so there are no eigenvalues; "
                "label with a more confined or smaller basis"
            ) from None
    return np.sort(np.concatenate(levels))


def _parts(
    positions: Float[np.ndarray, "atoms 3"], counts: Int[np.ndarray, "atoms"]
) -> list[Int[np.ndarray, "part"]]:
    """Halve the atoms along the longest extent until no part has more than `PART_SIZE` orbitals."""
    todo, done = [np.arange(len(positions))], []
    while todo:
        atoms = todo.pop()
        if counts[atoms].sum() <= PART_SIZE or len(atoms) == 1:
            done.append(atoms)
            continue
        axis = np.argmax(np.ptp(positions[atoms], axis=0))
        order = atoms[np.argsort(positions[atoms, axis], kind="stable")]
        todo += [order[: len(order) // 2], order[len(order) // 2 :]]
    return done
