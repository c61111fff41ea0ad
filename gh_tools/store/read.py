"""Opening finished stores, and what their id is computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gh_tools.errors import DataError, NoInputError
from gh_tools.store.folder import OneFolder
from gh_tools.store.schema import KINDS, SCHEMA

_OWN_ATTRIBUTES = ("kind", "schema", "id", "history", "status")


class Store:
    """A finished store, open for reading. ``store["atoms/number"]`` reads a whole array.

    Attributes:
        path: the directory.
        kind: what it holds: structures, hamiltonians, scaleshift, model, spectra or posterior.
        id: hash of its content.
        history: how it was made, oldest entry first.
        attributes: all other attributes of the root.
    """

    def __init__(self, path: Path, folder: OneFolder, group: zarr.Group):
        self.path, self._folder, self._group = path, folder, group
        attributes = dict(group.attrs)
        self.kind: str = attributes.get("kind", "")
        self.id: str = attributes.get("id", "")
        self.history: list[dict[str, Any]] = attributes.get("history", [])
        self.attributes = {k: v for k, v in attributes.items() if k not in _OWN_ATTRIBUTES}
        self._arrays: dict[str, zarr.Array] | None = None

    def array(self, key: str) -> zarr.Array:
        """Return an array for lazy slicing; raise `DataError` if it is missing."""
        if key not in self._all():
            raise DataError(
                f"{self.path}: the array {key} is missing; look with gh-info --check, "
                "and make the store anew"
            )
        return self._all()[key]

    def __getitem__(self, key: str) -> np.ndarray:
        array = self.array(key)
        try:
            return array[...]
        except DataError:
            raise
        except Exception as error:
            # Codecs raise many kinds of errors for damaged chunks.
            raise DataError(
                f"{self.path}: the array {key} cannot be read ({error}); make the store anew"
            ) from error

    def __contains__(self, key: str) -> bool:
        return key in self._all()

    def keys(self, prefix: str = "") -> list[str]:
        """Paths of all arrays that start with ``prefix``, sorted."""
        return [key for key in self._all() if key.startswith(prefix)]

    def group_names(self, prefix: str) -> list[str]:
        """Names of the groups (or arrays) directly below a group, sorted."""
        below = prefix.rstrip("/") + "/"
        return sorted({key.removeprefix(below).split("/")[0] for key in self.keys(below)})

    def unit(self, key: str) -> str:
        """Return the unit of an array's values: empty for pure numbers, and where none is stored."""
        unit = str(self.array(key).attrs.get("unit", ""))
        return "" if unit == "1" else unit  # so stores of versions up to 0.2 mark pure numbers

    def _all(self) -> dict[str, zarr.Array]:
        if self._arrays is None:
            members = self._group.members(max_depth=None)
            self._arrays = dict(sorted((k, v) for k, v in members if isinstance(v, zarr.Array)))
            self._folder.check()
        return self._arrays


def open_store(path: Path | str, kind: str | Iterable[str] | None = None) -> Store:
    """Open a finished store.

    Args:
        path: its directory.
        kind: the kind, or the kinds, that will do; any if None.

    Raises:
        NoInputError: there is nothing at ``path``.
        DataError: it is no store of these kinds, unfinished, or of a newer schema.
    """
    path = Path(path)
    if not path.exists():
        partial = partial_path(path)
        if partial.exists():
            raise NoInputError(
                f"{path}: not there yet, only the unfinished {partial.name}; "
                "finish it with --resume of the command that makes it"
            )
        raise NoInputError(f"{path}: no such store")
    folder = OneFolder(path, read_only=True)
    try:
        group = zarr.open_group(folder, mode="r", zarr_format=3)
    except Exception as error:
        raise DataError(
            f"{path}: not a store of gh-tools: expected a Zarr group of format 3 ({error})"
        ) from None
    attributes = dict(group.attrs)
    schema, found = attributes.get("schema"), attributes.get("kind")
    if not isinstance(schema, int) or found not in KINDS:
        raise DataError(
            f"{path}: not a store of gh-tools: the root attributes 'kind' and 'schema' must name "
            f"one of {', '.join(KINDS)} and a version, found {found!r} and {schema!r}"
        )
    if schema > SCHEMA:
        raise DataError(
            f"{path}: has schema {schema}, but this version reads up to {SCHEMA}; update gh-tools"
        )
    if attributes.get("status") != "complete":
        raise DataError(
            f"{path}: the store is unfinished (attribute status is {attributes.get('status')!r}, "
            "not 'complete'); make it anew"
        )
    kinds = {kind} if isinstance(kind, str) else set(kind) if kind else set(KINDS)
    if found not in kinds:
        raise DataError(
            f"{path}: expected a store of kind {' or '.join(sorted(kinds))}, found {found}"
        )
    return Store(path, folder, group)


def partial_path(path: Path) -> Path:
    """Return the directory in which an unfinished store is kept."""
    return path.with_name(path.name + ".partial")


def content_id(folder: Path, attributes: Mapping[str, Any]) -> str:
    """Hash of all arrays as stored, with their names, and of the root attributes given."""
    digest = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode())
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / "zarr.json"):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def verify_id(store: Store) -> bool:
    """Tell whether the content of a store is still what its id was computed from."""
    attributes = {"kind": store.kind, "schema": SCHEMA, **store.attributes}
    return content_id(store.path, attributes) == store.id
