"""The ids of stores: hashes of what their files hold, and of their attributes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gh_tools.errors import DataError
from gh_tools.store.contents import Store


def stored_files(folder: Path) -> dict[str, int]:
    """Return the bytes of all files of a store, by their path in it; sorted.

    Raises:
        DataError: something else than a file is there: a pipe or a device would be read without end.
        OSError: a folder cannot be read.
    """
    found = {}
    for parent, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            file = os.path.join(parent, name)
            key = os.path.relpath(file, folder).replace(os.sep, "/")
            if not os.path.isfile(file):
                raise DataError(
                    f"{folder}: {key}: expected files alone, found a pipe, a device or a link that leads nowhere; "
                    "make the store anew"
                )
            found[key] = os.path.getsize(file)
    # In the order in which the parts of their paths are sorted
    return dict(sorted(found.items(), key=lambda item: item[0].split("/")))


def _refuse(error: OSError) -> None:
    raise error


def metadata_id(folder: Path, attributes: Mapping[str, Any]) -> str:
    """Hash of the metadata of all arrays, with their names, and of the root attributes given."""
    names = (name for name in stored_files(folder) if name.endswith("/zarr.json"))
    return _hash(folder, attributes, names)


def content_id(folder: Path, attributes: Mapping[str, Any]) -> str:
    """Hash of all arrays as stored, with their names, and of the root attributes given."""
    return _hash(folder, attributes, stored_files(folder))


def _hash(folder: Path, attributes: Mapping[str, Any], files: Iterable[str]) -> str:
    digest = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode())
    for name in files:
        if name == "zarr.json":
            continue
        digest.update(name.encode() + b"\0")
        with (folder / name).open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def verify_id(store: Store) -> bool:
    """Tell whether all of a store's content is still what its id was computed from."""
    return not list(hash_faults(store, stored_files(store.path), whole=True))


def hash_faults(store: Store, files: Mapping[str, int], whole: bool) -> Iterable[str]:
    """Yield what a store's hashes contradict.

    Args:
        store: the store.
        files: bytes of each, as `stored_files` gives them.
        whole: whether all files are hashed, or the metadata alone; those of schema 1 always are.

    Yields:
        The attribute whose hash it is, and what it contradicts.
    """
    attributes = {"kind": store.kind, "schema": store.schema, **store.attributes}
    if store.schema > 1:
        metadata = (name for name in files if name.endswith("/zarr.json"))
        if _hash(store.path, attributes, metadata) != store.metadata_id:
            yield (
                "metadata_id: attributes or metadata of arrays are no longer what it was computed from"
            )
        attributes["metadata_id"] = store.metadata_id
    # Before schema 2, chunks have no checksums of their own.
    if (whole or store.schema == 1) and _hash(store.path, attributes, files) != store.id:
        yield "id: the content is no longer what the id was computed from"
