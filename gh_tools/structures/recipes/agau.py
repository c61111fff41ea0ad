"""Solid solutions of silver and gold, after section 4.1.1 of arXiv:2506.10298.

The paper's constants are the defaults. It does not give the annealing's steps of temperature, nor
how long each lasts, nor the law of its adaptive time step; see the schedule for what stands here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase.build import bulk
from pydantic import Field, PositiveFloat, PositiveInt

from gh_tools.structures.modify import Poisson, rattle, replace_atoms
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe, RecipeConfig
from gh_tools.structures.schedule import AnnealConfig
from gh_tools.structures.supercells import BulkSize, Limits, resized


class AgAuAnneal(AnnealConfig):
    """The annealing of silver-gold alloys."""

    first_fmax: PositiveFloat | None = 0.5
    """Largest force at which the first optimisation (LBFGS) ends, in eV/Å; without it there is none."""
    relax_cell: bool = True
    """Whether the first optimisation scales the cell, too; its shape stays."""
    temperatures: tuple[PositiveFloat, ...] = tuple(range(1600, 699, -100))
    """Temperatures one after the other, in K; with none there is no dynamics."""
    steps: tuple[PositiveInt, ...] = (500,)
    """Time steps at each temperature; a single number holds for all."""
    time_step: PositiveFloat = 10.0
    """Time step in fs."""
    largest_move: PositiveFloat | None = 0.08
    """Way in Å that an atom almost never exceeds in one step. Where given, the time step follows
    from the temperature and the lightest atom, and time_step is its upper limit."""


class AgAuConfig(RecipeConfig):
    """Options of the recipe agau."""

    recipe: Literal["agau"] = "agau"
    """Name of the recipe."""
    size: BulkSize = (3, 3, 3)
    """Number of unit cells along the three cell vectors, or "varied": a compact supercell of random shape for each structure, as training sets need."""
    cells: Limits = (3, 7)
    """Least and largest number of unit cells in a varied supercell."""
    cubic: bool = True
    """Count in cubic cells of 4 atoms, not in primitive ones of 1."""
    lattice_constant: PositiveFloat = 4.09
    """Edge of the cubic cell in Å; the default is that of silver."""
    gold: float = Field(0.5, ge=0, le=1)
    """Mean number of gold atoms (Poisson distributed) over the number of sites."""
    rattle: float = Field(0.1, ge=0)
    """Standard deviation of each component of the random displacements, in Å. They stand for
    thermal motion where structures are not annealed."""
    anneal: AgAuAnneal = AgAuAnneal()
    """The annealing."""


def build(config: AgAuConfig, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Make one random alloy; shape, gold atoms and displacements are drawn in this order."""
    cell = bulk("Ag", "fcc", a=config.lattice_constant, cubic=config.cubic)
    atoms, _ = resized(cell, config.size, config.cells, rng)
    mean = Poisson(poisson=config.gold * len(atoms))
    gold = replace_atoms(atoms, "Ag", "Au", mean, rng)
    rattle(atoms, config.rattle, rng)
    fraction = Quantity(1 - gold / len(atoms), "", "silver atoms over all atoms")
    return BuiltStructure(atoms, {"ag_fraction": fraction})


RECIPE = Recipe("agau", "silver-gold alloys: random composition and order", AgAuConfig, build)
