"""Amorphous matter as it is before annealing: molecules packed at random with Packmol."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
from ase import Atoms
from ase.io import read, write
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt, model_validator
from scipy.constants import atomic_mass

from gh_tools.errors import DataError, MissingExtraError
from gh_tools.structures.recipe import BuiltStructure, Quantity, RecipeConfig

# Packmol starts from random coordinates; where one start ends in overlaps another may not.
_STARTS = 5
# What one start may take. 252 atoms of HfO2 at 8 g/cm³ take half a second.
_SECONDS, _SECONDS_PER_ATOM = 5.0, 0.1
# Its exit code where distances are not all kept.
_OVERLAPS = 173


class PackingConfig(RecipeConfig):
    """Options that the recipes of packed molecules share."""

    molecules: PositiveInt
    """Number of molecules."""
    density: tuple[PositiveFloat, PositiveFloat]
    """Limits of the random, uniformly distributed mass density, in g/cm³."""
    radii: dict[str, PositiveFloat]
    """Atoms of different molecules keep at least the sum of their radii (1 where none is set) apart,
    in Å."""

    @model_validator(mode="after")
    def _check_density(self):
        low, high = self.density
        if low > high:
            raise ValueError(f"density: the limits are to ascend, found {low:g} and {high:g}")
        return self

    def radius(self, symbol: str) -> float:
        """Return the radius of an element in Å; 1 where none is set."""
        return self.radii.get(symbol, 1.0)


def pack(
    molecule: Atoms,
    count: int,
    cell: Float[np.ndarray, "3"],
    radii: Mapping[str, float],
    rng: np.random.Generator,
    *,
    slab: bool = False,
) -> Atoms:
    """Scatter molecules in a rectangular cell, at random positions and in random orientations.

    Args:
        molecule: a rigid molecule, in Å.
        count: how many.
        cell: lengths of the cell's edges in Å.
        radii: by element, in Å; atoms of different molecules, periodic images included, are at
            least the sum of their radii apart.
        rng: where Packmol's seed comes from.
        slab: keep all atoms between z = 0 and the cell's height, with no images above and below.

    Returns:
        The atoms, molecule after molecule, in a cell that is periodic along x and y, and along z
        unless ``slab``.

    Raises:
        MissingExtraError: Packmol is not installed.
        DataError: there is not room enough.
    """
    program = _packmol()
    # Packmol knows periodicity in all directions only: a slab gets images out of reach.
    period = np.array(cell) + [0, 0, 20.0 * slab]
    walls = ["over plane 0 0 1 0", f"below plane 0 0 1 {cell[2]:.6f}"] if slab else []
    shells = [
        line
        for number, symbol in enumerate(molecule.symbols, start=1)
        for line in (f"atoms {number}", f"radius {radii[symbol]:g}", "end atoms")
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "molecule.xyz", molecule, plain=True)
        for _ in range(_STARTS):
            lines = [
                f"seed {rng.integers(1, 2**31 - 1)}",
                "filetype xyz",
                "tolerance 2",  # asked for, though the radii tell all
                "output packed.xyz",
                "nloop 50",
                "pbc {:.6f} {:.6f} {:.6f}".format(*period),
                "structure molecule.xyz",
                f"number {count}",
                *walls,
                *shells,
                "end structure",
            ]
            (folder / "packmol.inp").write_text("\n".join(lines) + "\n")
            if _run(program, folder, _SECONDS + _SECONDS_PER_ATOM * count * len(molecule)):
                packed = read(folder / "packed.xyz")
                assert isinstance(packed, Atoms)  # one image was asked for
                packed.set_cell(cell)
                packed.pbc = [True, True, not slab]
                return packed
    raise DataError(
        f"Packmol cannot fit {count} {molecule.get_chemical_formula(mode='hill')} into "
        f"{cell[0]:.2f} x {cell[1]:.2f} x {cell[2]:.2f} Å; lower density or radii"
    )


def _packmol() -> str:
    package = find_spec("packmol")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "binaries" / "packmol"
        if program.is_file():
            return str(program)
    found = which("packmol")
    if found is None:
        raise MissingExtraError(
            "Packmol, which packs molecules, is not installed: pip install 'gh-tools[amorphous]'"
        )
    return found


def _run(program: str, folder: Path, seconds: float) -> bool:
    """Tell whether Packmol ended with all distances kept."""
    # It rewinds its input, so that this has to be a file.
    with (folder / "packmol.inp").open() as stream:
        try:
            done = subprocess.run(
                [program], stdin=stream, cwd=folder, capture_output=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return False
    if done.returncode not in (0, _OVERLAPS):
        said = [line.strip() for line in done.stdout.decode().splitlines() if "ERROR" in line]
        raise DataError(
            f"Packmol ended with code {done.returncode}: {' '.join(said) or 'it said nothing'}"
        )
    return done.returncode == 0


def bent(centre: str, ends: str, length: float, angle: float) -> Atoms:
    """Return a molecule of three atoms.

    Args:
        centre: element in the middle.
        ends: element of the two others.
        length: of the bonds, in Å.
        angle: between them, in degrees.
    """
    half = np.radians(angle) / 2
    arms = length * np.array([[np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    return Atoms([centre, ends, ends], [[0, 0, 0], *arms])


def volume(molecule: Atoms, count: int, density: float) -> float:
    """Return the volume in Å^3 that molecules fill.

    Args:
        molecule: one of them.
        count: how many there are.
        density: in g/cm^3.
    """
    return count * molecule.get_masses().sum() * atomic_mass * 1e3 / density * 1e24


def draw_density(config: PackingConfig, rng: np.random.Generator) -> float:
    """Draw a density in g/cm^3."""
    return float(rng.uniform(*config.density))


def packed_bulk(molecule: Atoms, config: PackingConfig, rng: np.random.Generator) -> BuiltStructure:
    """Pack a cube at a random density."""
    density = draw_density(config, rng)
    edge = volume(molecule, config.molecules, density) ** (1 / 3)
    radii = {symbol: config.radius(symbol) for symbol in set(molecule.symbols)}
    atoms = pack(molecule, config.molecules, np.full(3, edge), radii, rng)
    columns = {"molecules": Quantity(config.molecules, "", "number of molecules")}
    return BuiltStructure(atoms, columns)
