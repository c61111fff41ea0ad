"""Amorphous HfO2, after section 4.1.1 of arXiv:2506.10298, whose constants are the defaults."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from gh_tools.structures.packing import PackingConfig, bent, packed_bulk
from gh_tools.structures.recipe import BuiltStructure, Recipe


class HfO2Config(PackingConfig):
    """Options of the recipe hfo2."""

    recipe: Literal["hfo2"] = "hfo2"
    """Name of the recipe."""
    molecules: PositiveInt = 84
    """Number of HfO2 molecules. The default fills a cube of 16 Å, twice the reach of the basis,
    at 7 g/cm³."""
    density: tuple[PositiveFloat, PositiveFloat] = (6.0, 8.0)
    """Limits of the random, uniformly distributed mass density, in g/cm³."""
    radii: dict[str, PositiveFloat] = Field({"Hf": 1.4, "O": 1.0})
    """Atoms of different molecules keep at least the sum of their radii apart, in Å."""


def molecule() -> Atoms:
    """Return HfO2 as a bent molecule."""
    return bent("Hf", "O", 1.8, 109.0)


def build(config: HfO2Config, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Pack molecules at a random density."""
    return packed_bulk(molecule(), config, rng)


RECIPE = Recipe("hfo2", "amorphous HfO2: packed molecules, to be annealed", HfO2Config, build)
