"""How much small differences of H move eigenvalues, to first order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float, Shaped

from gh_tools.orbitals.blocks import Hamiltonian

# eV. First order does not hold for eigenvalues that are nearer to each other, which δH mixes.
DEGENERATE = 1e-4


def differences(hamiltonian: Hamiltonian) -> list[Hamiltonian]:
    """Return what each member differs by, δH(R) in eV in the place of H(R); none where that is not known."""

    def of(member: int) -> Hamiltonian:
        def only(blocks):
            of_spins = blocks.members[member]
            return replace(
                blocks,
                hamiltonian=of_spins if len(of_spins) > 1 else of_spins[0],
                uncertainty=None,
                members=None,
            )

        return replace(
            hamiltonian,
            onsite={z: only(blocks) for z, blocks in hamiltonian.onsite.items()},
            pairs={pair: only(blocks) for pair, blocks in hamiltonian.pairs.items()},
        )

    return [of(member) for member in range(hamiltonian.n_members)]


def first_order(
    matrix: Shaped[np.ndarray, "n n"] | scipy.sparse.sparray | scipy.sparse.spmatrix,
    energies: Float[np.ndarray, " m"],
    vectors: Shaped[np.ndarray, "n m"],
    overlap: Shaped[np.ndarray, "n n"] | None = None,
) -> Float[np.ndarray, " m"]:
    """Return by how much a perturbation moves eigenvalues, c†(δH - ε δS)c, in eV.

    Among eigenvalues of which each is within 1e-4 eV of the next, ε + c†(δH - ε δS)c is diagonalised.

    Args:
        matrix: δH(k).
        energies: eigenvalues, ascending.
        vectors: S-normalised eigenvectors, as columns.
        overlap: δS(k); 0 without it.
    """
    product = matrix @ vectors
    if overlap is not None:
        product = product - (overlap @ vectors) * energies
    moved = np.einsum("im,im->m", vectors.conj(), product).real
    edges = np.flatnonzero(np.diff(energies) > DEGENERATE) + 1
    for group in np.split(np.arange(len(energies)), edges):
        if len(group) > 1:
            within = vectors[:, group].conj().T @ product[:, group]
            # Hermitian but for the differences of the eigenvalues.
            within = 0.5 * (within + within.conj().T) + np.diag(energies[group])
            moved[group] = scipy.linalg.eigvalsh(within) - energies[group]
    return moved
