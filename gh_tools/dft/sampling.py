"""K-points of a run."""

from __future__ import annotations

import ase
import numpy as np
from ase.calculators.calculator import kpts2sizeandoffsets

from gh_tools.dft.config import LabelConfig
from gh_tools.dft.run_cell import with_reduced_cell
from gh_tools.errors import DataError
from gh_tools.orbitals.lattice import change_of_basis

# GPAW looks at all points before it takes symmetry into account; no calculation comes near.
_MOST_KPOINTS = 10**6


def kpoint_sampling(atoms: ase.Atoms, config: LabelConfig) -> dict:
    """Return the k-points of a calculation in the reduced cell, as GPAW's argument ``kpts``.

    Args:
        atoms: the structure in its own cell, for which ``config.kpts`` is meant; ``config.kpoint_density``
            is meant for the reduced cell.
        config: the calculation.

    Returns:
        ``size`` and ``gamma`` of a Γ-centred grid; 1 along directions that are not periodic. Where the
        points of the grid ``config.kpts`` are no such grid of the reduced cell, or are shifted, ``kpts``: all of them
        in units of its reciprocal vectors, which GPAW then reduces by symmetry as it does a grid. Those opposite to
        shifted ones are among them. The mean-value point, (¼, ¼, ¼), is that of A. Baldereschi, Phys. Rev. B 7, 5212
        (1973).

    Raises:
        DataError: there are more than a million points.
    """
    pbc, reduced = atoms.pbc, with_reduced_cell(atoms)
    if config.kpts is None:
        size, _ = kpts2sizeandoffsets(density=config.kpoint_density, gamma=True, atoms=reduced)
        if config.kpts_shift and pbc.any():
            return _shifted(np.where(pbc, size, 1), config.kpts_shift * pbc, np.eye(3))
        return _grid(size, pbc)
    size = np.where(pbc, config.kpts, 1)
    _check_kpoints(size)
    change = change_of_basis(atoms.cell.array, reduced.cell.array, pbc)
    if config.kpts_shift and pbc.any():
        return _shifted(size, config.kpts_shift * pbc, change)
    # k·a of a vector a = Σ U_i a_i is Σ U_i (k·a_i). In units of 1/unit, so that all are integers.
    unit = np.lcm.reduce(size)
    points = np.indices(tuple(size.tolist())).reshape(3, -1).T * (unit // size) @ change.T % unit
    projected = unit // np.gcd.reduce([*points, np.full(3, unit)])
    if projected.prod() == len(points):  # the points are all those that have their components
        return _grid(projected, pbc)
    points = np.where(2 * points > unit, points - unit, points)
    return {"kpts": points[np.lexsort(points.T)] / unit}


def _grid(size, pbc) -> dict:
    size = np.where(pbc, size, 1)
    _check_kpoints(size)
    return {"size": tuple(size.tolist()), "gamma": True}


def _shifted(size: np.ndarray, shift: np.ndarray, change: np.ndarray) -> dict:
    """Return the points of a grid that is shifted by parts of its steps, and those opposite to them."""
    _check_kpoints(2 * size)
    points = (np.indices(tuple(size.tolist())).reshape(3, -1).T + shift) / size @ change.T
    points = np.concatenate([points, -points])
    # Half a step leads to the same points on both sides.
    points = np.unique(np.round(points - np.round(points - 1e-9), 12), axis=0)
    return {"kpts": points}


def _check_kpoints(size) -> None:
    if np.prod(size, dtype=np.float64) > _MOST_KPOINTS:
        grid = "x".join(map(str, size))
        raise DataError(
            f"{grid} k-points are more than {_MOST_KPOINTS:.0g}; lower kpts or kpoint_density, or mend the cell "
            "if it is smaller than that of a crystal"
        )
