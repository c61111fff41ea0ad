"""Distances and densities of a structure."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float
from scipy.constants import atomic_mass

from gh_tools.orbitals.geometry import periodic_area
from gh_tools.orbitals.pairs import directed_pairs
from gh_tools.structures.recipe import Quantity


def closest_approach(atoms: Atoms) -> tuple[float, int, int, float]:
    """Find the two atoms that are closest, measured by the sum of their covalent radii.

    Periodic images count, those of an atom itself included. Distances beyond the sum of the two
    largest radii are not looked at.

    Args:
        atoms: the structure, N atoms, positions in Å.

    Returns:
        Distance over the sum of radii (infinite if no two atoms are near), the indices of the two
        atoms, and their distance in Å.
    """
    radii = covalent_radii[atoms.numbers]
    i, j, _, vector = directed_pairs(atoms, 2 * float(radii.max()))
    if len(i) == 0:
        return np.inf, 0, 0, np.inf
    distance = np.linalg.norm(vector, axis=1)
    ratio = distance / (radii[i] + radii[j])
    nearest = int(np.argmin(ratio))
    return float(ratio[nearest]), int(i[nearest]), int(j[nearest]), float(distance[nearest])


def empty_heights(atoms: Atoms) -> Float[np.ndarray, "3"]:
    """Return the height of the largest layer without atoms along each direction, in Å.

    Heights are measured between planes through atoms, perpendicular to the other two cell vectors, periodic images
    included.

    Args:
        atoms: the structure; all three cell vectors are needed.

    Returns:
        One height a cell vector; zero along directions that are not periodic.
    """
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    scaled = np.sort(atoms.get_scaled_positions() % 1.0, axis=0)
    gaps = np.diff(scaled, axis=0, append=scaled[:1] + 1.0).max(axis=0)
    return np.where(atoms.pbc, gaps * heights, 0.0)


def geometry_columns(atoms: Atoms) -> dict[str, Quantity]:
    """Return the columns that follow from any structure: atom count and density.

    Args:
        atoms: the structure; lengths in Å.

    Returns:
        ``n_atoms``; ``density`` in g/cm^3 (mass over cell volume) if it is periodic in three
        directions; ``areal_density`` in mg/m^2 (mass over the area of the two periodic cell
        vectors) if in two.
    """
    columns = {"n_atoms": Quantity(len(atoms), "", "number of atoms")}
    mass = float(atoms.get_masses().sum()) * atomic_mass  # kg
    if atoms.pbc.all():
        density = mass * 1e3 / (atoms.get_volume() * 1e-24)
        columns["density"] = Quantity(density, "g/cm^3", "mass over cell volume")
    elif atoms.pbc.sum() == 2:
        density = mass * 1e6 / (periodic_area(atoms) * 1e-20)
        columns["areal_density"] = Quantity(density, "mg/m^2", "mass over area of the cell")
    return columns
