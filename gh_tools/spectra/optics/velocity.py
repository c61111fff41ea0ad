"""Matrix elements of the velocity between Bloch states of a non-orthogonal basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float, Inexact

from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.position import BlochPositions, knows_positions

Positions = Literal["basis", "atoms"]


@dataclass(frozen=True)
class BlochStates:
    """States at one k-point, and the velocity between them.

    Attributes:
        energies: eigenvalues, ascending, eV.
        vectors: S-normalised eigenvectors, as columns.
        velocity: ħ⟨m|v|n⟩ along x, y and z, eV Å; Hermitian; its diagonal is dε/dk.
    """

    energies: Float[np.ndarray, " bands"]
    vectors: Inexact[np.ndarray, "orbitals bands"]
    velocity: Inexact[np.ndarray, "3 bands bands"]


class Velocity:
    """ħ⟨m|v|n⟩ = c_m† [∂H/∂k − ½(ε_m + ε_n) ∂S/∂k + i (ε_m − ε_n) X] c_n at any k-point.

    v = (i/ħ)[H, r], with H as it acts within the basis: C.-C. Lee, Y.-T. Lee, M. Fukuda and T. Ozaki, Phys. Rev. B 98, 115115
    (2018). X(k) is that of `BlochPositions`.

    Attributes:
        positions: ``basis`` if the position operator is that of the basis functions, ``atoms`` if orbitals are taken to sit on
            their atoms, which leaves dipoles within atoms out.
    """

    def __init__(self, hamiltonian: Hamiltonian, spin: int = 0, positions: Positions | None = None):
        """Gather the blocks.

        Args:
            hamiltonian: H(R) and S(R).
            spin: which spin channel.
            positions: which position operator; None for that of the basis functions where the table has them.

        Raises:
            DataError: that of the basis functions is asked for, and the table has none.
        """
        atoms = hamiltonian.atoms
        if positions is None:
            known = knows_positions(hamiltonian.basis, atoms.numbers)
            positions = "basis" if known else "atoms"
        self.positions: Positions = positions
        self._h = BlochSum(hamiltonian, "hamiltonian", spin)
        self._s = BlochSum(hamiltonian, "overlap")
        self._x = BlochPositions(hamiltonian, positions == "basis")
        # ∂/∂k along Cartesian axes, from that along reciprocal vectors.
        self._to_cartesian = atoms.cell.complete().array.T / (2 * np.pi)

    def at(self, k: Float[np.ndarray, "3"]) -> BlochStates:
        """Return states and velocities at a k-point.

        Args:
            k: in units of the reciprocal cell's vectors.
        """
        h, s = (of.at(k[None])[0] for of in (self._h, self._s))
        energies, vectors = scipy.linalg.eigh(h, s, driver="gvd", check_finite=False)
        dh, ds = (
            np.tensordot(self._to_cartesian, of.gradient(k), axes=1) for of in (self._h, self._s)
        )
        sums = energies[:, None] + energies
        differences = energies[:, None] - energies
        adjoint = vectors.conj().T
        velocity = np.empty((3, len(energies), len(energies)), dtype=complex)
        for axis in range(3):
            x = self._x.along(axis, k[None], s[None])[0]
            velocity[axis] = (
                adjoint @ dh[axis] @ vectors
                - 0.5 * sums * (adjoint @ ds[axis] @ vectors)
                + 1j * differences * (adjoint @ x @ vectors)
            )
        return BlochStates(energies, vectors, velocity)
