"""Models by name: those that come with gh-tools, and others that were packed into one file each.

A packed model is an archive ``NAME.zip`` that holds the store ``NAME.model.zarr``; those of ``share/gh_tools/models`` are known by their
names. Opened, it is unpacked once, into the user's cache, where it is a store like any other.

What a name stands for: a store of this name, if there is one here, because a person sees what is in the folder; else the
shipped model. A folder that is no store does not hide a model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gh_tools.console import log
from gh_tools.errors import DataError, NoInputError
from gh_tools.resources import cache_folder, keep_in_cache, share_path

if TYPE_CHECKING:
    from gh_tools.store.read import Store

ENDING = ".model.zarr"
# What an archive unpacks to at most, in bytes: models take megabytes.
_LARGEST = 2**28


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(_files())


def open_model(given: Path | str) -> Store:
    """Open a model.

    Args:
        given: path of a model store or of a packed model, or the name of a shipped model.

    Raises:
        NoInputError: there is none; the message lists the names.
        DataError: it is no model, or damaged.
    """
    from gh_tools.store.read import open_store

    return open_store(model_path(given), "model")


def model_path(given: Path | str) -> Path:
    """Return the path of the store that a path or a name stands for, unpacked if it must be; see `open_model`."""
    from gh_tools.store.read import partial_path

    path, shipped = Path(given), _files()
    if (path / "zarr.json").exists():
        return path
    if path.is_file() and zipfile.is_zipfile(path):
        return _unpacked(path)
    if str(given) in shipped:
        log.info("%s: a model that comes with gh-tools", given)
        return _unpacked(shipped[str(given)])
    # An output's history names the unpacked store; where the cache was emptied, it is unpacked anew.
    for file in shipped.values():
        if path.name == file.stem + ENDING and path.parent.name == _digest(file):
            return _unpacked(file)
    if path.exists() or partial_path(path).exists():
        return path  # whoever opens it says what it is
    known = ", ".join(shipped) or "none"
    raise NoInputError(
        f"{given}: no such store, and no model of this name comes with gh-tools (there are: {known}); see gh-info --models"
    )


def read_card(name: str) -> dict[str, Any]:
    """Return the card of a shipped model, with its name; see `gh_tools.trained_model.card`.

    Nothing is unpacked, so that all cards are listed at once.

    Raises:
        DataError: the file is damaged.
    """
    file = _files()[name]
    try:
        with zipfile.ZipFile(file) as archive:
            root = json.loads(archive.read(f"{name}{ENDING}/zarr.json"))
        return {"name": name, "bytes": file.stat().st_size, **root["attributes"]["card"]}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: is damaged ({error}); install gh-tools again") from None


def _files() -> dict[str, Path]:
    try:
        folder = share_path("models")
    except NoInputError:
        return {}
    return {file.stem: file for file in sorted(folder.glob("*.zip"))}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _unpacked(file: Path) -> Path:
    """Return the store of a packed model, in the cache; unpack it unless it is there, whole.

    Raises:
        DataError: the archive holds anything else than one store of its name, or is damaged.
    """
    store = f"{file.stem}{ENDING}"
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            inside = all(
                m.filename.startswith(f"{store}/") and ".." not in m.filename.split("/")
                for m in members
            )
            if not members or not inside or sum(m.file_size for m in members) > _LARGEST:
                raise DataError(
                    f"{file}: expected a model that gh-export --to zip has packed, {store} alone, found another archive"
                )
            name = f"models/{_digest(file)}"
            folder = cache_folder() / name
            if folder.exists() and any(_size(folder / m.filename) != m.file_size for m in members):
                shutil.rmtree(folder, ignore_errors=True)  # damaged since
            return keep_in_cache(name, archive.extractall) / store
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{file}: is damaged ({error}); get it anew") from None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
