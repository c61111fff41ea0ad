"""Which k-points a spectrum is sampled on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from ase.calculators.calculator import kptdensity2monkhorstpack
from jaxtyping import Bool, Float

from gh_tools.errors import UsageError
from gh_tools.orbitals.lattice import kpoints_in_cell, reduced_basis

# Deviation of lengths and cosines up to which a strained plane counts as hexagonal.
_STRAINED = 0.08


@dataclass(frozen=True)
class KPoints:
    """K-points in units of the reciprocal lattice vectors, with weights that sum to one.

    Attributes:
        points: fractional coordinates [K, 3].
        weights: weight of each point [K].
    """

    points: Float[np.ndarray, "kpoints 3"]
    weights: Float[np.ndarray, " kpoints"]

    def __len__(self) -> int:
        return len(self.points)


def monkhorst_pack(grid: Sequence[float], *, time_reversal: bool = True) -> KPoints:
    """Return the Γ-centred Monkhorst-Pack grid, halved by time reversal.

    H(R) is real, so H(-k) is the complex conjugate of H(k) and has the same eigenvalues and
    Mulliken weights: of k and -k one is kept, with the weight of both.

    Args:
        grid: number of points along each reciprocal lattice vector, at least 1.
        time_reversal: False keeps both k and -k.

    Returns:
        The points, Γ first, within (-1/2, 1/2].

    Raises:
        UsageError: if the grid is not three positive whole numbers.
    """
    if len(grid) != 3 or any(int(count) != count or count < 1 for count in grid):
        raise UsageError(
            f"kpts: expected three positive whole numbers, found {tuple(grid)}; "
            "give for example 6 6 1"
        )
    counts = np.asarray(grid, dtype=int)
    index = np.indices(tuple(counts.tolist())).reshape(3, -1).T
    multiplicity = np.ones(len(index))
    if time_reversal:
        partner = np.ravel_multi_index(tuple((-index % counts).T), counts)
        own = np.arange(len(index))
        multiplicity = np.where(partner == own, 1.0, 2.0)[own <= partner]
        index = index[own <= partner]
    folded = np.where(2 * index > counts, index - counts, index)
    return KPoints(folded / counts, multiplicity / counts.prod())


def grid_for_density(atoms: ase.Atoms, density: float) -> tuple[int, int, int]:
    """Return the smallest grid that has a k-point density along each periodic direction.

    Args:
        atoms: structure; directions that are not periodic get one point.
        density: k-points per Å⁻¹ of the reciprocal lattice vectors (2π included), as in ASE
            and GPAW.

    Returns:
        Number of points along each reciprocal lattice vector.

    Raises:
        UsageError: if the density is not positive.
    """
    if not density > 0:
        raise UsageError(
            f"kpoint_density: expected a positive number of Å (points per Å⁻¹), found {density}"
        )
    if not atoms.pbc.any():
        return (1, 1, 1)
    a, b, c = (int(n) for n in kptdensity2monkhorstpack(atoms, density, even=False))
    return a, b, c


def reduced_grid(atoms: ase.Atoms, density: float) -> tuple[int, int, int]:
    """Return the grid of the reduced cell with at least a k-point density that suits its lattice.

    In a hexagonal plane, band edges often are at Γ, K or M: grids of four and more points become multiples of six, which
    hold all of them. In large cells, where fewer points do, special points are folded together anyway.

    Args:
        atoms: structure; directions that are not periodic get one point.
        density: k-points per Å⁻¹, see `grid_for_density`.

    Returns:
        Number of points along each reciprocal vector of the reduced cell.
    """
    basis, _ = reduced_basis(atoms.cell.array, atoms.pbc)
    counts = list(grid_for_density(ase.Atoms(cell=basis, pbc=atoms.pbc), density))
    plane = _hexagonal_plane(basis, atoms.pbc)
    count = max((counts[axis] for axis in plane), default=0)
    if count >= 4:
        for axis in plane:
            counts[axis] = 6 * math.ceil(count / 6)
    return counts[0], counts[1], counts[2]


def _hexagonal_plane(
    basis: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> tuple[int, ...]:
    """Return which two vectors of a reduced cell span a hexagonal plane, if there are such; strain may bend it a bit.

    A third vector is perpendicular to it, which those of cubic lattices at 60° to each other are not.
    """
    for a, b in itertools.combinations(np.flatnonzero(pbc).tolist(), 2):
        lengths = np.linalg.norm(basis, axis=1)
        cosines = np.abs(basis @ basis.T) / np.outer(lengths, lengths)
        c = 3 - a - b
        if (
            abs(lengths[a] / lengths[b] - 1) < _STRAINED
            and abs(cosines[a, b] - 0.5) < _STRAINED
            and max(cosines[a, c], cosines[b, c]) < _STRAINED
        ):
            return a, b
    return ()


def kpoints_for_density(atoms: ase.Atoms, density: float, *, time_reversal: bool = True) -> KPoints:
    """Return the Γ-centred grid of the reduced cell with a k-point density, see `reduced_grid`, halved by time reversal.

    The points are the same for all cells of a lattice, see `gh_tools.orbitals.lattice.reduced_basis`.

    Args:
        atoms: structure; directions that are not periodic get one point.
        density: k-points per Å⁻¹, see `grid_for_density`.
        time_reversal: False keeps both k and -k.

    Returns:
        The points in units of the reciprocal vectors of the structure's own cell, Γ first.

    Raises:
        UsageError: if the density is not positive.
    """
    _, change = reduced_basis(atoms.cell.array, atoms.pbc)
    counts = reduced_grid(atoms, density)
    grid = monkhorst_pack(counts, time_reversal=time_reversal)
    return KPoints(kpoints_in_cell(grid.points, change), grid.weights)
