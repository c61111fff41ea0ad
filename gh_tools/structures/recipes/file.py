"""Structures from any file that ASE reads, as they are or changed at random.

The numbers of their info become columns.
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from gh_tools.console import log
from gh_tools.errors import DataError, NoInputError
from gh_tools.store.structures import CHARGE
from gh_tools.structures.geometry import empty_heights
from gh_tools.structures.left_out import finite_number, unread_entries
from gh_tools.structures.reading import read_file
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe, RecipeConfig
from gh_tools.structures.transform import Transformations, transform

# Columns that follow from the structure, whatever a file says.
COMPUTED = ("n_atoms", "density", "areal_density")
# A column is a folder, whose name file systems limit to 255 bytes.
LONGEST_COLUMN = 200
# Å. Layers of crystals are 3 to 4 Å apart; what is farther apart than this does not touch.
VACUUM = 6.0


class FileConfig(RecipeConfig, Transformations):
    """Options of the recipe file: which structures, and how they are changed."""

    recipe: Literal["file"] = "file"
    """Name of the recipe."""
    paths: list[str] = Field(default_factory=list)
    """The files, each with one image or many; those on the command line take their place."""
    images: str = Field(":", coerce_numbers_to_str=True, pattern=r"^(-?\d+|(-?\d*)(:-?\d*){1,2})$")
    """Which images of each file, as ASE's index: ":" all, "-1" the last, "::10" every tenth."""
    format: str | None = None
    """ASE's name of the file format, where the file's name does not tell it."""
    units: dict[str, str] = Field(default_factory=dict)
    """Units of the columns, by column name, such as temperature = "K"."""


@lru_cache(maxsize=1)
def _read_all(paths: tuple[str, ...], images: str, file_format: str | None) -> list[BuiltStructure]:
    """Read all files, once for all the structures that are asked for one by one."""
    if not paths:
        raise NoInputError("the recipe 'file' needs at least one file: gh-build structures.xyz")
    samples: list[BuiltStructure] = []
    omitted: set[str] = set()
    key_of: dict[str, str] = {}
    for path in paths:
        found = read_file(path, images, file_format)
        for number, atoms in enumerate(found):
            default = _stem(path) if len(found) == 1 else f"{_stem(path)}-{number:04d}"
            name = atoms.info.get("name")
            columns = _columns(atoms, path, key_of)
            omitted |= unread_entries(atoms) | (columns.keys() & set(COMPUTED))
            columns = {key: value for key, value in columns.items() if key not in COMPUTED}
            samples.append(
                BuiltStructure(atoms, columns, name if isinstance(name, str) else default)
            )
    if omitted:
        log.info(
            "left out, having no place in a store of structures: %s", ", ".join(sorted(omitted))
        )
    return samples


def _printable(name: str) -> str:
    """Return a name with escapes in place of what cannot be shown, as names of structures are to be."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _stem(path: str) -> str:
    """Name of a file without the suffixes of its format and compression."""
    # What is no text in a file's name can be none in a store.
    name = _printable(os.fsencode(Path(path).name).decode("utf-8", "backslashreplace"))
    return Path(re.sub(r"\.(gz|bz2|xz)$", "", name)).stem


def _columns(atoms: Atoms, path: str, key_of: dict[str, str]) -> dict[str, Quantity]:
    """Columns from the finite numbers of a structure's info.

    Args:
        atoms: the structure.
        path: its file.
        key_of: the key that each column has its values from, of all structures so far; is filled.

    Raises:
        DataError: two keys would share a column, or a key is too long for the name of one.
    """
    columns = {}
    for key, value in atoms.info.items():
        value = finite_number(value)
        if value is None:
            continue
        column = re.sub(r"\W+", "_", key)
        if len(column.encode()) > LONGEST_COLUMN:
            raise DataError(
                f"{path}: the key {column[:40]}... is longer than {LONGEST_COLUMN} bytes; shorten it"
            )
        if key_of.setdefault(column, key) != key:
            raise DataError(
                f"{path}: the keys {key_of[column]!r} and {key!r} would both become the column {column}; "
                "rename one of them"
            )
        columns[column] = Quantity(value, "", f"{key} of the file")
    return columns


def _samples(config: FileConfig) -> list[BuiltStructure]:
    return _read_all(tuple(config.paths), config.images, config.format)


def count(config: FileConfig) -> int:
    """Return how many structures the files hold."""
    return len(_samples(config))


def complete(config: FileConfig, n: int | None) -> FileConfig:
    """Return the configuration of a training set where more structures are asked for than the files hold.

    Each of three keys that is not set is then chosen: supercells are of varied shape; those are strained; and atoms are
    displaced. A model that has seen atoms at ideal sites alone predicts no others.
    """
    samples = _samples(config)
    if config.pbc is None:
        _warn_of_vacuum(samples)
    if n is None or n <= len(samples):
        return config
    chosen: dict[str, Any] = {}
    if config.size is None and all(_periodic(sample.atoms, config) for sample in samples):
        chosen["size"] = "varied"
    if config.strain is None and chosen.get("size", config.size) == "varied":
        chosen["strain"] = 0.02
    if config.rattle is None:
        chosen["rattle"] = 0.05
    if chosen:
        said = ", ".join(f"{key} = {value}" for key, value in chosen.items())
        log.info("a training set, because the files hold %d: %s (see --set)", len(samples), said)
    return config.model_copy(update=chosen)


def _warn_of_vacuum(samples: list[BuiltStructure]) -> None:
    """Say where a layer, a wire or a molecule seems to be described as a crystal."""
    for sample in samples:
        if not sample.atoms.pbc.any() or sample.atoms.cell.rank < 3:
            continue
        heights = empty_heights(sample.atoms)
        empty = heights > VACUUM
        if empty.any():
            axis = int(np.argmax(heights))
            pbc = json.dumps((sample.atoms.pbc & ~empty).tolist()).replace(" ", "")
            log.warning(
                "%s: is periodic along cell vector %d, across %.1f Å of nothing. If it is a layer, a wire or a molecule, "
                "say so with --set pbc=%s: energies then count from the vacuum, and k-points and cells are not wasted",
                sample.name,
                axis + 1,
                heights[axis],
                pbc,
            )
            return


def _periodic(atoms: Atoms, config: FileConfig) -> bool:
    return any(atoms.pbc if config.pbc is None else config.pbc)


def build(config: FileConfig, rng: np.random.Generator, index: int) -> BuiltStructure:
    """Return image number ``index``, counted over all files, changed as the options say.

    Where the changes are random, images take turns.
    """
    samples = _samples(config)
    sample = samples[index % len(samples)]
    try:
        atoms, changes = transform(sample.atoms, config, rng)
    except DataError as error:
        raise DataError(f"{sample.name}: {error}") from None
    charge = sample.columns.get(CHARGE)
    if charge and charge.value and sorted(atoms.numbers) != sorted(sample.atoms.numbers):
        raise DataError(
            f"{sample.name}: its charge {charge.value:+g} is that of {sample.atoms.symbols}, but the options make "
            f"{atoms.symbols} of it, whose charge nobody tells; leave {CHARGE} out of the file, or build the "
            "structures first and read them with their charges"
        )
    columns = {
        key: column._replace(unit=config.units.get(key, column.unit))
        for key, column in sample.columns.items()
    }
    return BuiltStructure(atoms, columns | changes, sample.name)


RECIPE = Recipe(
    "file",
    "structures from any file that ASE reads, as they are or changed",
    FileConfig,
    build,
    count,
    lambda config: config.random,
    complete,
)
