"""From blocks in real space to matrices at a k-point."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Float, Shaped

from gh_tools.orbitals.blocks import Hamiltonian

Field = Literal["hamiltonian", "overlap", "uncertainty"]


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
        Hermitian matrix, in eV for the Hamiltonian; real where k = 0.
    """
    k = np.asarray(k, dtype=np.float64)
    start = hamiltonian.basis.orbital_ptr(hamiltonian.atoms.numbers)[:-1]
    n = hamiltonian.n_orbitals
    real = not k.any()

    rows, columns, values = [], [], []
    for key, blocks in hamiltonian.groups():
        matrix = getattr(blocks, field)
        if matrix is None:
            raise ValueError(f"blocks {key} have no {field}")
        matrix = matrix[spin] if matrix.ndim == 4 else matrix
        onsite = isinstance(key, int)
        i, j = (blocks.atom, blocks.atom) if onsite else (blocks.i, blocks.j)
        row, column = np.broadcast_arrays(
            start[i][:, None, None] + np.arange(matrix.shape[1])[:, None],
            start[j][:, None, None] + np.arange(matrix.shape[2]),
        )
        if onsite:
            rows, columns, values = [*rows, row], [*columns, column], [*values, matrix]
            continue
        if not real:
            matrix = matrix * np.exp(2j * np.pi * (blocks.shift @ k))[:, None, None]
        rows += [row, column]
        columns += [column, row]
        values += [matrix, matrix.conj()]

    dtype = np.float64 if real else np.complex128
    row = np.concatenate([r.ravel() for r in rows])
    column = np.concatenate([c.ravel() for c in columns])
    value = np.concatenate([v.ravel() for v in values]).astype(dtype)
    # CSR sums duplicates: several R with the same two atoms.
    summed = scipy.sparse.coo_array((value, (row, column)), shape=(n, n)).tocsr()
    return summed if sparse else summed.toarray()
