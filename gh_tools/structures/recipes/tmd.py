"""Nine binary two-dimensional crystals with strain and thermal displacements.

BN, GeS, GeSe, GeTe, MoS2, MoSe2, MoTe2, WS2, WSe2, as in section 4.1.1 of arXiv:2506.10298, which does
not say how they were made. The lattices are idealised ones: hexagonal 2H layers, flat BN, and for the
germanium chalcogenides the puckered layer of black phosphorus with equal heights of both elements.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import graphene, mx2
from pydantic import Field, PositiveFloat

from gh_tools.structures.modify import rattle, strain
from gh_tools.structures.recipe import BuiltStructure, Recipe, RecipeConfig
from gh_tools.structures.supercells import LayerSize, Limits, resized

Material = Literal["BN", "GeS", "GeSe", "GeTe", "MoS2", "MoSe2", "MoTe2", "WS2", "WSe2"]
# Lattice constant and distance of the outer planes in Å, near what PBE gives.
_HEXAGONAL = {
    "MoS2": (3.18, 3.13),
    "MoSe2": (3.32, 3.34),
    "MoTe2": (3.55, 3.61),
    "WS2": (3.18, 3.14),
    "WSe2": (3.32, 3.36),
}
# Zigzag and armchair lattice constant, bond along the zigzag chain, bond between the sublayers, in Å.
_PUCKERED = {
    "GeS": (3.67, 4.46, 2.46, 2.43),
    "GeSe": (3.98, 4.26, 2.66, 2.54),
    "GeTe": (4.24, 4.37, 2.86, 2.77),
}
_BN = 2.51


class TmdConfig(RecipeConfig):
    """Options of the recipe tmd."""

    recipe: Literal["tmd"] = "tmd"
    """Name of the recipe."""
    materials: tuple[Material, ...] = Field(
        ("BN", "GeS", "GeSe", "GeTe", "MoS2", "MoSe2", "MoTe2", "WS2", "WSe2"), min_length=1
    )
    """The crystals. Structures take turns, so that there are as many of each."""
    size: LayerSize = (2, 2)
    """Number of unit cells along the two in-plane cell vectors: of 2 atoms for BN, of 4 in a
    rectangle for the germanium chalcogenides, else of 3; or "varied": a compact supercell of random shape for each
    structure, as training sets need."""
    cells: Limits = (3, 7)
    """Least and largest number of unit cells in a varied supercell."""
    vacuum: PositiveFloat = 6.0
    """Empty space below and above the layer, in Å."""
    strain: float = Field(0.02, ge=0, lt=1)
    """Limit of the uniform random strain of x and of y, as a fraction."""
    rattle: float = Field(0.08, ge=0)
    """Standard deviation of each component of the random displacements, in Å. They stand for
    thermal motion where structures are not annealed."""


def unit_cell(material: str) -> Atoms:
    """Return the unit cell of a crystal, periodic in x and y, without vacuum."""
    if material == "BN":
        return graphene("BN", a=_BN)
    if material in _PUCKERED:
        return _puckered("Ge", material.removeprefix("Ge"), *_PUCKERED[material])
    constant, thickness = _HEXAGONAL[material]
    return mx2(material, a=constant, thickness=thickness)


def _puckered(first: str, second: str, zigzag: float, armchair: float, chain: float, link: float):
    """Two sublayers of zigzag chains along x; each atom has two bonds in its chain and one across."""
    along = np.sqrt(chain**2 - (zigzag / 2) ** 2)
    height = np.sqrt(link**2 - (armchair / 2 - along) ** 2)
    positions = [
        (0, 0, height),
        (zigzag / 2, along, height),
        (zigzag / 2, armchair / 2, 0),
        (0, armchair / 2 + along, 0),
    ]
    cell = [zigzag, armchair, 0]
    return Atoms([first, second] * 2, positions, cell=cell, pbc=[True, True, False])


def build(config: TmdConfig, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Make one random layer; shape, strain and displacements are drawn in this order."""
    material = config.materials[index % len(config.materials)]
    atoms, _ = resized(unit_cell(material), config.size, config.cells, rng)
    atoms.center(config.vacuum, axis=2)
    limit = config.strain
    columns = strain(atoms, np.append(rng.uniform(-limit, limit, 2), 0.0))
    rattle(atoms, config.rattle, rng)
    return BuiltStructure(atoms, columns, material)


RECIPE = Recipe("tmd", "nine two-dimensional crystals: strain, displacements", TmdConfig, build)
