"""What a recipe is: a configuration, and a function that makes structure number k from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from gh_tools.structures.schedule import AnnealConfig


class RecipeName(BaseModel):
    """The key of a configuration file that tells which recipe the other keys are for."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    recipe: str
    """Name of the recipe."""


class RecipeConfig(RecipeName):
    """Options that every recipe has; each recipe's own configuration extends it."""

    model_config = ConfigDict(extra="forbid")

    minimum_distance: float = Field(0.6, ge=0)
    """Smallest distance between two atoms that is accepted, as a fraction of the sum of their
    covalent radii. A random structure below it is drawn again, one read from a file is an error."""
    anneal: AnnealConfig = AnnealConfig()
    """The annealing, which needs a calculator."""


Config = TypeVar("Config", bound=RecipeConfig)


class Quantity(NamedTuple):
    """One number about one structure: its row in a column of the store.

    Args:
        value: the number, in ``unit``.
        unit: empty for pure numbers, and where it is not known.
        description: what it says, in a few words.
    """

    value: float
    unit: str
    description: str


@dataclass
class BuiltStructure:
    """One structure as a recipe made it.

    Args:
        atoms: the structure, lengths in Å.
        columns: its design variables by name.
        name: what to call it, before seed and number where it is drawn; without one it is called after the
            recipe.
    """

    atoms: Atoms
    columns: dict[str, Quantity] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Recipe(Generic[Config]):
    """A way to make structures.

    Args:
        name: as given to gh-build.
        summary: one line for ``gh-build --list``.
        config: its options.
        build: ``build(config, rng, index)`` makes structure number ``index``. All that is random
            comes from ``rng``; a recipe that reads, not draws, uses ``index`` alone.
        count: how many structures a configuration holds; None where there is no limit.
        changes: whether a configuration changes at random what it holds, so that there is no limit either.
        complete: the configuration with what the number of structures asked for (None for all) implies.
    """

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Config, np.random.Generator, int], BuiltStructure]
    count: Callable[[Config], int] | None = None
    changes: Callable[[Config], bool] | None = None
    complete: Callable[[Config, int | None], Config] | None = None

    def draws(self, config: Config) -> bool:
        """Return whether structures are drawn at random, as many as are asked for."""
        return self.count is None or (self.changes is not None and self.changes(config))

    def name_of(self, config: Config, seed: int, index: int, given: str | None = None) -> str:
        """Return the name of structure number ``index``.

        Structures that are drawn carry the seed, such as ``wse2-s1-0003``, so that two runs give different
        structures different names; those that are read are called as they are ``given``.
        """
        if self.draws(config):
            return f"{given or self.name}-s{seed}-{index:04d}"
        return given or f"{self.name}-{index:04d}"
