"""Changes that make a perfect crystal a random one: strain, vacancies, doping, displacements."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float

# No structure has as many sites, and generators of random numbers end at a larger one.
LARGEST_MEAN = 1e9


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


def remove_poisson(atoms: Atoms, symbol: str, mean: float, rng: np.random.Generator) -> int:
    """Make vacancies: take out a Poisson distributed number of atoms of one species.

    Which atoms go is drawn uniformly. A draw above the number of such atoms takes out all of them.

    Args:
        atoms: changed in place.
        symbol: the species.
        mean: of the Poisson distribution, in atoms per structure.
        rng: where number and sites come from.

    Returns:
        How many atoms were taken out.
    """
    sites = np.flatnonzero(atoms.symbols == symbol)
    count = min(int(rng.poisson(min(mean, LARGEST_MEAN))), len(sites))
    del atoms[rng.choice(sites, size=count, replace=False).tolist()]
    return count


def replace_poisson(
    atoms: Atoms, symbol: str, by: str, mean: float, rng: np.random.Generator
) -> int:
    """Dope: replace a Poisson distributed number of atoms of one species by another.

    Which atoms are replaced is drawn uniformly. A draw above the number of such atoms replaces all.

    Args:
        atoms: changed in place.
        symbol: the species.
        by: the species that takes its sites.
        mean: of the Poisson distribution, in atoms per structure.
        rng: where number and sites come from.

    Returns:
        How many atoms were replaced.
    """
    sites = np.flatnonzero(atoms.symbols == symbol)
    count = min(int(rng.poisson(min(mean, LARGEST_MEAN))), len(sites))
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
