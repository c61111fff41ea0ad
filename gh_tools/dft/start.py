"""Where the self-consistent cycle begins: with the density of a Hamiltonian that is known, such as a predicted one."""

from __future__ import annotations

import ase
import numpy as np
import scipy.linalg
from ase.units import Ha

from gh_tools.console import log
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.realspace import calculation_cell, cells_in_run
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.lattice import change_of_basis, kpoints_in_cell
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.identity import difference
from gh_tools.store.read import Store

# S of stores is in single precision and without its smallest blocks; another order or sign of orbitals is off by 0.1.
_LARGEST_ERROR_OF_S = 1e-3


def starts_in(store: Store, config: LabelConfig, basis: Basis) -> bool:
    """Tell whether the structures' H that a store holds are those of a calculation; say why not, where it holds some.

    Args:
        store: of any kind.
        config: the calculation.
        basis: its basis table.
    """
    if store.kind != "hamiltonians":
        return False
    try:
        reader = HamiltonianReader(store)
        _check_kind(
            reader.basis, int(reader.attributes.get("spins", 1)), config, basis, str(store.path)
        )
    except DataError as error:
        log.warning(
            "%s: cycles begin from the densities of free atoms, not of the H in it: %s",
            *(store.path, str(error).removeprefix(f"{store.path}: ")),
        )
        return False
    log.info("cycles begin from the densities of the H in %s", store.path)
    return True


def check_start(
    hamiltonian: Hamiltonian, atoms: ase.Atoms, config: LabelConfig, basis: Basis
) -> None:
    """Make sure that H and S can be those of a calculation.

    Args:
        hamiltonian: H and S.
        atoms: the structure of the calculation.
        config: the calculation.
        basis: its basis table.

    Raises:
        DataError: they are of another structure, basis or number of spin channels.
    """
    if unlike := difference(hamiltonian.atoms, atoms):
        raise DataError(f"start: {unlike}; give H and S of the structure itself")
    _check_kind(hamiltonian.basis, hamiltonian.n_spins, config, basis, "start")
    if hamiltonian.spinor:
        raise DataError("start: H is one of spinors, which no label is")


def _check_kind(found: Basis, spins: int, config: LabelConfig, basis: Basis, where: str) -> None:
    basis.check_same(found, where)
    expected = 2 if config.spin == "collinear" else 1
    if spins != expected:
        raise DataError(f"{where}: expected H of {expected} spin channels, found {spins}")


def start_from(calculator, hamiltonian: Hamiltonian) -> None:
    """Give a GPAW calculation that has not begun the density of the states of a Hamiltonian.

    H(k) of the run's k-points is diagonalised, and states are filled up to the Fermi level as in a step of the
    cycle. What it converges to is what it would converge to anyway, where that is unique. The cycle begins as without,
    and a warning says why, where processes of MPI share the orbitals or the grid of a k-point, and where S is not that
    of the run, so that H cannot be, either: blocks may have been dropped.

    Args:
        calculator: GPAW (new interface) in LCAO mode, made for the structure.
        hamiltonian: the structure's H(R) and S(R), with as many spin channels as the run.
    """
    dft, atoms = calculator.dft, hamiltonian.atoms
    waves = dft.ibzwfs
    if waves.band_comm.size > 1 or waves.domain_comm.size > 1:
        _decline(dft, "processes of MPI share a k-point")
        return
    run = calculation_cell(calculator)
    kpoints = np.array(calculator.get_ibz_k_points())
    own = kpoints_in_cell(kpoints, change_of_basis(atoms.cell.array, run, atoms.pbc))
    cell_of_orbital = np.repeat(
        cells_in_run(atoms, calculator), hamiltonian.orbitals_of_atoms, axis=0
    )
    of_spin = [BlochSum(hamiltonian, spin=spin) for spin in range(waves.nspins)]
    overlap = BlochSum(hamiltonian, "overlap")
    found = []
    for state in waves:
        phase = np.exp(2j * np.pi * cell_of_orbital @ kpoints[state.k])
        of_run = state.S_MM.data
        h, s = (
            phase.conj()[:, None] * blocks.at(own[[state.k]])[0] * phase
            for blocks in (of_spin[state.spin], overlap)
        )
        # Of GPAW's the lower triangle alone is sure to be filled, which is what `eigh` reads.
        error = float(np.abs(np.tril(s - of_run)).max())
        if error > _LARGEST_ERROR_OF_S:
            _decline(dft, f"S that is given differs from that of the run by up to {error:.2g}")
            return
        if of_run.dtype == float:
            h = h.real
        found.append(scipy.linalg.eigh(h / Ha, of_run))
    for state, (energies, states) in zip(waves, found, strict=True):
        state._eig_n = energies
        state.C_nM = state.C_nM.create()
        state.C_nM.data[:] = states.T
        state._P_ani = None
    electrons = dft.density.nvalence - dft.density.charge + dft.pot_calc.environment.charge
    waves.calculate_occs(dft.scf_loop.occ_calc, electrons)
    dft.density.update(waves)
    dft.potential, dft.energies, _ = dft.pot_calc.calculate(dft.density, waves, dft.potential.vHt_x)


def _decline(dft, reason: str) -> None:
    """Say why a cycle begins from free atoms, in one process."""
    if dft.comm.rank == 0:
        log.warning("%s: the cycle begins from the density of free atoms", reason)
