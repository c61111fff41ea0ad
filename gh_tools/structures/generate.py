"""Run a recipe: as many structures as asked for, each from a random stream of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from gh_tools.console import log, progress
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.geometry import structure_fault
from gh_tools.store.structures import Column, Structures, unique_names
from gh_tools.structures.geometry import closest_approach, geometry_columns
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe, RecipeConfig

ATTEMPTS = 100


def build_one(recipe: Recipe, config: RecipeConfig, seed: int, index: int) -> BuiltStructure:
    """Make structure number ``index`` of a recipe, the same however many are made.

    Args:
        recipe: what to make.
        config: its options.
        seed: of the whole set; the structure's stream is spawned from it by its index.
        index: which structure, from 0.

    Returns:
        The structure, with the columns that follow from its geometry added to the recipe's own.

    Raises:
        DataError: two atoms are too close, or it is no structure that can be computed, for a random recipe in each of 100 attempts.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    drawn = recipe.draws(config)
    for _ in range(ATTEMPTS if drawn else 1):
        sample = recipe.build(config, rng, index)
        sample.name = recipe.name_of(config, seed, index, sample.name)
        fault = too_close(sample.atoms, config.minimum_distance)
        if fault is None:
            sample.columns = geometry_columns(sample.atoms) | sample.columns
            return sample
    mend = "make the random changes smaller" if drawn else "check the file's cell and units"
    raise DataError(f"{sample.name}: {fault}; {mend}")


def too_close(atoms: Atoms, minimum_distance: float) -> str | None:
    """Return why a structure cannot be taken, as a clause; None if it can.

    Args:
        atoms: the structure.
        minimum_distance: of two atoms, over the sum of their covalent radii.

    Returns:
        The two atoms that are closer, or what makes it no structure
        (`gh_tools.orbitals.geometry.structure_fault`).
    """
    fault = structure_fault(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if fault is not None:
        return fault
    ratio, i, j, distance = closest_approach(atoms)
    if ratio >= minimum_distance:
        return None
    return (
        f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {distance:.2f} Å apart, {ratio:.2f} of "
        f"the sum of their covalent radii, where minimum_distance asks for {minimum_distance:g} (lower it with "
        "--set minimum_distance=...)"
    )


def generate(
    recipe: Recipe, config: RecipeConfig, n: int | None = None, seed: int = 0
) -> Structures:
    """Make the structures of a recipe.

    Args:
        recipe: what to make.
        config: its options.
        n: how many; without it one, or all there are where the configuration sets their number.
        seed: same seed, same structures; structure k does not depend on ``n``.

    Returns:
        The structures with names and columns; a column that some structures lack holds nan there.

    Raises:
        UsageError: more are asked for than there are.
        DataError: see :func:`build_one`.
    """
    samples = []
    n = how_many(recipe, config, n)
    with progress(f"building {recipe.name}", n) as shown:
        for index in range(n):
            samples.append(build_one(recipe, config, seed, index))
            shown.advance()
    if any("initial_magmoms" in sample.atoms.arrays for sample in samples):
        log.warning("initial magnetic moments are not kept; give them to gh-label")
    return join_built(samples)


def how_many(recipe: Recipe, config: RecipeConfig, n: int | None) -> int:
    """Return how many structures a recipe is to make.

    Args:
        recipe: what makes them.
        config: its options.
        n: how many are asked for; None for one, or for all there are.

    Raises:
        UsageError: more are asked for than there are.
    """
    available = recipe.count(config) if recipe.count else None
    if available is not None and n is not None and n > available and not recipe.draws(config):
        raise UsageError(f"-n {n} asks for more structures than the {available} that there are")
    return n or available or 1


def join_built(samples: Sequence[BuiltStructure]) -> Structures:
    """Join samples; a column that some lack holds nan there, and repeated names are numbered."""
    return Structures(
        atoms=[sample.atoms for sample in samples],
        names=unique_names([sample.name for sample in samples]),
        columns=_columns(samples),
    )


def _columns(samples: Sequence[BuiltStructure]) -> dict[str, Column]:
    """Join the numbers of all structures to columns, in order of first appearance."""
    first: dict[str, Quantity] = {}
    for sample in samples:
        for name, quantity in sample.columns.items():
            first.setdefault(name, quantity)
    missing = Quantity(math.nan, "", "")
    return {
        name: Column(
            np.array([float(s.columns.get(name, missing).value) for s in samples]),
            quantity.unit,
            quantity.description,
        )
        for name, quantity in first.items()
    }
