"""LiTFSI, one molecule, after section 4.1.1 of arXiv:2506.10298.

The paper takes its structures from one trajectory at 100 K: ``gh-build litfsi --anneal xtb --every 2``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from gh_tools.structures.modify import rattle
from gh_tools.structures.recipe import BuiltStructure, Recipe, RecipeConfig
from gh_tools.structures.schedule import AnnealConfig

# A conformer of HTFSI, the two CF3 on opposite sides, its H replaced by Li, as relaxed with GFN2-xTB.
# Element and position in Å.
_CONFORMER = (
    ("N", -0.004, 0.913, -0.004),
    ("S", 1.379, 0.209, -0.181),
    ("C", 1.990, 0.053, 1.585),
    ("O", 1.272, -1.193, -0.549),
    ("O", 2.312, 0.992, -0.894),
    ("F", 1.994, 1.197, 2.251),
    ("F", 1.163, -0.794, 2.223),
    ("F", 3.207, -0.476, 1.640),
    ("S", -1.380, 0.198, 0.180),
    ("C", -1.992, 0.019, -1.586),
    ("O", -1.260, -1.201, 0.557),
    ("O", -2.319, 0.976, 0.891),
    ("F", -2.036, 1.156, -2.260),
    ("F", -1.138, -0.806, -2.219),
    ("F", -3.191, -0.550, -1.635),
    ("Li", 0.010, -2.121, 0.006),
)


class LiTFSIAnneal(AnnealConfig):
    """The annealing of LiTFSI."""

    first_fmax: PositiveFloat | None = 0.05
    """Largest force at which the first optimisation (LBFGS) ends, in eV/Å; without it there is none."""
    temperatures: tuple[PositiveFloat, ...] = (100,)
    """Temperatures one after the other, in K; with none there is no dynamics."""
    steps: tuple[PositiveInt, ...] = (2000,)
    """Time steps at each temperature; a single number holds for all. The default is 2 ps."""
    time_step: PositiveFloat = 1.0
    """Time step in fs."""
    coupling: PositiveFloat = 50.0
    """Time constant of the thermostat (Bussi's velocity rescaling) in fs."""
    final_fmax: PositiveFloat | None = None
    """Largest force at which the last optimisation ends, in eV/Å; without it there is none."""


class LiTFSIConfig(RecipeConfig):
    """Options of the recipe litfsi."""

    recipe: Literal["litfsi"] = "litfsi"
    """Name of the recipe."""
    rattle: float = Field(0.05, ge=0)
    """Standard deviation of each component of the random displacements, in Å. They stand for
    thermal motion where structures are not annealed."""
    anneal: LiTFSIAnneal = LiTFSIAnneal()
    """The annealing."""


def conformer() -> Atoms:
    """Return the molecule that all start from."""
    return Atoms([row[0] for row in _CONFORMER], [row[1:] for row in _CONFORMER])


def build(config: LiTFSIConfig, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Displace the atoms of the conformer."""
    atoms = conformer()
    rattle(atoms, config.rattle, rng)
    return BuiltStructure(atoms)


RECIPE = Recipe("litfsi", "LiTFSI, a molecule of six elements", LiTFSIConfig, build)
