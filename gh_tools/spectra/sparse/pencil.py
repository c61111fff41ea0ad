"""H(k) and S(k) of a large structure, sparse, and a cheap model of how their eigenvalues lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import no_type_check

import numba
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float, Inexact, Int, Shaped

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.partition import divide
from gh_tools.resources import threads

# Orbitals of the parts whose eigenvalues model those of the whole: fractions of a second each.
PART_SIZE = 600
# Elements of blocks that are put into matrices at once.
_CHUNK = 2**22


@dataclass(frozen=True)
class Pencil:
    """The upper triangles of H(k) and S(k) on one pattern, real where both are.

    Attributes:
        hamiltonian: elements of H in eV, in CSR order.
        overlap: elements of S.
        indices: column of each; the diagonal is always there.
        indptr: first element of each row, and the end.
    """

    hamiltonian: Shaped[np.ndarray, " entries"]
    overlap: Shaped[np.ndarray, " entries"]
    indices: Int[np.ndarray, " entries"]
    indptr: Int[np.ndarray, " rows"]

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
        x = np.ascontiguousarray(x, np.result_type(values, x))
        # Threads take rows with equal numbers of elements, and add to sums of their own.
        shares = np.searchsorted(self.indptr, np.linspace(0, len(values), threads() + 1))
        parts = [
            (int(first), int(last), np.zeros_like(x[first:]))
            for first, last in pairwise(shares)
            if first < last
        ]
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda p: _multiply(self.indptr, self.indices, values, x, *p), parts))
        total = parts[0][2]
        for first, _, product in parts[1:]:
            total[first:] += product
        return total


@no_type_check  # Numba compiles the function, not what checks its types in the tests
@numba.njit(cache=True, nogil=True, fastmath=True)
def _multiply(indptr, indices, values, x, first, last, product):
    """Add what rows from ``first`` to ``last`` contribute to a product that begins at ``first``."""
    for row in range(first, last):
        start = indptr[row]
        for c in range(x.shape[1]):
            product[row - first, c] += values[start] * x[row, c]
        for k in range(start + 1, indptr[row + 1]):
            column, value = indices[k], values[k]
            adjoint = np.conj(value)
            for c in range(x.shape[1]):
                product[row - first, c] += value * x[column, c]
                product[column - first, c] += adjoint * x[row, c]


def make_pencil(hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"], spin: int = 0) -> Pencil:
    """Sum blocks over lattice vectors into sparse H(k) and S(k), on the pattern of the blocks.

    Args:
        hamiltonian: H(R) and S(R).
        k: in units of the reciprocal lattice vectors.
        spin: which spin channel.

    Raises:
        DataError: if an element is not finite.
    """
    pattern = _Pattern(hamiltonian)
    real = bool(np.all(2 * k == np.round(2 * k))) and not hamiltonian.spinor
    values = np.zeros((2, len(pattern.indices)), float if real else complex)
    for _, blocks in hamiltonian.groups():
        i, j, cell_offset = _atoms_of(blocks)
        phase = np.exp(2j * np.pi * (cell_offset @ k))
        phase = phase.real if real else phase
        if isinstance(blocks, OnsiteBlocks):
            phase = 0.5 * phase  # added twice, as any block between images of one atom
        for out, name in zip(values, ("hamiltonian", "overlap"), strict=True):
            block = getattr(blocks, name)
            pattern.add(out, i, j, block[spin] if block.ndim == 4 else block, phase)
    for name, part in zip("HS", values, strict=True):
        if not np.isfinite(part).all():
            raise DataError(f"{name}(k) at k = {k} is not finite: the blocks hold NaN or infinity")
    return Pencil(values[0], values[1], pattern.indices, pattern.indptr)


class _Pattern:
    """Where elements of blocks are in the CSR arrays of the upper triangle.

    Attributes:
        indices: column of each element, those of an atom's orbitals behind each other.
        indptr: first element of each row, and the end.
    """

    def __init__(self, hamiltonian: Hamiltonian):
        numbers = hamiltonian.atoms.numbers
        self._size = size = hamiltonian.orbitals_of_atoms
        self._start = start = hamiltonian.orbital_ptr
        n_atoms = len(numbers)
        keys = [_key(*_atoms_of(blocks)[:2], n_atoms) for _, blocks in hamiltonian.groups()]
        # Blocks by rows of atoms; the first of a row is the one on the diagonal.
        self._blocks = np.unique(np.concatenate([*keys, np.arange(n_atoms) * (n_atoms + 1)]))
        row, column = np.divmod(self._blocks, n_atoms)
        before = np.concatenate([[0], np.cumsum(size[column])])
        edges = before[np.searchsorted(row, np.arange(n_atoms + 1))]
        self._offset = before[:-1] - edges[row]  # from the diagonal block
        columns = np.concatenate(
            [np.arange(start[a], start[a + 1]) for a in column], dtype=np.int32
        )
        # Row a of an atom lacks the a elements to the left of the diagonal.
        self.indices = np.concatenate(
            [
                columns[edges[atom] + a : edges[atom + 1]]
                for atom in range(n_atoms)
                for a in range(size[atom])
            ]
        )
        widths = np.repeat(np.diff(edges), size) - np.concatenate([np.arange(a) for a in size])
        self.indptr = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)

    def add(
        self,
        out: Shaped[np.ndarray, " entries"],
        i: Int[np.ndarray, " blocks"],
        j: Int[np.ndarray, " blocks"],
        block: Inexact[np.ndarray, "blocks ki kj"],
        phase: Shaped[np.ndarray, " blocks"],
    ) -> None:
        """Add blocks times phases, and their adjoints, to the upper triangle."""
        chunk = max(1, _CHUNK // block[0].size)
        place = np.searchsorted(self._blocks, _key(i, j, len(self._size)))
        for some in _distinct(place, chunk):
            value = block[some] * phase[some, None, None]
            adjoint = value.conj().swapaxes(1, 2)
            for part, which in ((value, i[some] <= j[some]), (adjoint, i[some] >= j[some])):
                self._scatter(out, np.minimum(i, j)[some][which], place[some][which], part[which])

    def _scatter(self, out, atom, place, block) -> None:
        rows, columns = np.arange(block.shape[1]), np.arange(block.shape[2])
        target = (
            self.indptr[self._start[atom][:, None] + rows].astype(np.int64)[:, :, None]
            + self._offset[place][:, None, None]
            + (columns - rows[:, None])
        )
        diagonal = self._offset[place] == 0
        out[target[~diagonal]] += block[~diagonal]
        upper = diagonal[:, None, None] & (columns >= rows[:, None])
        out[target[upper]] += block[upper]


def _atoms_of(
    blocks: OnsiteBlocks | PairBlocks,
) -> tuple[Int[np.ndarray, " blocks"], Int[np.ndarray, " blocks"], Int[np.ndarray, "blocks 3"]]:
    """Return the two atoms of each block, and the lattice vector of the second."""
    if isinstance(blocks, OnsiteBlocks):
        return blocks.atom, blocks.atom, np.zeros((len(blocks.atom), 3), dtype=np.int64)
    return blocks.i, blocks.j, blocks.cell_offset


def _key(i: Int[np.ndarray, " blocks"], j: Int[np.ndarray, " blocks"], n_atoms: int) -> np.ndarray:
    """Number the blocks of the upper triangle along its rows."""
    return np.minimum(i, j).astype(np.int64) * n_atoms + np.maximum(i, j)


def _distinct(place: Int[np.ndarray, " blocks"], chunk: int) -> Iterator[np.ndarray]:
    """Divide blocks into chunks in which no two have the same place."""
    order = np.argsort(place, kind="stable")
    new = np.diff(place[order], prepend=-1) != 0
    occurrence = np.arange(len(order)) - np.maximum.accumulate(
        np.where(new, np.arange(len(order)), 0)
    )
    for index in range(occurrence.max(initial=-1) + 1):
        some = order[occurrence == index]
        for start in range(0, len(some), chunk):
            yield some[start : start + chunk]


def overlap_bounds(pencil: Pencil, solve: Callable) -> tuple[float, float]:
    """Return numbers between which the eigenvalues of S lie, 5 % beyond them at most.

    Args:
        pencil: with S.
        solve: applies S⁻¹.
    """
    if pencil.n < 40:
        unit = np.eye(pencil.n, dtype=pencil.dtype)
        value = np.linalg.eigvalsh(pencil.apply_overlap(unit))
        return float(value[0]), float(value[-1])
    sides = []
    for function in (
        lambda x: solve(x[:, None])[:, 0],
        lambda x: pencil.apply_overlap(x[:, None])[:, 0],
    ):
        operator = scipy.sparse.linalg.LinearOperator(
            (pencil.n, pencil.n), matvec=function, dtype=pencil.dtype
        )
        start = np.random.default_rng(0).standard_normal(pencil.n).astype(pencil.dtype)
        (value,) = scipy.sparse.linalg.eigsh(
            operator, 1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False
        )
        sides.append(float(value) * 1.03)
    return 1 / sides[0], sides[1]


def model_eigenvalues(
    pencil: Pencil, owner: Int[np.ndarray, " n"], positions: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, " n"]:
    """Return eigenvalues of compact parts of the structure, each by itself, all together ascending.

    They say roughly where the eigenvalues of the whole lie, for guesses that inertia then corrects.

    Args:
        pencil: H and S.
        owner: atom of each orbital, ascending.
        positions: of the atoms, Å.
    """
    h, s = (pencil._matrix(values) for values in (pencil.hamiltonian, pencil.overlap))
    counts = np.bincount(owner, minlength=len(positions))
    start = np.concatenate([[0], np.cumsum(counts)])
    eigenvalues = []
    for atoms in divide(positions, counts, PART_SIZE):
        orbitals = np.concatenate([np.arange(start[a], start[a + 1]) for a in atoms])
        blocks = []
        for matrix in (h, s):
            upper = matrix[orbitals][:, orbitals].toarray()
            blocks.append(upper + np.triu(upper, 1).conj().T)
        try:
            eigenvalues.append(scipy.linalg.eigh(*blocks, eigvals_only=True))
        except np.linalg.LinAlgError:
            raise DataError(
                "the overlap matrix is not positive definite, so there are no eigenvalues; "
                "label with a more confined or smaller basis"
            ) from None
    return np.sort(np.concatenate(eigenvalues))
