"""WSe2 monolayers with strain, Se vacancies and thermal displacements.

After section 4.1.1 of arXiv:2506.10298, whose constants are the defaults; in place of its annealing
the atoms are displaced at random.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import mx2
from pydantic import Field, PositiveFloat

from gh_tools.orbitals.geometry import periodic_area
from gh_tools.structures.modify import Poisson, make_vacancies, rattle, strain
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe, RecipeConfig
from gh_tools.structures.supercells import LayerSize, Limits, resized
from gh_tools.units import CM


class WSe2Config(RecipeConfig):
    """Options of the recipe wse2."""

    recipe: Literal["wse2"] = "wse2"
    """Name of the recipe."""
    size: LayerSize = (6, 3)
    """Number of unit cells along the two in-plane cell vectors, or "varied": a compact supercell of random shape for each structure, as training sets need."""
    cells: Limits = (3, 7)
    """Least and largest number of unit cells in a varied supercell."""
    orthogonal: bool = True
    """Count in rectangular cells of 6 atoms (a by √3 a), not in hexagonal ones of 3."""
    lattice_constant: PositiveFloat = 3.32
    """Hexagonal lattice constant before strain, in Å."""
    thickness: PositiveFloat = 3.2
    """Vertical distance between the two Se planes, in Å."""
    vacuum: PositiveFloat = 6.0
    """Empty space below and above the layer, in Å. The default clears the reach of the basis
    functions of Se (3.9 Å) and of W (4.8 Å, from the middle plane); 2.3 is the paper's
    distance for stacking on an oxide."""
    strain: float = Field(0.02, ge=0, lt=1)
    """Limit of the uniform random strain of x and of y, as a fraction."""
    se_vacancies: float = Field(1.0, ge=0)
    """Mean number of Se vacancies in a structure (Poisson distributed)."""
    rattle: float = Field(0.08, ge=0)
    """Standard deviation of each component of the random displacements, in Å. The default is near
    the thermal amplitude of the heavy atoms at room temperature."""


def layer(config: WSe2Config, rng: np.random.Generator) -> Atoms:
    """Return the perfect layer, periodic in x and y, in the middle of its cell along z; its shape may be drawn."""
    atoms = mx2("WSe2", a=config.lattice_constant, thickness=config.thickness)
    if config.orthogonal:
        # mx2 is hexagonal: the rectangle of a1 and a1 + 2 a2 holds two formula units.
        atoms = atoms.repeat((1, 2, 1))
        atoms.set_cell([config.lattice_constant, 3**0.5 * config.lattice_constant, 0])
        atoms.wrap()
    atoms, _ = resized(atoms, config.size, config.cells, rng)
    atoms.center(config.vacuum, axis=2)
    return atoms


def random_layer(config: WSe2Config, rng: np.random.Generator) -> tuple[Atoms, dict[str, Quantity]]:
    """Make one random layer, with its columns; shape, strain, vacancies and displacements are drawn."""
    atoms = layer(config, rng)
    limit = config.strain
    columns = strain(atoms, np.append(rng.uniform(-limit, limit, 2), 0.0))
    columns |= make_vacancies(atoms, "Se", Poisson(poisson=config.se_vacancies), rng)
    rattle(atoms, config.rattle, rng)
    areal = columns["se_vacancies"].value / periodic_area(atoms) * CM**2
    columns["se_vacancy_density"] = Quantity(areal, "1/cm^2", "Se vacancies over area")
    return atoms, columns


def build(config: WSe2Config, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Make one random layer."""
    return BuiltStructure(*random_layer(config, rng))


RECIPE = Recipe("wse2", "WSe2 monolayers: strain, Se vacancies, displacements", WSe2Config, build)
