"""Nickel-doped amorphous HfO2 on WSe2 with Se vacancies, after section 4.1.1 of arXiv:2506.10298.

The paper's constants are the defaults. The layer and the oxide are those of the recipes wse2 and
hfo2; the oxide is packed to the layer's cell.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from gh_tools.errors import DataError
from gh_tools.orbitals.geometry import periodic_area
from gh_tools.structures.modify import Amount, Poisson, replace_atoms
from gh_tools.structures.packing import draw_density, pack, volume
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe
from gh_tools.structures.recipes import hfo2, wse2

Fraction = Annotated[float, Field(ge=0, le=1)]


class InterfaceConfig(wse2.WSe2Config, hfo2.HfO2Config):
    """Options of the recipe hfo2-wse2."""

    recipe: Literal["hfo2-wse2"] = "hfo2-wse2"  # type: ignore[assignment]  # names its own recipe
    """Name of the recipe."""
    size: tuple[PositiveInt, PositiveInt] = (6, 3)  # of a box
    """Number of rectangular cells of the layer along x and y."""
    orthogonal: Literal[True] = True
    """The layer is counted in rectangular cells of 6 atoms (a by √3 a): oxide is packed in boxes."""
    molecules: PositiveInt = 84
    """Number of HfO2 molecules, before doping. The default makes an oxide of 12 Å."""
    density: tuple[PositiveFloat, PositiveFloat] = (6.0, 8.0)
    """Limits of the random, uniformly distributed mass density of the oxide, in g/cm³."""
    nickel: Fraction | tuple[Fraction, Fraction] = 0.03
    """Mean number of Hf that Ni replaces (Poisson distributed), over the number of Hf sites; or limits of that part, within which
    all numbers are as likely."""
    distance: PositiveFloat = 2.3
    """Vertical distance between the outermost atoms of layer and oxide, in Å."""
    vacuum: PositiveFloat | None = None  # type: ignore[assignment]  # layers always have some
    """Empty space below and above the stack, in Å. Without it the stack is periodic in three
    directions, with oxide on both sides of the layer."""


def oxide(
    config: InterfaceConfig, layer: Atoms, density: float, rng: np.random.Generator
) -> tuple[Atoms, int]:
    """Pack oxide below a layer's area and dope it.

    Args:
        config: the recipe's options.
        layer: gives the area.
        density: of the oxide before doping, in g/cm^3.
        rng: where positions and dopants come from.

    Returns:
        The atoms, and how many of them are nickel.
    """
    molecule = hfo2.molecule()
    height = volume(molecule, config.molecules, density) / periodic_area(layer)
    box = np.array([*np.diag(layer.cell.array)[:2], height])
    radii = {symbol: config.radius(symbol) for symbol in ("Hf", "O")}
    atoms = pack(molecule, config.molecules, box, radii, rng, slab=True)
    amount: Amount
    if isinstance(config.nickel, tuple):
        amount = draw_within(config.nickel, config.molecules, rng)
    else:
        amount = Poisson(poisson=config.nickel * config.molecules)
    return atoms, replace_atoms(atoms, "Hf", "Ni", amount, rng)


def draw_within(limits: tuple[float, float], sites: int, rng: np.random.Generator) -> int:
    """Return a number of sites whose part of all lies within limits, each as likely.

    Args:
        limits: least and largest part, of 1.
        sites: how many there are.
        rng: what draws.

    Raises:
        DataError: no whole number of the sites is such a part.
    """
    least, most = int(np.ceil(limits[0] * sites - 1e-9)), int(np.floor(limits[1] * sites + 1e-9))
    if least > most:
        raise DataError(
            f"nickel: of {sites} Hf sites no whole number is a part from {limits[0]:g} to {limits[1]:g}; take more molecules, or "
            "wider limits"
        )
    return int(rng.integers(least, most + 1))


def stack(below: Atoms, above: Atoms, distance: float, vacuum: float | None) -> Atoms:
    """Put a layer on another of the same area.

    Args:
        below: has the area.
        above: the layer on it.
        distance: between their outermost atoms, in Å.
        vacuum: empty space below and above in Å; without it the stack repeats at the same distance.
    """
    above = above.copy()
    above.positions[:, 2] += below.positions[:, 2].max() + distance - above.positions[:, 2].min()
    atoms = below + above
    z = atoms.positions[:, 2]
    margin = distance / 2 if vacuum is None else vacuum
    z += margin - z.min()
    cell = below.cell.array.copy()
    cell[2] = [0, 0, z.max() + margin]
    atoms.set_cell(cell)
    atoms.pbc = [True, True, vacuum is None]
    return atoms


def build(config: InterfaceConfig, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Make one random interface; the layer, the oxide's density, its atoms, and nickel are drawn."""
    layer, columns = wse2.random_layer(config, rng)
    density = draw_density(config, rng)
    below, nickel = oxide(config, layer, density, rng)
    atoms = stack(below, layer, config.distance, config.vacuum)
    hafnium = config.molecules - nickel
    ratio = nickel / hafnium if hafnium else np.inf
    columns |= {
        "oxide_density": Quantity(density, "g/cm^3", "density at which the oxide was packed"),
        "nickel": Quantity(nickel, "", "number of Ni atoms"),
        "ni_hf_ratio": Quantity(ratio, "", "Ni atoms over Hf atoms"),
    }
    return BuiltStructure(atoms, columns)


RECIPE = Recipe(
    "hfo2-wse2", "Ni-doped amorphous HfO2 on WSe2 with Se vacancies", InterfaceConfig, build
)
