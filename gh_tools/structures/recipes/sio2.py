"""Amorphous SiO2, after section 4.1.1 of arXiv:2506.10298, whose constants are the defaults.

The paper gives neither the time step of its annealing nor its thermostat: those of HfO2 stand here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from gh_tools.structures.packing import PackingConfig, bent, packed_bulk
from gh_tools.structures.recipe import BuiltStructure, Recipe
from gh_tools.structures.schedule import AnnealConfig


class SiO2Anneal(AnnealConfig):
    """The annealing of amorphous SiO2."""

    first_fmax: PositiveFloat | None = 5.0
    """Largest force at which the first optimisation (LBFGS) ends, in eV/Å; without it there is none."""
    temperatures: tuple[PositiveFloat, ...] = tuple(range(2300, 999, -100))
    """Temperatures one after the other, in K; with none there is no dynamics."""
    steps: tuple[PositiveInt, ...] = (1500,)
    """Time steps at each temperature; a single number holds for all. The default is 3 ps."""
    final_fmax: PositiveFloat | None = 0.01
    """Largest force at which the last optimisation ends, in eV/Å; without it there is none."""


class SiO2Config(PackingConfig):
    """Options of the recipe sio2."""

    recipe: Literal["sio2"] = "sio2"
    """Name of the recipe."""
    molecules: PositiveInt = 105
    """Number of SiO2 molecules. The default fills a cube of 16.8 Å, twice the reach of the basis,
    at 2.2 g/cm³."""
    density: tuple[PositiveFloat, PositiveFloat] = (2.025, 2.4)
    """Limits of the random, uniformly distributed mass density, in g/cm³."""
    radii: dict[str, PositiveFloat] = Field({"Si": 1.1, "O": 0.9})
    """Atoms of different molecules keep at least the sum of their radii apart, in Å."""
    anneal: SiO2Anneal = SiO2Anneal()
    """The annealing."""


def molecule() -> Atoms:
    """Return SiO2 as a linear molecule."""
    return bent("Si", "O", 1.55, 180.0)


def build(config: SiO2Config, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Pack molecules at a random density."""
    return packed_bulk(molecule(), config, rng)


RECIPE = Recipe("sio2", "amorphous SiO2: packed molecules, to be annealed", SiO2Config, build)
