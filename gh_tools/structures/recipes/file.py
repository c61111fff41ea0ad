"""Structures from any file that ASE reads, with the numbers of their info as columns."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from gh_tools.errors import DataError, NoInputError
from gh_tools.store.structures import check_structure
from gh_tools.structures.recipe import Quantity, Recipe, RecipeConfig, Sample


class FileConfig(RecipeConfig):
    """Options of the recipe file."""

    recipe: Literal["file"] = "file"
    """Name of the recipe."""
    paths: list[str] = Field(default_factory=list)
    """The files, each with one image or many; those on the command line take their place."""
    images: str = ":"
    """Which images of each file, as ASE's index: ":" all, "-1" the last, "::10" every tenth."""
    format: str | None = None
    """ASE's name of the file format, where the file's name does not tell it."""
    units: dict[str, str] = Field(default_factory=dict)
    """Units of the columns, by column name, such as density = "g/cm^3"."""


def _read(path: str, images: str, file_format: str | None) -> list[Atoms]:
    """Read one file, turning whatever ASE raises into an error that names the file."""
    from ase.io import read

    if not Path(path).is_file():
        raise NoInputError(f"{path}: there is no such file, and no such recipe (see --list)")
    try:
        found = read(path, index=images, format=file_format)
    except Exception as error:  # each of ASE's eighty readers has errors of its own
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"{path}: ASE cannot read structures from it ({reason}); "
            "if its name does not tell the format, give it with --set format=NAME"
        ) from error
    found = found if isinstance(found, list) else [found]
    if not found or any(len(atoms) == 0 for atoms in found):
        raise DataError(f"{path}: expected structures with atoms, found none or an empty one")
    return found


@lru_cache(maxsize=1)
def _read_all(paths: tuple[str, ...], images: str, file_format: str | None) -> list[Sample]:
    """Read all files, once for all the structures that are asked for one by one."""
    if not paths:
        raise NoInputError("the recipe 'file' needs at least one file: gh-build structures.xyz")
    samples = []
    for path in paths:
        found = _read(path, images, file_format)
        for number, atoms in enumerate(found):
            stem = Path(path).stem
            default = stem if len(found) == 1 else f"{stem}-{number:04d}"
            name = atoms.info.get("name")
            check_structure(atoms, f"{path}: image {number}")
            columns = {
                re.sub(r"\W+", "_", key): Quantity(float(value), "", f"{key} of the file")
                for key, value in atoms.info.items()
                if isinstance(value, Real | np.bool_) and math.isfinite(value)
            }
            samples.append(Sample(atoms, columns, name if isinstance(name, str) else default))
    return samples


def _samples(config: FileConfig) -> list[Sample]:
    return _read_all(tuple(config.paths), config.images, config.format)


def count(config: FileConfig) -> int:
    """Return how many structures the files hold."""
    return len(_samples(config))


def build(config: FileConfig, rng: np.random.Generator, index: int) -> Sample:
    """Return image number ``index``, counted over all files; ``rng`` is not used."""
    sample = _samples(config)[index]
    columns = {
        key: column._replace(unit=config.units.get(key, column.unit))
        for key, column in sample.columns.items()
    }
    return Sample(sample.atoms, columns, sample.name)


RECIPE = Recipe("file", "structures from any file that ASE reads", FileConfig, build, count)
