"""Changes that make a perfect crystal a random one: strain, vacancies, substitution, displacements."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from gh_tools.errors import DataError

# No structure has as many sites, and generators of random numbers end at a larger one.
LARGEST_MEAN = 1e9


class Poisson(BaseModel):
    """A number of atoms that is drawn from a Poisson distribution."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    poisson: float = Field(ge=0)
    """Its mean, in atoms per structure."""


# A number of atoms; a rate, by which each site is drawn on its own; or the mean of a Poisson distribution.
Amount = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)] | Poisson


def strain_diagonal(
    atoms: Atoms, limit: float, directions: int, rng: np.random.Generator
) -> Float[np.ndarray, " directions"]:
    """Stretch a cell and its atoms along x, y (and z), each by a uniform random strain.

    Args:
        atoms: changed in place.
        limit: largest strain, as a fraction.
        directions: 2 for a layer in the xy plane, 3 for a bulk.
        rng: where the strains come from.

    Returns:
        The strains, as fractions.
    """
    strain = rng.uniform(-limit, limit, size=directions)
    factors = np.ones(3)
    factors[:directions] += strain
    atoms.set_cell(np.asarray(atoms.cell) * factors, scale_atoms=False)
    atoms.positions *= factors
    return strain


def remove_atoms(atoms: Atoms, symbol: str, amount: Amount, rng: np.random.Generator) -> int:
    """Make vacancies: take out atoms of one species.

    Which atoms go is drawn uniformly.

    Args:
        atoms: changed in place.
        symbol: the species.
        amount: how many; of a Poisson distribution at most all of them.
        rng: where number and sites come from.

    Returns:
        How many atoms were taken out.

    Raises:
        DataError: there are fewer, or no atom would be left.
    """
    what = f"vacancies of {symbol}"
    sites = np.flatnonzero(atoms.symbols == symbol)
    count = _draw_count(amount, len(sites), rng, what)
    if count == len(atoms):
        raise DataError(f"{what}: all {count} atoms would be taken out; ask for fewer")
    del atoms[rng.choice(sites, size=count, replace=False).tolist()]
    return count


def replace_atoms(
    atoms: Atoms, symbol: str, by: str, amount: Amount, rng: np.random.Generator
) -> int:
    """Dope: replace atoms of one species by another.

    Which atoms are replaced is drawn uniformly.

    Args:
        atoms: changed in place.
        symbol: the species.
        by: the species that takes its sites.
        amount: how many; of a Poisson distribution at most all of them.
        rng: where number and sites come from.

    Returns:
        How many atoms were replaced.

    Raises:
        DataError: there are fewer.
    """
    sites = np.flatnonzero(atoms.symbols == symbol)
    count = _draw_count(amount, len(sites), rng, f"substitution of {symbol} by {by}")
    atoms.symbols[rng.choice(sites, size=count, replace=False)] = by
    return count


def rattle(atoms: Atoms, deviation: float, rng: np.random.Generator) -> None:
    """Displace every atom by a Gaussian random vector.

    Args:
        atoms: changed in place.
        deviation: standard deviation of each Cartesian component, in Å.
        rng: where the displacements come from.
    """
    atoms.positions += rng.normal(scale=deviation, size=(len(atoms), 3))


def _draw_count(amount: Amount, sites: int, rng: np.random.Generator, what: str) -> int:
    """Draw how many of so many sites are changed."""
    if isinstance(amount, Poisson):
        return min(int(rng.poisson(min(amount.poisson, LARGEST_MEAN))), sites)
    if isinstance(amount, float):
        return int(rng.binomial(sites, amount))
    if amount > sites:
        raise DataError(
            f"{what}: {amount} atoms are asked for, but there are {sites}; ask for fewer"
        )
    return amount
