"""H(R) and S(R) out of a converged GPAW calculation, exactly, for any cell.

GPAW's matrices at a k-point are Bloch sums of three real-space matrices: the effective potential
between basis functions on the grid, two-centre integrals, and PAW terms ⟨φ|p̃⟩ dH ⟨p̃|φ⟩. The blocks
are taken before that sum, so no k-points are needed and no image can be confused with another.
"""

from __future__ import annotations

from collections.abc import Mapping

import ase
import numpy as np
from ase.units import Bohr, Ha
from jaxtyping import Float, Int

from gh_tools.dft.block_list import BlockList, block_lists
from gh_tools.dft.overlap import overlap_blocks
from gh_tools.dft.projections import Projections
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.lattice import change_of_basis, inverse
from gh_tools.orbitals.pairs import stored_pairs

Lists = dict[int | SpeciesPair, BlockList]
Blocks = dict[int | SpeciesPair, Float[np.ndarray, "_pairs _ki _kj"]]
BlocksOfSpins = dict[int | SpeciesPair, Float[np.ndarray, "spin _pairs _ki _kj"]]


def realspace_blocks(
    atoms: ase.Atoms, calculator, basis: Basis
) -> tuple[Lists, BlocksOfSpins, Blocks] | None:
    """Extract all blocks of H and S that the basis and the projectors reach.

    Where MPI runs the calculation, all of its processes must call this.

    Args:
        atoms: the structure, wrapped; GPAW may have moved it rigidly along directions that are not
            periodic, and have other cell vectors of the same lattice.
        calculator: a converged GPAW calculator (new interface) in LCAO mode.
        basis: the basis table that the calculation used.

    Returns:
        Where the blocks stand, H in eV with a leading spin axis, and S; each by species (on-site)
        and species pair. None in all processes of MPI but the first.
    """
    dft, first = calculator.dft, calculator.comm.rank == 0
    atomic = dft.potential.dH_asii.gather()
    grid = _GridPotential(atoms, calculator, basis)
    if not first:
        for spin in range(dft.ibzwfs.nspins):
            grid.matrices(spin)
        return None
    integrals = TwoCenterIntegrals(basis)
    projections = Projections(atoms, integrals)
    lists = block_lists(atoms, stored_pairs(atoms, _ranges(atoms, integrals)))
    overlap = overlap_blocks(lists, integrals, projections)

    kinetic = {k: integrals.kinetic(b.zi, b.zj, b.vector) for k, b in lists.items()}
    hamiltonian: dict = {key: [] for key in lists}
    for spin in range(dft.ibzwfs.nspins):
        matrices = grid.matrices(spin)
        assert matrices is not None  # this is the first process
        potential = grid.blocks(matrices, lists)
        terms = [atomic[a][spin].real for a in range(len(atoms))]
        correction = projections.correction(terms, lists)
        for key in lists:
            hamiltonian[key].append((kinetic[key] + potential[key] + correction[key]) * Ha)
    return lists, {key: np.stack(value) for key, value in hamiltonian.items()}, overlap


def calculation_cell(calculator) -> Float[np.ndarray, "3 3"]:
    """Cell vectors in Å, as rows, of a calculator."""
    return calculator.dft.potential.vt_sR.desc.cell_cv * Bohr


def cells_in_run(atoms: ase.Atoms, calculator) -> Int[np.ndarray, "atoms 3"]:
    """Return in which cell of a calculation each atom stands, whose image in the first one the calculation has.

    Args:
        atoms: the structure, in its own cell of the same lattice.
        calculator: GPAW calculator (new interface).
    """
    run = calculation_cell(calculator)
    scaled = np.linalg.solve(run.T, atoms.positions.T).T
    moved = np.rint(scaled - calculator.dft.relpos_ac)
    return np.where(atoms.pbc, moved, 0).astype(np.int64)


def _ranges(atoms: ase.Atoms, integrals: TwoCenterIntegrals) -> dict[SpeciesPair, float]:
    """Distance in Å up to which two atoms interact, directly or through projectors of a third."""
    present = sorted(set(atoms.numbers.tolist()))
    orbital = {z: integrals.orbital_reach(z) for z in present}
    bridge = 2 * max(map(integrals.projector_reach, present))
    return {
        (zi, zj): orbital[zi] + orbital[zj] + bridge for zi in present for zj in present if zi <= zj
    }


class _GridPotential:
    """⟨φ_i,0|ṽ|φ_j,R⟩ integrated on GPAW's grid, in Hartree."""

    def __init__(self, atoms: ase.Atoms, calculator, basis: Basis):
        from gpaw.new.basis import create_basis

        dft = calculator.dft
        self._potential = dft.potential.vt_sR
        # Groups of processes that have k-points of their own all have the potential, in parts.
        self._needed = dft.ibzwfs.kpt_comm.rank == 0
        # Of a complex type even for a run at Γ alone, where GPAW would sum over R at once.
        self._functions = create_basis(
            dft.ibzwfs.ibz, 1, atoms.pbc, self._potential.desc, dft.setups, complex, dft.relpos_ac
        )
        self._start = basis.orbital_ptr(atoms.numbers)
        self._basis = basis
        # GPAW's cell may be another of the same lattice, into which it has wrapped the atoms anew: R in
        # the structure's cell is R @ to_run in GPAW's, from atoms in the cells that stand here.
        run = calculation_cell(calculator)
        change = change_of_basis(atoms.cell.array, run, atoms.pbc)
        self._to_run = inverse(change)
        self._cell = cells_in_run(atoms, calculator)
        # GPAW's matrices belong to -R for one half of all R; the other half are their transposes.
        half = -self._functions.sdisp_xc
        self._reach = np.abs(half).max(axis=0)
        self._index = np.full(2 * self._reach + 1, -1)
        self._index[tuple((half + self._reach).T)] = np.arange(len(half))

    def matrices(self, spin: int) -> Float[np.ndarray, "cells orbitals orbitals"] | None:
        """Integrate over the whole grid, parts of which other processes of MPI may have."""
        if not self._needed:
            return None
        result = self._functions.calculate_potential_matrices(self._potential.data[spin])
        self._potential.desc.comm.sum(result, 0)
        return result

    def blocks(
        self,
        matrices: Float[np.ndarray, "cells orbitals orbitals"],
        lists: Mapping[int | SpeciesPair, BlockList],
    ) -> dict[int | SpeciesPair, Float[np.ndarray, "_pairs _ki _kj"]]:
        """Take the blocks out of the matrices of one spin."""
        result = {}
        for key, block in lists.items():
            rows, columns = self._orbitals(block.zi, block.i), self._orbitals(block.zj, block.j)
            cell_offset = (
                block.cell_offset @ self._to_run + self._cell[block.j] - self._cell[block.i]
            )
            forward, backward = self._find(cell_offset), self._find(-cell_offset)
            values = np.zeros((len(block.i), rows.shape[1], columns.shape[1]))
            here = forward >= 0
            values[here] = matrices[
                forward[here, None, None], rows[here, :, None], columns[here, None, :]
            ]
            there = ~here & (backward >= 0)
            values[there] = matrices[
                backward[there, None, None], columns[there, None, :], rows[there, :, None]
            ]
            result[key] = values
        return result

    def _orbitals(self, number: int, atom) -> Int[np.ndarray, "pairs k"]:
        return self._start[atom][:, None] + np.arange(self._basis[number].n_orbitals)

    def _find(self, cell_offset: Int[np.ndarray, "pairs 3"]) -> Int[np.ndarray, " pairs"]:
        inside = (np.abs(cell_offset) <= self._reach).all(axis=1)
        found = self._index[tuple(np.where(inside[:, None], cell_offset + self._reach, 0).T)]
        return np.where(inside, found, -1)
