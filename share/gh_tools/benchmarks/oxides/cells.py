"""Training cells of the amorphous oxides and the interface, as an extended XYZ file.

    python cells.py sio2 -n 5 --molecules 8 --seed 3 > cells.xyz

The recipes sio2 and hfo2 pack cubes, and the edge of a cube is a number that a model can learn in the place of the
atoms around. These cells differ in aspect and angles, too: edges drawn from about 0.75 to 1.35 times
the cube's, packed by Packmol, and then sheared by up to 0.2, which keeps the volume. The interface is the recipe's, its shape that of its size. Names carry the batch's seed, so that batches can be joined.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from ase import Atoms
from ase.io import write

from gh_tools.errors import DataError
from gh_tools.structures.generate import build_one
from gh_tools.structures.geometry import closest_approach
from gh_tools.structures.packing import draw_density, pack, volume
from gh_tools.structures.recipes import hfo2, sio2
from gh_tools.structures.registry import get_recipe

# Logarithm of an edge over the cube's, and displacement of one face over the distance of the faces.
STRETCH, SHEAR = 0.25, 0.2
# Below which sheared molecules are drawn again, as the recipes do.
MINIMUM_DISTANCE = 0.6


def oxide(recipe, molecule: Atoms, molecules: int, rng: np.random.Generator) -> Atoms:
    """Return molecules packed at a random density in a cell of random shape.

    Args:
        recipe: whose density and radii hold.
        molecule: what is packed.
        molecules: how many.
        rng: draws the density, the cell and the positions.
    """
    config = recipe.config(molecules=molecules)
    radii = {symbol: config.radius(symbol) for symbol in set(molecule.symbols)}
    while True:
        stretch = rng.uniform(-STRETCH, STRETCH, 3)
        edges = np.exp(stretch - stretch.mean())
        density = draw_density(config, rng)
        edges *= volume(molecule, molecules, density) ** (1 / 3)
        try:
            atoms = pack(molecule, molecules, edges, radii, rng)
        except DataError:  # too dense for this shape
            continue
        shear = np.eye(3) + np.tril(rng.uniform(-SHEAR, SHEAR, (3, 3)), -1)
        atoms.set_cell(np.diag(edges) @ shear, scale_atoms=True)
        atoms.wrap()
        if closest_approach(atoms)[0] >= MINIMUM_DISTANCE:
            atoms.info = {"molecules": molecules}
            return atoms


def interface(options: dict, seed: int, index: int) -> Atoms:
    """Return structure number ``index`` of the recipe hfo2-wse2, with its columns as numbers of info."""
    recipe = get_recipe("hfo2-wse2")
    sample = build_one(recipe, recipe.config(**options), seed, index)
    sample.atoms.info = {name: float(column.value) for name, column in sample.columns.items()}
    return sample.atoms


def main() -> None:
    """Write the cells that the command line asks for to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=["sio2", "hfo2", "hfo2-wse2"])
    parser.add_argument("-n", type=int, default=1)
    parser.add_argument("--molecules", type=int, required=True)
    parser.add_argument("--size", type=int, nargs=2, help="of the interface")
    parser.add_argument("--nickel", type=float, default=0.0)
    parser.add_argument("--vacancies", type=float, default=0.0, help="of Se, on average")
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    cells = []
    for index in range(asked.n):
        rng = np.random.default_rng(np.random.SeedSequence(asked.seed, spawn_key=(index,)))
        if asked.system == "hfo2-wse2":
            options = {
                "molecules": asked.molecules,
                "size": tuple(asked.size),
                "nickel": asked.nickel,
                "se_vacancies": asked.vacancies,
            }
            atoms = interface(options, asked.seed, index)
        else:
            module = {"sio2": sio2, "hfo2": hfo2}[asked.system]
            atoms = oxide(module.RECIPE, module.molecule(), asked.molecules, rng)
        atoms.info["name"] = f"{asked.system}-{asked.seed}-{index}"
        cells.append(atoms)
    write(sys.stdout, cells, format="extxyz")


if __name__ == "__main__":
    main()
