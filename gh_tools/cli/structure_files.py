"""Files of structures, such as my.cif, where a command takes stores: they become stores as gh-build makes them, in the user's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gh_tools.console import log
from gh_tools.resources import keep_in_cache
from gh_tools.tables import counted
from gh_tools.version import __version__

if TYPE_CHECKING:
    from gh_tools.store.structures import Structures


def named_like(path: Path) -> Path:
    """Return what outputs are named after: of a file of structures the store that gh-build would make beside it."""
    if not path.is_file():
        return path
    return path.with_name(f"{path.stem}.structures.zarr")


def stored(path: Path, in_vacuum: bool = False) -> Path:
    """Return the path of a store: of a file of structures the one that gh-build makes of it, else the path itself.

    Args:
        path: as given.
        in_vacuum: whether a direction without atoms over more than `gh_tools.structures.recipes.file.VACUUM` is not periodic,
            whatever the file says: formats of crystals, such as CIF, know periodic structures alone.

    Raises:
        DataError: the file cannot be read, or holds no structure that can be computed.
    """
    if not path.is_file():
        return path
    from gh_tools.structures import registry
    from gh_tools.structures.generate import generate
    from gh_tools.structures.recipes.file import FileConfig

    recipe = registry.get_recipe("file")
    options = FileConfig(paths=[str(path)])
    structures = generate(recipe, options)
    if in_vacuum and (pbc := _without_vacuum(structures)) is not None:
        log.info(
            "%s: periodic along %s alone, as the model's training set: the rest is vacuum",
            path,
            " and ".join("abc"[axis] for axis in np.flatnonzero(pbc)) or "no direction",
        )
        options = options.model_copy(update={"pbc": pbc})
        structures = generate(recipe, options)
    config = {"n": len(structures), **options.model_dump(mode="json")}
    told = repr((__version__, str(path.resolve()), config)).encode() + path.read_bytes()
    name = named_like(path).name

    def fill(folder: Path) -> None:
        from gh_tools.store.provenance import Provenance
        from gh_tools.store.structures import write_structures

        provenance = Provenance("gh-build", [str(path)], 0, config)
        write_structures(folder / name, structures, provenance)

    log.info("%s: %s", path, counted(len(structures), "structure"))
    return keep_in_cache(f"structures/{hashlib.sha256(told).hexdigest()[:16]}", fill) / name


def _without_vacuum(structures: Structures) -> tuple[bool, bool, bool] | None:
    """Return the directions in which all structures are periodic and not empty; None where that says nothing new."""
    from gh_tools.structures.geometry import empty_heights
    from gh_tools.structures.recipes.file import VACUUM

    found: set[tuple[bool, ...]] = set()
    for atoms in structures.atoms:
        if not atoms.pbc.all():
            return None
        found.add(tuple((atoms.pbc & ~(empty_heights(atoms) > VACUUM)).tolist()))
    if len(found) != 1 or all(only := found.pop()):
        return None
    a, b, c = only
    return a, b, c
