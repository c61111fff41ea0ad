"""What is compared of a structure with those that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from ase.data import atomic_masses, covalent_radii
from jaxtyping import Float, Int

from gh_tools.labels.periodicity import n_periodic
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.pairs import Neighbours

# Two atoms are bonded within this many times the sum of their covalent radii: second neighbours are not.
BOND = 1.25
# Distances below this many times that sum are noted, and a species pair that is new is told below the other: what is
# in between may or may not occur.
NEAR, COMPARED = 2.0, 1.5
# Atoms whose neighbours are listed at once.
_AT_ONCE = 16384

Range = tuple[float, float]
Key = tuple[int, tuple[int, ...]]  # number of periodic directions, and elements ascending


@dataclass(frozen=True)
class Measures:
    """What is compared of one structure.

    Attributes:
        key: number of periodic directions, and elements.
        nearest: of each species pair (ascending), the distance in Å of each atom of the first one to its nearest
            neighbour of the second.
        ratio: the same over the sum of covalent radii.
        nearest_atoms: indices of these atoms.
        neighbours: number of atoms bonded to each.
        density: mass in u over Å^d, d the number of periodic directions; zero of molecules.
        extents: root-mean-square lengths of the bonds along their principal axes, ascending, in Å. They change as the
            lattice is strained, whatever supercell it is in.
        fractions: part of each element among the atoms.
    """

    key: Key
    nearest: dict[SpeciesPair, Float[np.ndarray, " _atoms"]]
    ratio: dict[SpeciesPair, Float[np.ndarray, " _atoms"]]
    nearest_atoms: dict[SpeciesPair, Int[np.ndarray, " _atoms"]]
    neighbours: Int[np.ndarray, " atoms"]
    density: float
    extents: Float[np.ndarray, "3"]
    fractions: dict[int, float]

    @classmethod
    def of(cls, atoms: ase.Atoms) -> Measures:
        """Measure a structure, in memory in proportion to its atoms.

        Args:
            atoms: the structure.
        """
        numbers, radii = atoms.numbers, covalent_radii[atoms.numbers]
        present, counts = np.unique(numbers, return_counts=True)
        cutoff = NEAR * 2 * float(radii.max())
        search = Neighbours(atoms, cutoff)
        # Of each atom the nearest neighbour of each element.
        nearest = np.full((len(atoms), len(present)), np.inf)
        bonded = np.zeros(len(atoms), dtype=np.int64)
        moments = np.zeros((3, 3))
        for start in range(0, len(atoms), _AT_ONCE):
            some = np.arange(start, min(start + _AT_ONCE, len(atoms)))
            i, j, _, vector = search.of(some, cutoff)
            distance = np.linalg.norm(vector, axis=1)
            reach = distance / (radii[i] + radii[j])
            near = reach < NEAR
            place = i[near], np.searchsorted(present, numbers[j[near]])
            np.minimum.at(nearest, place, distance[near])
            bonds = vector[reach < BOND]
            bonded += np.bincount(i[reach < BOND], minlength=len(atoms))
            moments += bonds.T @ bonds
        found: tuple[dict, dict, dict] = ({}, {}, {})
        for column, b in enumerate(present.tolist()):
            for a in present[: column + 1].tolist():
                rows = np.flatnonzero((numbers == a) & np.isfinite(nearest[:, column]))
                if len(rows):
                    radius = covalent_radii[a] + covalent_radii[b]
                    distances = nearest[rows, column]
                    for part, values in zip(
                        found, (distances, distances / radius, rows), strict=True
                    ):
                        part[a, b] = values
        kind = n_periodic(atoms)
        periodic = atoms.cell.array[atoms.pbc]
        size = float(np.sqrt(np.linalg.det(periodic @ periodic.T))) if kind else np.inf
        return cls(
            (kind, tuple(present.tolist())),
            *found,
            bonded,
            float(atomic_masses[numbers].sum() / size),
            np.sqrt(np.maximum(np.linalg.eigvalsh(moments / max(bonded.sum(), 1)), 0.0)),
            dict(zip(present.tolist(), (counts / len(atoms)).tolist(), strict=True)),
        )
