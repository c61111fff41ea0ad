"""The cell that a run is done in: reduced where it repeats, and a box about the atoms where it does not."""

from __future__ import annotations

import ase
import numpy as np

from gh_tools.orbitals.lattice import reduced_basis


def with_reduced_cell(atoms: ase.Atoms) -> ase.Atoms:
    """Return the same atoms in the reduced cell of their lattice; see `orbitals.lattice.reduced_basis`.

    Densities are interpolated along the cell vectors between points of a grid that lie the farther apart, the
    more oblique the cell is: in silicon, energies are off by 1 eV where two vectors enclose 19°. And
    vectors along directions that are not periodic must be orthogonal to all others for GPAW's Poisson solver.
    Cells that need neither change are left as they are.
    """
    atoms = atoms.copy()
    atoms.cell = reduced_basis(atoms.cell.array, atoms.pbc)[0]
    return atoms


def boxed(atoms: ase.Atoms, vacuum: float) -> ase.Atoms:
    """Return a copy in the middle of a box with at least ``vacuum`` Å around the atoms.

    Only directions that are not periodic matter; a cell that gives less along them, or none, is enlarged. Where
    the atoms stand in a larger one must not count, but would: the potential is zero on the faces, which a
    dipole that is nearer to one of them than to the opposite one notices (the eigenvalues of LiF move by 27 meV
    where it is 4 Å beside the middle of 20 Å), and the solver compensates a monopole in the middle.
    """
    atoms = atoms.copy()
    cell = atoms.cell.complete()
    normal = cell.reciprocal().array
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    along = atoms.positions @ normal.T
    height = np.einsum("cv,cv->c", cell.array, normal)
    small = ~atoms.pbc & ((height - np.ptp(along, axis=0) < 2 * vacuum) | ~atoms.cell.any(axis=1))
    atoms.center(vacuum=vacuum, axis=np.flatnonzero(small).tolist())
    atoms.center(axis=np.flatnonzero(~atoms.pbc & ~small).tolist())
    return atoms
