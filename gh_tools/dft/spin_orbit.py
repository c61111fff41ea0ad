"""Spin–orbit coupling from the PAW setups of the basis table, without a calculation and without training."""

from __future__ import annotations

from collections.abc import Iterable
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
    atoms, numbers = hamiltonian.atoms, hamiltonian.atoms.numbers
    integrals = _integrals(hamiltonian.basis, numbers)
    lists = block_lists(
        atoms, {pair: (b.i, b.j, b.cell_offset) for pair, b in hamiltonian.pairs.items()}
    )
    projections = Projections(atoms, integrals)
    coupling = {z: spin_orbit_matrices(setup) for z, setup in integrals.setups.items()}
    x, y, z = (
        projections.correction({n: matrices[v] for n, matrices in coupling.items()}, lists)
        for v in range(3)
    )

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
    )


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
