"""Changes that make a perfect crystal a random one: strain, vacancies, substitution, displacements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from gh_tools.errors import DataError
from gh_tools.structures.recipe import Quantity

# No structure has as many sites, and generators of random numbers end at a larger one.
LARGEST_MEAN = 1e9


class Poisson(BaseModel):
    """A number of atoms that is drawn from a Poisson distribution."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    poisson: float = Field(ge=0)
    """Its mean, in atoms per structure."""


# A number of atoms; a rate, by which each site is drawn on its own; or the mean of a Poisson distribution.
Amount = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)] | Poisson


def strain(
    atoms: Atoms,
    normal: Float[np.ndarray, "3"] | None,
    shear: Float[np.ndarray, "3"] | None = None,
) -> dict[str, Quantity]:
    """Strain a cell and its atoms along the Cartesian axes that its periodic cell vectors span.

    Args:
        atoms: changed in place.
        normal: ε_xx, ε_yy, ε_zz, as fractions; without them there are none. Those along other axes are left out.
        shear: ε_yz, ε_xz, ε_xy, as fractions (tensor components, half of the engineering strains); likewise.

    Returns:
        A column for each strain that is left.

    Raises:
        DataError: the periodic cell vectors do not span Cartesian axes, as those of a tilted layer.
    """
    axes = atoms.cell.array[atoms.pbc].any(axis=0)  # which of x, y, z the periodic vectors reach
    if axes.sum() != atoms.pbc.sum():
        raise DataError(
            "strain is along x, y and z, which the periodic cell vectors of this structure do not span; "
            "rotate it so that a layer lies in a Cartesian plane and a wire along an axis"
        )
    columns = {}
    change = np.eye(3)
    if normal is not None:
        for axis in np.flatnonzero(axes):
            name = "xyz"[axis]
            change[axis, axis] += normal[axis]
            columns[f"strain_{name}"] = Quantity(normal[axis], "", f"strain along {name}")
    if shear is not None:
        for value, (a, b) in zip(shear, ((1, 2), (0, 2), (0, 1)), strict=True):
            if axes[a] and axes[b]:
                name = "xyz"[a] + "xyz"[b]
                change[a, b] = change[b, a] = value
                columns[f"strain_{name}"] = Quantity(value, "", f"shear strain in {name}")
    atoms.set_cell(atoms.cell.array @ change)
    atoms.positions = atoms.positions @ change
    return columns


def make_vacancies(
    atoms: Atoms, symbol: str, amount: Amount, rng: np.random.Generator
) -> dict[str, Quantity]:
    """Take out atoms of one species, drawn uniformly, as `remove_atoms` does.

    Args:
        atoms: changed in place.
        symbol: the species.
        amount: how many; of a Poisson distribution at most all of them.
        rng: where number and sites come from.

    Returns:
        Columns of their number, and of their number over that of the species' sites.

    Raises:
        DataError: there are none, or fewer, or no atom would be left.
    """
    sites = _count_sites(atoms, symbol, f"vacancies of {symbol}")
    count = remove_atoms(atoms, symbol, amount, rng)
    name = symbol.lower()
    rate = Quantity(count / sites, "", f"{symbol} vacancies over {symbol} sites")
    return {
        f"{name}_vacancies": Quantity(count, "", f"number of {symbol} vacancies"),
        f"{name}_vacancy_rate": rate,
    }


def substitute_atoms(
    atoms: Atoms, symbol: str, targets: Mapping[str, Amount], rng: np.random.Generator
) -> dict[str, Quantity]:
    """Replace atoms of one species, drawn uniformly, by others, as `replace_atoms` does.

    Args:
        atoms: changed in place.
        symbol: the species.
        targets: how many by which species, one after the other.
        rng: where numbers and sites come from.

    Returns:
        For each new species columns of their number, and of their number over that of the species' sites.

    Raises:
        DataError: there are none, or fewer.
    """
    sites = _count_sites(atoms, symbol, f"substitution of {symbol}")
    columns = {}
    for new, amount in targets.items():
        count = replace_atoms(atoms, symbol, new, amount, rng)
        name = f"{new.lower()}_on_{symbol.lower()}"
        columns[name] = Quantity(count, "", f"number of {new} on {symbol} sites")
        columns[f"{name}_rate"] = Quantity(count / sites, "", f"{new} over {symbol} sites")
    return columns


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
    count = draw_count(amount, len(sites), rng, what)
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
    count = draw_count(amount, len(sites), rng, f"substitution of {symbol} by {by}")
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


def draw_count(amount: Amount, sites: int, rng: np.random.Generator, what: str) -> int:
    """Draw how many of so many sites are changed.

    Args:
        amount: how many; of a Poisson distribution at most all of them.
        sites: how many there are.
        rng: where the number comes from.
        what: the change, for an error.

    Raises:
        DataError: there are fewer.
    """
    if isinstance(amount, Poisson):
        return min(int(rng.poisson(min(amount.poisson, LARGEST_MEAN))), sites)
    if isinstance(amount, float):
        return int(rng.binomial(sites, amount))
    if amount > sites:
        raise DataError(
            f"{what}: {amount} atoms are asked for, but there are {sites}; ask for fewer"
        )
    return amount


def _count_sites(atoms: Atoms, symbol: str, what: str) -> int:
    count = int(np.count_nonzero(atoms.symbols == symbol))
    if count == 0:
        raise DataError(f"{what}: there is no {symbol} in {atoms.get_chemical_formula()}")
    return count
