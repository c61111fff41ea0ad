"""States in space: the values of Bloch sums of basis functions at points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int, Shaped

from gh_tools.dft.two_center import solid_harmonics
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.radial_functions import RadialFunction, radial_functions

# Points that are worked on at once: matrices of them by orbitals stay below some 100 MB.
_CHUNK = 8192


@dataclass(frozen=True)
class WeightedStates:
    """States of one spin and k-point whose densities are summed.

    Attributes:
        k: in units of the reciprocal cell's vectors.
        vectors: S-normalised eigenvectors, as columns.
        weights: of each of them.
    """

    k: Float[np.ndarray, "3"]
    vectors: Shaped[np.ndarray, "orbitals states"]
    weights: Float[np.ndarray, " states"]


def density_at(
    hamiltonian: Hamiltonian,
    states: Sequence[WeightedStates],
    points: Float[np.ndarray, "points 3"],
) -> Iterator[Float[np.ndarray, " chunk"]]:
    """Yield Σ w |ψ(r)|² of points, some thousands at a time, in 1/Å³.

    ψ(r) = Σ_μ c_μ Σ_R exp(2πi k·R) φ_μ(r - R - τ_μ), with the basis functions φ = R_l(r) Y_lm of the basis table. Of PAW
    setups they are the smooth ones, as GPAW's pseudo wave functions: within the augmentation spheres, some 1 Å about the nuclei,
    the true density is another, and the integral of |ψ|² is not c†S c, but that without the corrections of S. Of spinors
    both components are summed.

    Args:
        hamiltonian: whose eigenvectors they are.
        states: the states.
        points: Cartesian, Å.

    Raises:
        DataError: the basis table has no radial functions of an element.
    """
    functions = BasisFunctions(hamiltonian)
    for start in range(0, len(points), _CHUNK):
        some = points[start : start + _CHUNK]
        values, cells, cell = functions.at(some)
        density = np.zeros(len(some))
        for state in states:
            phase = np.exp(2j * np.pi * (cells @ state.k))[cell]
            bloch = scipy.sparse.csr_array(
                (values.data * phase, (values.row, values.col)), shape=values.shape
            )
            for component in functions.components(state.vectors):
                wave = bloch @ component
                density += (wave.real**2 + wave.imag**2) @ state.weights
        yield density


class BasisFunctions:
    """The basis functions of a structure, to be evaluated at points."""

    def __init__(self, hamiltonian: Hamiltonian):
        """Read the radial functions; raises `DataError` where there are none."""
        self._hamiltonian = hamiltonian
        atoms, self._basis = hamiltonian.atoms, hamiltonian.basis
        self._radial: dict[int, list[RadialFunction]] = {
            z: radial_functions(self._basis[z]) for z in np.unique(atoms.numbers).tolist()
        }
        # Orbitals of one spin.
        self._start = self._basis.orbital_ptr(atoms.numbers)

    def components(
        self, vectors: Shaped[np.ndarray, "rows states"]
    ) -> list[Shaped[np.ndarray, "orbitals states"]]:
        """Return the spin components of eigenvectors, one where they are no spinors."""
        if not self._hamiltonian.spinor:
            return [vectors]
        counts = np.diff(self._start)
        up = np.arange(self._start[-1]) + np.repeat(self._start[:-1], counts)
        return [vectors[up], vectors[up + np.repeat(counts, counts)]]

    def reach(self, number: int) -> float:
        """Return the radius in Å beyond which all orbitals of an element vanish."""
        return max(function.r[-1] for function in self._radial[number])

    def at(
        self, points: Float[np.ndarray, "points 3"]
    ) -> tuple[scipy.sparse.coo_array, Int[np.ndarray, "cells 3"], Int[np.ndarray, " values"]]:
        """Return values of all periodic images of the functions at points.

        Returns:
            Values by point and orbital, in Å^-3/2, an entry for each image; the lattice vectors R of images in units of
            the cell's; and the index of R of each entry.
        """
        atoms = self._hamiltonian.atoms
        cell = atoms.cell.complete().array
        middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
        radius = float(np.linalg.norm(points - middle, axis=1).max())
        rows, columns, entries, which = [], [], [], []
        cells: dict[tuple, int] = {}
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        for atom, (z, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)):
            reach = self.reach(int(z))
            centre = (middle - position) @ np.linalg.inv(cell)
            far = np.where(atoms.pbc, (radius + reach) / heights, 0.0)
            low = np.where(atoms.pbc, np.ceil(centre - far), 0).astype(int)
            high = np.where(atoms.pbc, np.floor(centre + far), 0).astype(int)
            for image in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
                there = position + np.array(image) @ cell
                if np.linalg.norm(there - middle) > radius + reach:
                    continue
                vector = points - there
                near = np.flatnonzero(np.einsum("ij,ij->i", vector, vector) < reach**2)
                if len(near) == 0:
                    continue
                values = self._values(int(z), vector[near])
                orbitals = self._start[atom] + np.arange(values.shape[1])
                rows.append(np.repeat(near, len(orbitals)))
                columns.append(np.tile(orbitals, len(near)))
                entries.append(values.ravel())
                which.append(np.full(values.size, cells.setdefault(image, len(cells))))
        shape = (len(points), int(self._start[-1]))
        if not rows:
            nothing = np.zeros(0, dtype=int)
            return scipy.sparse.coo_array(shape), np.zeros((1, 3), dtype=int), nothing
        found = scipy.sparse.coo_array(
            (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=shape
        )
        return found, np.array(list(cells), dtype=int).reshape(-1, 3), np.concatenate(which)

    def _values(
        self, number: int, vector: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, "points orbitals"]:
        functions = self._radial[number]
        harmonics = solid_harmonics(max(f.l for f in functions), vector)
        distance = np.linalg.norm(vector, axis=1)
        return np.concatenate(
            [f.at(distance)[:, None] * harmonics[:, f.l**2 : (f.l + 1) ** 2] for f in functions],
            axis=1,
        )


def longest_reach(basis: Basis, numbers: Int[np.ndarray, " atoms"]) -> float:
    """Return the radius in Å beyond which the orbitals of all of some elements vanish."""
    return max(
        function.r[-1]
        for z in np.unique(numbers).tolist()
        for function in radial_functions(basis[z])
    )
