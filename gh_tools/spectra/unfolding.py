"""Spectral weights of a supercell's states at the k-points of a primitive cell.

Orbitals of the supercell get a label: the site of the primitive cell, the shell and m (and the spin). Those of one
label are the copies of one orbital of the primitive cell, at the translations t, and

P_K = (1/N) Σ |label, t⟩⟩ e^{iK·(t-t')} ⟨⟨label, t'|

takes the part of a state that is a Bloch wave of K, where ⟨⟨…| is the dual of the basis, which reads a coefficient. The
weight is w = Re c†S P_K c for c†S c = 1: C.-C. Lee, Y. Yamada-Takamura and T. Ozaki, J. Phys.: Condens. Matter 25, 345501
(2013). In a perfect supercell w is 0 or 1. Where atoms are missing, other or displaced, two sums still hold exactly: the
weights of a state at the N k-points that fold onto one add up to 1, because Σ_K P_K = 1 on the orbitals that are there; and
those of all states at a K add up to the number of orbitals over N. Translating orbitals onto each other instead loses the
weight of those that have no partner. As Mulliken's populations, single weights may be slightly outside 0 and 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int, Shaped

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.radial_functions import has_radial_functions, radial_functions
from gh_tools.spectra.sites import Sites

# eV. The grid of the labels breaks degeneracies by about as much.
DEGENERATE = 1e-4
# Of radial functions of two elements on one site; such with less in common are different orbitals.
_ALIKE = 0.5


class Unfolding:
    """Weights of the states of a supercell at k-points of its primitive cell.

    Attributes:
        sites: of the atoms.
        orbitals: rows of H(k) over the number of primitive cells: what the weights of all states add up to.
    """

    def __init__(self, hamiltonian: Hamiltonian, sites: Sites):
        """Label the orbitals.

        Atoms of another element than most on their site have the labels of those of its orbitals whose radial functions are
        most alike, with the sign that makes them so. All others have their own.

        Args:
            hamiltonian: of the supercell.
            sites: of its atoms.
        """
        label, sign = _labels(hamiltonian, sites)
        self.sites = sites
        self.orbitals = hamiltonian.n_orbitals / sites.cells
        self._sign = sign
        self._translation = np.repeat(sites.translation, hamiltonian.orbitals_of_atoms, axis=0)
        ones = np.ones(len(label))
        self._gather = scipy.sparse.csr_array((ones, (label, np.arange(len(label)))))

    def weights(
        self,
        k: Float[np.ndarray, "3"],
        x: Shaped[np.ndarray, "orbitals states"],
        sx: Shaped[np.ndarray, "orbitals states"],
        energies: Float[np.ndarray, " states"] | None = None,
    ) -> Float[np.ndarray, " states"]:
        """Return w of states at a k-point of the primitive cell.

        Any combination of degenerate states is as good as another, and only the sum of their weights is defined: as states
        of K and -K are where both fold onto one k. With energies the combinations are taken that belong to K and to other
        k-points each by itself: their weights are the eigenvalues of the Hermitian part of x†S P_K x among them, ascending.

        Args:
            k: in units of the supercell's reciprocal vectors, of which multiples are other points of the primitive zone.
            x: eigenvectors of H(k) and S(k) of the supercell, with xᴴSx = 1, as columns.
            sx: S x.
            energies: of the states, ascending, eV; those within 1e-4 eV of each other count as degenerate.
        """
        phase = self._sign * np.exp(-2j * np.pi * (self._translation @ k))
        bloch, dual = (self._gather @ (phase[:, None] * vectors) for vectors in (x, sx))
        weights = np.sum(dual.conj() * bloch, axis=0).real
        if energies is not None:
            edges = np.flatnonzero(np.diff(energies) > DEGENERATE) + 1
            for group in np.split(np.arange(len(energies)), edges):
                if len(group) > 1:
                    within = dual[:, group].conj().T @ bloch[:, group]
                    weights[group] = np.linalg.eigvalsh(0.5 * (within + within.conj().T))
        return weights / self.sites.cells


def _labels(
    hamiltonian: Hamiltonian, sites: Sites
) -> tuple[Int[np.ndarray, " orbitals"], Float[np.ndarray, " orbitals"]]:
    """Return a number for each orbital, the same for copies, and ±1 for the sign of its radial function."""
    numbers, basis = hamiltonian.atoms.numbers, hamiltonian.basis
    main = {
        int(site): int(np.bincount(numbers[sites.site == site]).argmax())
        for site in range(sites.sites)
    }
    known: dict[tuple, int] = {}
    labels, signs = [], []
    for z, site in zip(numbers.tolist(), sites.site.tolist(), strict=True):
        of = main.get(site, z)
        shells = matched_shells(basis[z], basis[of])
        for spin in range(2 if hamiltonian.spinor else 1):
            for shell, degree in enumerate(basis[z].degrees):
                match = shells[shell]
                key = (site, z, shell) if match is None else (site, of, match[0])
                for m in range(2 * degree + 1):
                    labels.append(known.setdefault((*key, m, spin), len(known)))
                    signs.append(1 if match is None else match[1])
    return np.array(labels), np.array(signs, dtype=float)


@lru_cache(maxsize=256)
def matched_shells(element, other) -> tuple[tuple[int, int] | None, ...]:
    """Return for each shell of an element the shell of another that is the same orbital, and the relative sign.

    None where there is none, or it is not known because the basis table has no radial functions.

    Args:
        element: of the basis table.
        other: likewise.
    """
    if element == other:
        return tuple((shell, 1) for shell in range(len(element.shells)))
    if not (has_radial_functions(element) and has_radial_functions(other)):
        return (None,) * len(element.shells)
    first, second = radial_functions(element), radial_functions(other)
    common = np.array(
        [[a.overlap(b) if a.l == b.l else 0.0 for b in second] for a in first]
    ).reshape(len(first), len(second))
    found: list[tuple[int, int] | None] = [None] * len(first)
    while common.size and np.abs(common).max() > _ALIKE:  # the most alike first
        shell, match = np.unravel_index(np.argmax(np.abs(common)), common.shape)
        found[shell] = int(match), 1 if common[shell, match] > 0 else -1
        common[shell], common[:, match] = 0.0, 0.0
    return tuple(found)
