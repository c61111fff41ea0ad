"""Löwdin's orthogonalisation: H'(R) of orthonormal functions with the spectrum of H and S."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian

# S(k) of lower eigenvalues has no inverse root worth the name.
_SINGULAR = 1e-8
# eV: blocks of the farthest cells must have decayed to this, or the grid of k-points grows.
_DECAYED, _NEGLIGIBLE = 1e-7, 1e-9
# Bytes of the matrices on the largest grid, and k-points at once.
_MOST, _CHUNK = 4 * 2**30, 256


def orthogonalised(
    hamiltonian: Hamiltonian, spin: int = 0
) -> tuple[Int[np.ndarray, "cells 3"], Float[np.ndarray, "cells orbitals orbitals"]]:
    """Return H'(R) = 1/N Σ_k exp(-2πi k·R) S(k)^(-1/2) H(k) S(k)^(-1/2), in eV.

    The symmetric root mixes orbitals least (P.-O. Löwdin, J. Chem. Phys. 18, 365 (1950)), and reaches farther than
    S itself: the grid of k-points grows until the blocks at its edge have decayed below 1e-7 eV.

    Args:
        hamiltonian: H(R) and S(R).
        spin: which channel.

    Returns:
        R of each matrix, both of R and -R, and the matrices, blocks below 1e-9 eV left out.

    Raises:
        DataError: S(k) is not positive definite, or H' does not decay on any grid that can be computed.
    """
    extent = np.zeros(3, dtype=int)
    for blocks in hamiltonian.pairs.values():
        extent = np.maximum(extent, np.abs(blocks.cell_offset).max(axis=0, initial=0))
    n = hamiltonian.n_orbitals
    periodic = extent > 0
    grid = np.where(periodic, 2 * extent + 1, 1)
    while True:
        cells, matrices = _transform(hamiltonian, grid, spin)
        largest = np.abs(matrices).max(axis=(1, 2))
        edge = np.zeros(3)
        for axis in np.flatnonzero(periodic):
            edge[axis] = largest[np.abs(cells[:, axis]) == grid[axis] // 2].max()
        if (edge < _DECAYED).all():
            keep = largest > _NEGLIGIBLE
            return cells[keep], matrices[keep]
        grid = grid + np.where(edge >= _DECAYED, np.maximum(4, 2 * (grid // 4)), 0)
        if 16.0 * np.prod(grid.astype(float)) * n**2 > _MOST:
            raise DataError(
                f"the Löwdin-orthogonalised H does not decay within {'x'.join(map(str, grid))} cells (still "
                f"{edge.max():.1g} eV): the basis is nearly dependent, or the cell too large; export H and S to sisl, "
                "deeph or npz instead"
            )


def _transform(
    hamiltonian: Hamiltonian, grid: np.ndarray, spin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return H'(R) of all cells of a grid of odd sizes, by the Fourier transform of H'(k)."""
    index = np.stack(
        np.meshgrid(*(np.arange(size) for size in grid.tolist()), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    n = hamiltonian.n_orbitals
    found = np.empty((len(index), n, n), dtype=complex)
    h, s = BlochSum(hamiltonian, "hamiltonian", spin), BlochSum(hamiltonian, "overlap")
    for start in range(0, len(index), _CHUNK):
        kpoints = index[start : start + _CHUNK] / grid
        values, vectors = np.linalg.eigh(np.stack(s.at(kpoints)))
        if values.min() < _SINGULAR:
            raise DataError(
                f"S(k) has the eigenvalue {values.min():.2g} and no inverse root; H cannot be orthogonalised"
            )
        root = (vectors / np.sqrt(values)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
        found[start : start + _CHUNK] = root @ np.stack(h.at(kpoints)) @ root
    found = found.reshape(*grid, n, n)
    matrices = np.fft.fftn(found, axes=(0, 1, 2)).real.reshape(-1, n, n) / len(index)
    half = grid // 2
    cells = (index + half) % grid - half
    return cells, matrices
