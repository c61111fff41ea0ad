"""One structure from coordinates to labels: the self-consistent run and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import scipy.linalg
from ase.data import chemical_symbols
from jaxtyping import Bool, Float

from gh_tools.dft.basis_sets import gpaw_arguments
from gh_tools.dft.block_list import BlockList
from gh_tools.dft.charged import check_charge, count_charge_in_density
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.density import add_kpoints_at_once
from gh_tools.dft.realspace import calculation_cell, realspace_blocks
from gh_tools.dft.run_cell import boxed, with_reduced_cell
from gh_tools.dft.sampling import kpoint_sampling
from gh_tools.dft.start import check_start, start_from
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Bands, Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.lattice import change_of_basis, kpoints_in_cell
from gh_tools.orbitals.pairs import wrapped
from gh_tools.resources import free_memory
from gh_tools.units import MEV

# Blocks are exact but for the threshold; more than this (in meV) means that they are wrong.
_LARGEST_ERROR = 1.0
# Of helium and hydrogen in boxes of 0.1 to 3.4 million points, the largest part of which GPAW holds on its fine grid.
_BYTES_A_POINT, _BYTES_A_POINT_AND_SPIN = 550, 500


class SCFNotConverged(DataError):
    """A self-consistent cycle that its limit of steps ended."""


def label_structure(
    atoms: ase.Atoms,
    config: LabelConfig,
    basis: Basis,
    log: Path | str,
    start: Hamiltonian | None = None,
) -> Hamiltonian | None:
    """Run GPAW on a structure and extract its Hamiltonian; see `run` and `extract`.

    The result depends on the lattice and not on the cell vectors that were chosen for it: GPAW runs in the
    reduced cell, and blocks and k-points are given for the structure's own.

    All processes of MPI must call it, if there are some; only the first gets a result.

    Args:
        atoms: the structure; needs no cell where it is not periodic.
        config: the calculation.
        basis: the basis table, at least of the species present.
        log: file for GPAW's own text.
        start: H and S of the structure, from whose density the cycle begins; free atoms' by default, and where a
            run from a given one does not converge.

    Raises:
        DataError: the run did not converge, the structure cannot have the charge, or the start cannot be its H and S.
    """
    atoms = wrapped(atoms)
    basis.check_covers(atoms.numbers, "label")
    check_charge(atoms, config.charge or 0.0, basis, atoms.get_chemical_formula())
    basis = Basis({z: basis[z] for z in set(atoms.numbers.tolist())})
    if start is not None:
        check_start(start, atoms, config, basis)
    try:
        calculator = run(atoms, config, basis, log, start)
    except SCFNotConverged:
        if start is None:
            raise
        calculator = run(atoms, config, basis, log)
    return extract(atoms, calculator, config, basis)


def extract(atoms: ase.Atoms, calculator, config: LabelConfig, basis: Basis) -> Hamiltonian | None:
    """Take the labels out of a converged calculation.

    Args:
        atoms: the structure, wrapped.
        calculator: what `run` gave for it.
        config: which pairs to keep.
        basis: the basis table of the species present.

    Returns:
        H(R) and S(R); the eigenvalues at the k-points of the run; scalars fermi_level and energy
        (eV), n_electrons, eigenvalue_error (meV: the largest change of an eigenvalue within 5 eV of
        the Fermi level that dropping pairs caused), and with spin magnetic_moment (μB). Energies
        count from GPAW's zero of the potential. None in all processes of MPI but the first.

    Raises:
        DataError: the blocks do not give the run's eigenvalues back.
    """
    blocks = realspace_blocks(atoms, calculator, basis)
    scalars, bands = _scalars(calculator, config), _bands(atoms, calculator)
    if blocks is None:
        return None
    lists, hamiltonian, overlap = blocks
    spin = slice(None) if config.spin == "collinear" else 0
    onsite, pairs = {}, {}
    for key, block in lists.items():
        if isinstance(key, int):
            onsite[key] = OnsiteBlocks(block.i, hamiltonian[key][spin], overlap[key])
            continue
        keep = _kept(block, hamiltonian[key], overlap[key], config)
        if keep.any():
            pairs[key] = PairBlocks(
                block.i[keep],
                block.j[keep],
                block.cell_offset[keep],
                hamiltonian[key][:, keep][spin],
                overlap[key][keep],
            )
    result = Hamiltonian(atoms, basis, onsite, pairs, scalars, bands)
    error = eigenvalue_error(result)
    whole = config.pair_cutoff is None and config.threshold <= LabelConfig().threshold
    if whole and error > _LARGEST_ERROR:
        raise DataError(
            f"the blocks do not give GPAW's eigenvalues back (largest difference {error:.3g} meV); "
            "please report this structure"
        )
    result.scalars["eigenvalue_error"] = error
    return result


def run(
    atoms: ase.Atoms,
    config: LabelConfig,
    basis: Basis,
    log: Path | str,
    start: Hamiltonian | None = None,
):
    """Converge a GPAW calculation (new interface) in LCAO mode and return it.

    Its cell is the reduced one, see `with_reduced_cell`, with a box as `boxed` gives it.

    Args:
        atoms: positions and cell in Å.
        config: functional, k-points, grid and convergence.
        basis: orbitals of each element, as GPAW reads them.
        log: file of GPAW's text output, or "-" for standard output.
        start: see `label_structure`.

    Raises:
        SCFNotConverged: it did not converge.
        DataError: it would have more points of its grid than fit into memory.
    """
    from gpaw import KohnShamConvergenceError
    from gpaw.new.ase_interface import GPAW

    count_charge_in_density()
    add_kpoints_at_once()
    charge = config.charge or 0.0
    arguments: dict[str, Any] = {"kpts": kpoint_sampling(atoms, config)} if atoms.pbc.any() else {}
    atoms = boxed(with_reduced_cell(atoms), config.vacuum)
    _check_grid(atoms, config)
    spin_polarised = config.spin == "collinear"
    moments = [config.magmoms.get(symbol, 0.0) for symbol in atoms.symbols]
    atoms.calc = GPAW(
        mode="lcao",
        xc=config.xc,
        h=config.h,
        nbands="nao",
        occupations={"name": "fermi-dirac", "width": config.smearing},
        convergence=config.convergence.model_dump(),
        mixer={} if config.mixing is None else {"beta": config.mixing},
        maxiter=config.max_iterations,
        spinpol=spin_polarised,
        magmoms=moments if spin_polarised else None,
        charge=charge,
        txt=str(log),
        **arguments,
        **gpaw_arguments(basis),
    )
    if start is not None:
        atoms.calc.create_new_calculation(atoms)
        start_from(atoms.calc, start)
    try:
        atoms.get_potential_energy()
    except KohnShamConvergenceError:
        raise SCFNotConverged(
            f"not self-consistent after {config.max_iterations} iterations; look at {log}, and raise "
            "max_iterations or the smearing, or lower mixing"
        ) from None
    return atoms.calc


def _check_grid(atoms: ase.Atoms, config: LabelConfig) -> None:
    """Make sure that GPAW's grid fits into the memory of the processes that share it."""
    from gpaw.mpi import world

    points = float(atoms.cell.volume / config.h**3)
    spins = 2 if config.spin == "collinear" else 1
    needed = points * (_BYTES_A_POINT + spins * _BYTES_A_POINT_AND_SPIN)
    # The least of all processes, so that all decide alike.
    free = world.min_scalar(float(free_memory())) * world.size
    if needed > free:
        box = " x ".join(f"{length:.4g}" for length in atoms.cell.lengths())
        raise DataError(
            f"a box of {box} Å has {points:.2g} points of a grid with h = {config.h:g} Å, which take "
            f"{needed / 2**30:.3g} GiB, where {free / 2**30:.3g} GiB are free; make structures of their own of atoms "
            "that are far apart, leave out empty space, or raise h"
        )


def _kept(
    block: BlockList, hamiltonian, overlap, config: LabelConfig
) -> Bool[np.ndarray, " pairs"]:
    large = np.abs(hamiltonian).max(axis=(0, 2, 3)) > config.threshold
    large |= np.abs(overlap).max(axis=(1, 2)) > config.threshold
    if config.pair_cutoff is not None:
        large &= np.linalg.norm(block.vector, axis=1) < config.pair_cutoff
    return large


def _scalars(calculator, config: LabelConfig) -> dict[str, float]:
    scalars = {
        "fermi_level": float(calculator.get_fermi_level()),
        "energy": float(calculator.results["energy"]),
        "n_electrons": float(calculator.get_number_of_electrons()),
    }
    if config.spin == "collinear":
        scalars["magnetic_moment"] = float(calculator.results["magmom"])
    return scalars


def _bands(atoms: ase.Atoms, calculator) -> Bands:
    change = change_of_basis(atoms.cell.array, calculation_cell(calculator), atoms.pbc)
    kpoints = kpoints_in_cell(np.array(calculator.get_ibz_k_points()), change)
    spins = range(calculator.get_number_of_spins())
    eigenvalue = [
        [calculator.get_eigenvalues(kpt=k, spin=spin) for k in range(len(kpoints))]
        for spin in spins
    ]
    weight = np.asarray(calculator.get_k_point_weights(), dtype=np.float64)
    return Bands(kpoints, weight / weight.sum(), np.array(eigenvalue))


def eigenvalue_error(hamiltonian: Hamiltonian, window: float = 5.0) -> float:
    """Return the largest difference in meV between eigenvalues of the blocks and those of the run itself.

    Args:
        hamiltonian: the labels, with ``bands``.
        window: which eigenvalues count: those within so many eV of the Fermi level.
    """
    bands, fermi = hamiltonian.bands, hamiltonian.scalars["fermi_level"]
    largest = 0.0
    assert bands is not None  # of labels
    for spin, of_spin in enumerate(bands.eigenvalue):
        for k, reference in zip(bands.kpoint, of_spin, strict=True):
            found = _eigenvalues(hamiltonian, k, spin)
            near = np.abs(reference - fermi) < window
            largest = max(largest, np.abs(found - reference)[near].max(initial=0.0))
    return MEV * float(largest)


def _eigenvalues(hamiltonian: Hamiltonian, k, spin: int) -> Float[np.ndarray, " orbitals"]:
    matrix = bloch_matrix(hamiltonian, k, "hamiltonian", spin)
    return scipy.linalg.eigh(matrix, bloch_matrix(hamiltonian, k, "overlap"), eigvals_only=True)


def basis_rows(basis: Basis) -> list[tuple[str, str, str, str, str]]:
    """Rows of a table of the basis: element, set, setup, orbitals, and shells with cutoffs in Å."""
    return [
        (
            chemical_symbols[number],
            element.basis_name,
            (element.setup or "default") + element.hubbard,
            str(element.n_orbitals),
            " ".join(f"{'spdfgh'[s.l]}({s.cutoff:.2f})" for s in element.shells),
        )
        for number, element in basis.elements.items()
    ]
