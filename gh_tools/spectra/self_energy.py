"""Self-energies Σ(E) of semi-infinite leads, by sisl's decimation, and checked.

M. P. López Sancho, J. M. López Sancho and J. Rubio, J. Phys. F 15, 851 (1985).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Complex

from gh_tools.errors import DataError
from gh_tools.formats.format import extra
from gh_tools.spectra.layers import Principal

# eV. Small against all widths, and large against rounding.
BROADENING = 1e-6
# eV. At an energy of the isolated lead's own, which decimation divides by, one beside it stands for it.
_BESIDE = (0.0, 1.3e-5, -2.1e-5, 7.1e-5)
# Of Σ, by which it may fail Dyson's equation.
_RESIDUAL = 1e-6


class SelfEnergy:
    """Σ(E) of a semi-infinite lead: what the lead adds to H of the orbitals that it couples to.

    Args:
        layer: one principal layer of the lead, and its coupling to the next.
        direction: ``-`` where the lead goes on to the left of the device, ``+`` where it does to the right.

    Raises:
        MissingExtraError: sisl is not installed.
    """

    def __init__(self, layer: Principal, direction: str) -> None:
        sisl = extra("sisl")
        n = len(layer.h)
        # A chain of cells of n orbitals, whatever they are.
        places = np.column_stack([np.arange(n) / n, np.zeros((n, 2))])
        lattice = sisl.Lattice([1, 10, 10], nsc=[3, 1, 1])
        geometry = sisl.Geometry(places, sisl.Atom(1, sisl.Orbital(0.01)), lattice)
        parts = []
        for within, beyond in ((layer.h, layer.h_next), (layer.s, layer.s_next)):
            columns: list = [None] * 3
            for step, block in ((0, within), (1, beyond), (-1, beyond.conj().T)):
                columns[lattice.sc_index([step, 0, 0])] = block
            parts.append(scipy.sparse.csr_matrix(np.hstack(columns)))
        pattern = (abs(parts[0]) + abs(parts[1])).tocsr()
        rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
        same = [
            scipy.sparse.csr_matrix(
                (np.asarray(part[rows, pattern.indices]).ravel(), pattern.indices, pattern.indptr),
                shape=part.shape,
            )
            for part in parts
        ]
        chain = sisl.Hamiltonian.fromsp(geometry, same[0], S=same[1])
        self._of = sisl.physics.RecursiveSI(chain, f"{direction}A", eta=BROADENING)

        self._layer, self._left = layer, direction == "-"

    def at(self, energy: float) -> Complex[np.ndarray, "n n"]:
        """Return Σ(E) in eV, which satisfies Σ = τ g τ' with g = [(E + iη) S - H - Σ]⁻¹, or an energy 1e-5 eV beside is taken.

        H and S are those of a principal layer, τ and τ' are (E + iη) S - H between it and the next one, and back.

        Args:
            energy: E in eV, on the scale of the lead's H.

        Raises:
            DataError: it does not hold at any of them.
        """
        layer = self._layer
        for step in _BESIDE:
            z = complex(energy + step, BROADENING)
            sigma = self._of.self_energy(z, dtype=np.complex128)
            out = z * layer.s_next - layer.h_next
            back = z * layer.s_next.conj().T - layer.h_next.conj().T
            there, here = (back, out) if self._left else (out, back)
            again = there @ np.linalg.solve(z * layer.s - layer.h - sigma, here)
            if np.abs(again - sigma).max() <= _RESIDUAL * max(np.abs(sigma).max(), 1.0):
                return sigma
        raise DataError(
            f"the self-energy of a lead at {energy:.6f} eV is not accurate: take another energy, or a larger lead"
        )
