"""Atoms and molecules above the surface of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.structures.modify import Amount, draw_count
from gh_tools.structures.recipe import Quantity

# Å. Atoms that are less apart in height are of one plane, as those of a buckled or displaced layer.
_ONE_PLANE = 0.5


def adsorbate(name: str) -> Atoms:
    """Return an atom or a molecule by name.

    Args:
        name: of an element, or of a molecule of the g2 set (Curtiss et al., J. Chem. Phys. 106, 1063 (1997)) as ASE has it.

    Raises:
        ValueError: there is none of that name.
    """
    from ase.build import molecule
    from ase.collections import g2

    if name in atomic_numbers and name != "X":
        return Atoms(name)
    if name in g2.names:
        return molecule(name)
    raise ValueError(
        f"there is no element {name!r}, nor a molecule of that name in ASE's g2 set, as are H2O, CO2, NH3 and C6H6"
    )


def adsorb(
    atoms: Atoms, amounts: Mapping[str, Amount], height: float, rng: np.random.Generator
) -> dict[str, Quantity]:
    """Put atoms or molecules above atoms of a layer's upper surface, drawn uniformly, in random orientation.

    An adsorbate's lowest atom is straight above the surface's. A site takes one adsorbate. The cell grows along the
    direction that is not periodic, so that the empty space above is as large as before.

    Args:
        atoms: changed in place; the adsorbates are its last atoms.
        amounts: how many by name, one after the other; a rate is that of the sites that are left, which are all atoms of
            the surface at first, and a Poisson distribution takes all of them at most.
        height: of an adsorbate's lowest atom above the surface's atom, in Å.
        rng: where numbers, sites and orientations come from.

    Returns:
        For each adsorbate columns of the number, and of the number over that of the surface's atoms.

    Raises:
        DataError: the structure is no layer, or there are fewer sites.
    """
    normal = _outward(atoms)
    free = sites = surface_atoms(atoms, normal)
    heights = atoms.positions @ normal
    columns = {}
    for name, amount in amounts.items():
        count = draw_count(amount, len(free), rng, f"adsorption of {name}")
        for site in rng.choice(free, size=count, replace=False):
            added = adsorbate(name)
            _rotate(added, rng)
            lowest = added.positions[np.argmin(added.positions @ normal)]
            added.positions += atoms.positions[site] + height * normal - lowest
            atoms.extend(added)
            free = free[free != site]
        key = re.sub(r"\W+", "_", name).lower()
        coverage = Quantity(count / len(sites), "", f"adsorbed {name} over atoms of the surface")
        columns[f"{key}_adsorbed"] = Quantity(count, "", f"number of adsorbed {name}")
        columns[f"{key}_coverage"] = coverage
    across = np.flatnonzero(~atoms.pbc)[0]
    depth = atoms.cell.array[across] @ normal
    if depth > 0:
        risen = float((atoms.positions @ normal).max() - heights.max())
        cell = atoms.cell.array.copy()
        cell[across] *= 1 + max(risen, 0.0) / depth
        atoms.set_cell(cell)
    return columns


def surface_atoms(atoms: Atoms, normal: Float[np.ndarray, "3"]) -> Int[np.ndarray, " sites"]:
    """Return the indices of the atoms of a layer's surface.

    Those are of it that no atom covers: none that is higher, and whose distance along the layer is less than the sum
    of both covalent radii.

    Args:
        atoms: the layer.
        normal: unit vector out of the surface.
    """
    heights = atoms.positions @ normal
    flat = atoms.copy()
    flat.positions -= np.outer(heights, normal)
    below, above = neighbor_list("ij", flat, covalent_radii[atoms.numbers])
    covered = below[heights[above] > heights[below] + _ONE_PLANE]
    return np.setdiff1d(np.arange(len(atoms)), covered)


def _outward(atoms: Atoms) -> Float[np.ndarray, "3"]:
    """Return the unit vector out of the upper surface of a layer."""
    if atoms.pbc.sum() != 2:
        raise DataError(
            f"adsorb puts atoms above a layer, which is periodic in two directions, and this structure has pbc "
            f"{atoms.pbc.tolist()}; set pbc, as in pbc=[true,true,false], or leave adsorb out"
        )
    across = int(np.flatnonzero(~atoms.pbc)[0])
    vectors = atoms.cell.array
    normal = np.cross(vectors[(across + 1) % 3], vectors[(across + 2) % 3])
    normal /= np.linalg.norm(normal)
    return -normal if vectors[across] @ normal < 0 else normal


def _rotate(atoms: Atoms, rng: np.random.Generator) -> None:
    """Rotate a molecule by a rotation that is drawn uniformly."""
    from scipy.spatial.transform import Rotation

    quaternion = rng.normal(
        size=4
    )  # of a direction that is uniform on the sphere of unit quaternions
    atoms.positions = Rotation.from_quat(quaternion).apply(atoms.positions)
