"""Löwdin's orthogonalisation: H'(R) and positions of orthonormal functions, with the spectrum of H and S."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Inexact, Int

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.position import BlochPositions, knows_positions

# S(k) of lower eigenvalues has no inverse root worth the name.
_SINGULAR = 1e-8
# eV: blocks of the farthest cells must have decayed to this, or the grid of k-points grows.
_DECAYED, _NEGLIGIBLE = 1e-7, 1e-9
# Bytes of the matrices on the largest grid, and k-points at once.
_MOST, _CHUNK = 4 * 2**30, 256


class Orthogonal(NamedTuple):
    """Matrices of orthonormal functions, by lattice vector.

    Attributes:
        cells: R of each matrix, both of R and -R.
        h: H'(R) = ⟨w0|H|wR⟩, eV; complex of spinors.
        r: ⟨w0|r|wR⟩ along x, y and z, Å.
        exact: whether `r` is that of the basis functions; else orbitals are taken to sit on their atoms.
    """

    cells: Int[np.ndarray, "cells 3"]
    h: Inexact[np.ndarray, "cells orbitals orbitals"]
    r: Inexact[np.ndarray, "3 cells orbitals orbitals"]
    exact: bool


def orthogonalised(hamiltonian: Hamiltonian, spin: int = 0) -> Orthogonal:
    """Return H'(R) = 1/N Σ_k exp(-2πi k·R) S(k)^(-1/2) H(k) S(k)^(-1/2), and positions likewise.

    The symmetric root mixes orbitals least (P.-O. Löwdin, J. Chem. Phys. 18, 365 (1950)), and reaches farther than
    S itself: the grid of k-points grows until the blocks at its edge have decayed below 1e-7 eV. Blocks of H' below
    1e-9 eV are left out.

    Args:
        hamiltonian: H(R) and S(R).
        spin: which channel.

    Raises:
        DataError: S(k) is not positive definite, or H' does not decay on any grid that can be computed.
    """
    extent = np.zeros(3, dtype=int)
    for blocks in hamiltonian.pairs.values():
        extent = np.maximum(extent, np.abs(blocks.cell_offset).max(axis=0, initial=0))
    n = hamiltonian.n_orbitals
    periodic = extent > 0
    grid = np.where(periodic, 2 * extent + 1, 1)
    root = _Root(hamiltonian, spin)
    while True:
        cells, (h,) = _transformed(grid, root.at, 1, n, not hamiltonian.spinor)
        largest = np.abs(h).max(axis=(1, 2))
        edge = np.zeros(3)
        for axis in np.flatnonzero(periodic):
            edge[axis] = largest[np.abs(cells[:, axis]) == grid[axis] // 2].max()
        if (edge < _DECAYED).all():
            break
        grid = grid + np.where(edge >= _DECAYED, np.maximum(4, 2 * (grid // 4)), 0)
        if 16.0 * np.prod(grid.astype(float)) * n**2 > _MOST:
            raise DataError(
                f"the Löwdin-orthogonalised H does not decay within {'x'.join(map(str, grid))} cells (still "
                f"{edge.max():.1g} eV): the basis is nearly dependent, or the cell too large; export H and S to sisl, "
                "deeph or npz instead"
            )
    keep = largest > _NEGLIGIBLE
    _, r = _transformed(grid, root.positions, 3, n, not hamiltonian.spinor)
    if not hamiltonian.spinor:
        h, r = h.real, r.real
    return Orthogonal(cells[keep], h[keep], r[:, keep], root.exact)


def orthogonal_at(
    hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"], spin: int = 0
) -> Inexact[np.ndarray, "orbitals orbitals"]:
    """Return S(k)^(-1/2) H(k) S(k)^(-1/2) at one k-point, in eV.

    Args:
        hamiltonian: H(R) and S(R).
        k: in units of the reciprocal cell's vectors.
        spin: which channel.

    Raises:
        DataError: S(k) is not positive definite.
    """
    return _Root(hamiltonian, spin).at(np.asarray(k, dtype=float)[None])[0, 0]


class _Root:
    """Matrices between the functions Σ_ν φ_ν (S(k)^(-1/2))_νμ."""

    def __init__(self, hamiltonian: Hamiltonian, spin: int) -> None:
        self._hamiltonian = hamiltonian
        self._h, self._s = (
            BlochSum(hamiltonian, "hamiltonian", spin),
            BlochSum(hamiltonian, "overlap"),
        )
        self.exact = knows_positions(hamiltonian.basis, hamiltonian.atoms.numbers)
        self._x: BlochPositions | None = None

    def _decomposed(self, kpoints):
        values, vectors = np.linalg.eigh(np.stack(self._s.at(kpoints)))
        if values.min() < _SINGULAR:
            raise DataError(
                f"S(k) has the eigenvalue {values.min():.2g} and no inverse root; H cannot be orthogonalised"
            )
        root = (vectors / np.sqrt(values)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
        return values, vectors, root

    def at(
        self, kpoints: Float[np.ndarray, "kpoints 3"]
    ) -> Inexact[np.ndarray, "1 kpoints orbitals orbitals"]:
        """Return H'(k) in eV."""
        _, _, root = self._decomposed(kpoints)
        return (root @ np.stack(self._h.at(kpoints)) @ root)[None]

    def positions(
        self, kpoints: Float[np.ndarray, "kpoints 3"]
    ) -> Inexact[np.ndarray, "3 kpoints orbitals orbitals"]:
        """Return Σ_R exp(2πi k·R) ⟨w0|r|wR⟩ = L X L + (i/2) (L⁻¹ ∂L − ∂L L⁻¹) with L = S^(-1/2), in Å.

        X is that of `BlochPositions`, and ∂L follows from ∂S in the eigenvectors of S.
        """
        ham = self._hamiltonian
        if self._x is None:
            self._x = BlochPositions(ham, self.exact)
        values, vectors, root = self._decomposed(kpoints)
        overlaps = np.stack(self._s.at(kpoints))
        to_cartesian = ham.atoms.cell.complete().array.T / (2 * np.pi)
        slopes = np.stack([self._s.gradient(k) for k in kpoints], axis=1)
        adjoint = vectors.conj().swapaxes(1, 2)
        sizes = np.sqrt(values)
        a, b = sizes[:, :, None], sizes[:, None, :]
        factor = -0.5j * (a - b) / (a * b * (a + b))
        found = []
        for axis in range(3):
            x = self._x.along(axis, kpoints, overlaps)
            slope = np.tensordot(to_cartesian[axis], slopes, axes=1)
            bent = vectors @ (factor * (adjoint @ slope @ vectors)) @ adjoint
            found.append(root @ x @ root + bent)
        return np.stack(found)


def _transformed(
    grid: np.ndarray, of, count: int, n: int, real: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return matrices of all cells of a grid of odd sizes, by the Fourier transform of those at its k-points.

    Those of real matrices at -k are the conjugates of those at k.
    """
    index = np.indices(tuple(grid.tolist())).reshape(3, -1).T
    opposite = np.ravel_multi_index(tuple((-index % grid).T), tuple(grid.tolist()))
    needed = np.flatnonzero(np.arange(len(index)) <= opposite) if real else np.arange(len(index))
    found = np.empty((count, len(index), n, n), dtype=complex)
    for start in range(0, len(needed), _CHUNK):
        part = needed[start : start + _CHUNK]
        found[:, part] = of(index[part] / grid)
        if real:
            found[:, opposite[part]] = found[:, part].conj()
    found = found.reshape(count, *grid, n, n)
    matrices = np.fft.fftn(found, axes=(1, 2, 3)).reshape(count, -1, n, n) / len(index)
    half = grid // 2
    cells = (index + half) % grid - half
    return cells, matrices
