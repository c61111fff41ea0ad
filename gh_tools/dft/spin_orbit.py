"""Spin–orbit coupling from the PAW setups of the basis table, without a calculation and without training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from ase.data import chemical_symbols
from ase.units import Ha
from jaxtyping import Complex, Float

from gh_tools.dft.block_list import block_lists
from gh_tools.dft.projections import Projections
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks

_PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
# Of the largest element of a coupling.
_ROUNDING = 1e-9


def with_spin_orbit(hamiltonian: Hamiltonian) -> Hamiltonian:
    """Return H + H_SO and S for spinors.

    H_SO = Σ_a |p̃_a⟩ ⟨φ_a|(1/4c²)(1/r)(dV/dr) L·σ|φ_a⟩ ⟨p̃_a| with the partial waves φ, the projectors p̃ and the
    spherical potential V of each atom a, as in GPAW (Olsen, Phys. Rev. B 94, 235106 (2016)). V is that of the neutral
    atom, whose part near the nucleus, where the coupling comes from, no bond changes: eigenvalues of WSe2 are within
    0.5 meV of those with the self-consistent V.

    Args:
        hamiltonian: H(R) and S(R), of paired spins or of two spin channels along z.

    Returns:
        Blocks with two spin components, see `Hamiltonian.spinor`. All else is as it was.

    Raises:
        DataError: the basis has no PAW setups, or not those of this machine.
    """
    if hamiltonian.spinor:
        return hamiltonian
    x, y, z = _projected(hamiltonian, spin_orbit_matrices)

    def spinor(key, blocks: OnsiteBlocks | PairBlocks):
        if blocks.hamiltonian is None or blocks.overlap is None:
            raise DataError(
                "spin–orbit coupling needs H and S, and the structure lacks one of them"
            )
        up, down = (
            blocks.hamiltonian[[0, -1]]
            if blocks.hamiltonian.ndim == 4
            else 2 * [blocks.hamiltonian]
        )
        zero = np.zeros_like(blocks.overlap)
        members = blocks.members
        if members is not None:
            members = np.stack([_two_by_two(one[0], zero, zero, one[-1])[None] for one in members])
        return replace(
            blocks,
            hamiltonian=_two_by_two(
                up + 1j * z[key], 1j * x[key] + y[key], 1j * x[key] - y[key], down - 1j * z[key]
            ),
            overlap=_two_by_two(blocks.overlap, zero, zero, blocks.overlap),
            uncertainty=None,
            members=members,
        )

    return replace(
        hamiltonian,
        onsite={key: spinor(key, blocks) for key, blocks in hamiltonian.onsite.items()},
        pairs={key: spinor(key, blocks) for key, blocks in hamiltonian.pairs.items()},
        bands=None,
        spinor=True,
        paw_coupling=hamiltonian.n_spins == 1,
    )


def coupling_bounds(hamiltonian: Hamiltonian) -> Hamiltonian:
    """Return matrices that bound the coupling of `with_spin_orbit` and do not act on spins.

    With ζ the radial matrix of a shell of projectors, H_SO = ζ L·σ lies between -(l + 1)|ζ| and l ζ, or (l + 1)|ζ| where ζ
    has a negative eigenvalue: L·σ is l or -(l + 1).

    Args:
        hamiltonian: H(R) and S(R) of spinors, with `Hamiltonian.paw_coupling`.

    Returns:
        In the place of H the upper bound, and in that of S minus the lower bound, both positive, in eV.
    """
    upper, lower = _projected(hamiltonian, _bounds)

    def bounding(key, blocks: OnsiteBlocks | PairBlocks):
        return replace(
            blocks, hamiltonian=upper[key], overlap=lower[key], uncertainty=None, members=None
        )

    return replace(
        hamiltonian,
        onsite={key: bounding(key, blocks) for key, blocks in hamiltonian.onsite.items()},
        pairs={key: bounding(key, blocks) for key, blocks in hamiltonian.pairs.items()},
        spinor=False,
        paw_coupling=False,
    )


def _projected(hamiltonian: Hamiltonian, matrices_of: Callable) -> list[dict]:
    """Return the blocks of Σ_a |p̃_a⟩ M_a ⟨p̃_a|, for each of the matrices that a function gives of a setup.

    Blocks are those of H: pairs beyond its cutoff, which see the tails of projections only, are left out.
    """
    atoms = hamiltonian.atoms
    integrals = _integrals(hamiltonian.basis, atoms.numbers)
    lists = block_lists(
        atoms, {pair: (b.i, b.j, b.cell_offset) for pair, b in hamiltonian.pairs.items()}
    )
    projections = Projections(atoms, integrals)
    of_elements = {z: matrices_of(setup) for z, setup in integrals.setups.items()}
    return [
        projections.correction(dict(zip(of_elements, matrices, strict=True)), lists)
        for matrices in zip(*of_elements.values(), strict=True)
    ]


def _bounds(setup) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper bound of a setup's coupling among its projectors, and minus the lower one, in eV."""
    matrices = spin_orbit_matrices(setup)
    order = np.concatenate([np.full(2 * one + 1, one) for one in setup.l_j])
    # L² is l(l + 1), so that the squares add up to l(l + 1)ζ².
    value, vector = np.linalg.eigh(-np.einsum("vij,vjk->ik", matrices, matrices))
    root = (vector * np.sqrt(value.clip(0))) @ vector.T / np.sqrt((order * (order + 1)).clip(1))
    lower, upper = (order + 1) * root, order * root
    coupling = sum(np.kron(pauli, 1j * one) for pauli, one in zip(_PAULI, matrices, strict=True))
    least = np.linalg.eigvalsh(np.kron(np.eye(2), upper) - coupling)[0]
    return (upper if least > -_ROUNDING * abs(value).max() ** 0.5 else lower), lower


def spin_orbit_matrices(setup) -> Float[np.ndarray, "3 projectors projectors"]:
    """Return the imaginary parts of ⟨φ_i|(1/4c²)(1/r)(dV/dr) L_v|φ_j⟩, v = x, y, z, of a neutral atom, in eV.

    They are antisymmetric: L is Hermitian, and imaginary in real harmonics.

    Args:
        setup: GPAW's.
    """
    from gpaw.spinorbit import soc
    from gpaw.xc import XC

    occupations = setup.calculate_initial_occupation_numbers(0.0, False, 0.0, 1)
    density = setup.initialize_density_matrix(occupations)
    return soc(setup, XC(setup.data.setupname), density).imag * Ha


def _integrals(basis: Basis, numbers: Iterable[int]) -> TwoCenterIntegrals:
    basis.check_covers(numbers, "spin-orbit coupling")
    for number in sorted(set(map(int, numbers))):
        if not basis[number].fingerprint:
            raise DataError(
                f"basis: {chemical_symbols[number]} has no PAW setup, from which spin-orbit coupling is taken; compute "
                "without soc"
            )
    return _cached_integrals(tuple((z, basis[z]) for z in sorted(set(map(int, numbers)))))


@lru_cache(maxsize=4)
def _cached_integrals(elements: tuple) -> TwoCenterIntegrals:
    return TwoCenterIntegrals(Basis(dict(elements)))


def _two_by_two(
    a: Float[np.ndarray, "n ki kj"] | Complex[np.ndarray, "n ki kj"], b, c, d
) -> np.ndarray:
    """Return [[a, b], [c, d]] of each pair."""
    return np.concatenate([np.concatenate([a, b], axis=2), np.concatenate([c, d], axis=2)], axis=1)
