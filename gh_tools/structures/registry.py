"""The one place that knows which recipes there are."""

from __future__ import annotations

from importlib import import_module

from gh_tools.errors import UsageError
from gh_tools.structures.recipe import Recipe

# Each name is a module of `recipes` that holds the recipe as RECIPE ("-" stands as "_" there).
NAMES = ("file", "litfsi", "wse2", "tmd", "agau", "sio2", "hfo2", "hfo2-wse2")


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        raise UsageError(f"there is no recipe called '{name}'; the recipes are {', '.join(NAMES)}")
    return import_module(f"{__package__}.recipes.{name.replace('-', '_')}").RECIPE
