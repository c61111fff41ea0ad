"""H(k) and S(k) of spinors, whose spins only spin–orbit coupling tells apart, without their matrices of twice the size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Complex, Float, Int, Shaped

from gh_tools.dft.spin_orbit import coupling_bounds
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.sparse.pencil import Pencil, make_pencil

# eV. Elements of the coupling below it are left out: a row has thousands at most.
_NEGLIGIBLE = 1e-13
# Elements of vectors that the coupling is applied to at once.
_ELEMENTS = 2**24


@dataclass(frozen=True)
class SpinorPencil:
    """H(k) = H₀ ⊗ 1 + Σ_v X_v ⊗ σ_v and S(k) ⊗ 1, by their parts.

    Vectors have the orbitals of an atom with spin up, then those with spin down, as in `Hamiltonian.spinor`.

    Attributes:
        scalar: H₀ and S.
        coupling: X_x, X_y and X_z below each other, or where H₀ is real their imaginary parts: X are imaginary then.
        up: rows of spin up, in the order of the orbitals.
        down: those of spin down.
    """

    scalar: Pencil
    coupling: scipy.sparse.csr_array
    up: Int[np.ndarray, " n"]
    down: Int[np.ndarray, " n"]

    @property
    def n(self) -> int:
        """Number of orbitals, of both spins."""
        return 2 * self.scalar.n

    @property
    def dtype(self) -> np.dtype:
        """Of vectors."""
        return np.dtype(complex)

    @property
    def nbytes(self) -> int:
        """Bytes that the matrices take."""
        return self.scalar.nbytes + self.coupling.data.nbytes + self.coupling.indices.nbytes

    def upper_overlap(self) -> scipy.sparse.csr_array:
        """Return the upper triangle of S, which is the same for both spins: `by_spins` solves with it."""
        return self.scalar.upper_overlap()

    def apply_hamiltonian(self, x: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "n m"]:
        """Return H x."""
        product = self.by_spins(self.scalar.apply_hamiltonian, x)
        product += self.apply_coupling(x)
        return product

    def apply_overlap(self, x: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "n m"]:
        """Return S x."""
        return self.by_spins(self.scalar.apply_overlap, x)

    def apply_coupling(self, x: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "n m"]:
        """Return what spin–orbit coupling makes of x."""
        product = np.empty(x.shape, complex)
        some = max(1, _ELEMENTS // max(1, self.n))
        for start in range(0, x.shape[1], some):
            part = slice(start, start + some)
            up, down = x[self.up, part], x[self.down, part]
            m = up.shape[1]
            along = self.along_axes(np.hstack([up, down]))
            of_up, of_down = along[..., :m], along[..., m:]
            product[self.up, part] = of_up[2] + of_down[0] - 1j * of_down[1]
            product[self.down, part] = of_up[0] + 1j * of_up[1] - of_down[2]
        return product

    def along_axes(self, x: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "3 n m"]:
        """Return X_x x, X_y x and X_z x of vectors without spin."""
        if np.isrealobj(self.coupling.data):
            product = 1j * _product(self.coupling, x)
        else:
            product = _product(self.coupling, x.astype(complex))
        return product.reshape(3, *x.shape)

    def by_spins(
        self, apply: Callable[[np.ndarray], np.ndarray], x: Shaped[np.ndarray, "n m"]
    ) -> Complex[np.ndarray, "n m"]:
        """Apply to both spins what does not act on spins; real operators see real vectors."""
        up, down = x[self.up], x[self.down]
        parts = [up, down]
        if np.iscomplexobj(x) and np.isrealobj(self.scalar.hamiltonian):
            parts = [up.real, up.imag, down.real, down.imag]
        applied = apply(np.hstack(parts)).reshape(len(up), len(parts), -1)
        product = np.empty(x.shape, complex)
        for spin, rows in enumerate((self.up, self.down)):
            own = applied[:, spin * len(parts) // 2 : (spin + 1) * len(parts) // 2]
            product[rows] = own[:, 0] if own.shape[1] == 1 else own[:, 0] + 1j * own[:, 1]
        return product

    def spinors(self, x: Shaped[np.ndarray, "n m"]) -> Complex[np.ndarray, "twice_n twice_m"]:
        """Return vectors with spin up, then the same with spin down."""
        m = x.shape[1]
        both = np.zeros((self.n, 2 * m), complex)
        both[self.up, :m] = x
        both[self.down, m:] = x
        return both


def make_spinor_pencil(hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"]) -> SpinorPencil:
    """Sum blocks over lattice vectors.

    Args:
        hamiltonian: H(R) and S(R) of spinors, with `Hamiltonian.paw_coupling`.
        k: in units of the reciprocal lattice vectors.
    """
    scalar = without_spins(hamiltonian)
    pencil = make_pencil(scalar, k)
    axes = []
    for axis in range(3):
        matrix = scipy.sparse.csr_array(bloch_matrix(_of_spins(hamiltonian, axis), k, sparse=True))
        matrix = matrix.imag if np.isrealobj(pencil.hamiltonian) else matrix
        matrix.data[abs(matrix.data) < _NEGLIGIBLE] = 0
        matrix.eliminate_zeros()
        axes.append(matrix)
    size, start = scalar.orbitals_of_atoms, hamiltonian.orbital_ptr[:-1]
    first = np.concatenate([s + np.arange(n) for s, n in zip(start, size, strict=True)])
    return SpinorPencil(
        pencil, scipy.sparse.vstack(axes, "csr"), first, first + np.repeat(size, size)
    )


def without_spins(hamiltonian: Hamiltonian) -> Hamiltonian:
    """Return the part of a spinor Hamiltonian that does not act on spins, as one of paired spins."""

    def of(blocks):
        a, _, _, d = _quarters(blocks.hamiltonian)
        overlap = _quarters(blocks.overlap)[0]
        return replace(
            blocks,
            hamiltonian=0.5 * (a + d).real,
            overlap=np.ascontiguousarray(overlap),
            uncertainty=None,
            members=None,
        )

    return _changed(hamiltonian, of)


def bounding_pencils(
    hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"], scalar: Pencil
) -> tuple[Pencil, Pencil]:
    """Return S, and H₀ plus the upper bound of the coupling, or plus the lower one.

    Args:
        hamiltonian: of spinors.
        k: in units of the reciprocal lattice vectors.
        scalar: H₀ and S.
    """
    bounds = make_pencil(coupling_bounds(hamiltonian), k)
    return (
        replace(scalar, hamiltonian=scalar.hamiltonian + bounds.hamiltonian),
        replace(scalar, hamiltonian=scalar.hamiltonian - bounds.overlap),
    )


def _of_spins(hamiltonian: Hamiltonian, axis: int) -> Hamiltonian:
    """Return X_v of H = H₀ ⊗ 1 + Σ_v X_v ⊗ σ_v in the place of H."""

    def of(blocks):
        a, b, c, d = _quarters(blocks.hamiltonian)
        part = (0.5 * (b + c), 0.5j * (b - c), 0.5 * (a - d))[axis]
        return replace(blocks, hamiltonian=part, overlap=None, uncertainty=None, members=None)

    return _changed(hamiltonian, of)


def _changed(hamiltonian: Hamiltonian, of: Callable[[Any], Any]) -> Hamiltonian:
    return replace(
        hamiltonian,
        onsite={key: of(blocks) for key, blocks in hamiltonian.onsite.items()},
        pairs={key: of(blocks) for key, blocks in hamiltonian.pairs.items()},
        spinor=False,
        paw_coupling=False,
    )


def _quarters(block: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return a, b, c and d of [[a, b], [c, d]]."""
    i, j = block.shape[-2] // 2, block.shape[-1] // 2
    rows, columns = (slice(i), slice(i, None)), (slice(j), slice(j, None))
    return tuple(block[..., row, column] for row in rows for column in columns)


def _product(matrix: scipy.sparse.csr_array, x: np.ndarray) -> np.ndarray:
    """Multiply a sparse matrix with vectors, in real arithmetic where it is real."""
    if np.isrealobj(matrix.data) and np.iscomplexobj(x):
        both = matrix @ np.hstack([x.real, x.imag])
        return both[:, : x.shape[1]] + 1j * both[:, x.shape[1] :]
    return matrix @ np.ascontiguousarray(x)
