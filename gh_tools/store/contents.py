"""A finished store, open for reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gh_tools.aliases import array_path
from gh_tools.errors import DataError, NoInputError

# Bytes of arrays that are read once: those that are checked when a store is opened are then asked for.
_SMALL = 2**20
_OWN_ATTRIBUTES = ("kind", "schema", "id", "metadata_id", "history", "status")


class Store:
    """A finished store, open for reading. ``store["atoms/number"]`` reads a whole array.

    Attributes:
        path: the directory.
        kind: what it holds: structures, hamiltonians, scaleshift, model, spectra or posterior.
        schema: that it was written by; arrays have today's names all the same.
        id: hash of its content.
        metadata_id: hash of its attributes and of the metadata of its arrays; empty before schema 2.
        history: how it was made, oldest entry first.
        attributes: all other attributes of the root.
    """

    def __init__(self, path: Path, group: zarr.Group, arrays: Mapping[str, zarr.Array]):
        self.path = path
        attributes: dict[str, Any] = dict(group.attrs)
        self.kind: str = attributes["kind"]
        self.schema: int = attributes["schema"]
        self.id: str = attributes["id"]
        self.history: list[dict[str, Any]] = attributes["history"]
        self.attributes = {k: v for k, v in attributes.items() if k not in _OWN_ATTRIBUTES}
        named = {array_path(key, self.schema): array for key, array in arrays.items()}
        self._arrays = dict(sorted(named.items()))
        self._known: dict[str, np.ndarray] = {}
        self.metadata_id: str = attributes.get("metadata_id", "")

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array."""
        return self.zarr_array(key).shape

    def dtype(self, key: str) -> np.dtype:
        """Type of an array's values."""
        return np.dtype(self.zarr_array(key).dtype)

    def array_attributes(self, key: str) -> dict[str, Any]:
        """Attributes of an array, such as unit and description."""
        return dict(self.zarr_array(key).attrs)

    def read(self, key: str, where: Any = ...) -> np.ndarray:
        """Read an array, or the part of it that an index or slices select.

        Raises:
            DataError: there is no such array, or its chunks are damaged or missing.
            NoInputError: they may not be read, or the disk fails.
        """
        array = self.zarr_array(key)
        if where is ... and key in self._known:
            return self._known[key].copy()
        try:
            values = np.asarray(array[where])
        except (DataError, MemoryError):
            raise
        except OSError as error:
            reason = error.strerror or error
            raise NoInputError(f"{self.path}: {key}: cannot be read: {reason}") from error
        except Exception as error:
            # Codecs raise many kinds of errors for damaged chunks.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.path}: {key}: its chunks cannot be read ({reason}); make the store anew"
            ) from error
        if where is ... and values.nbytes <= _SMALL:
            self._known[key] = values.copy()
        return values

    def __getitem__(self, key: str) -> np.ndarray:
        return self.read(key)

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def keys(self, prefix: str = "") -> list[str]:
        """Paths of all arrays that start with ``prefix``, sorted."""
        return [key for key in self._arrays if key.startswith(prefix)]

    def group_names(self, prefix: str) -> list[str]:
        """Names of the groups (or arrays) directly below a group, sorted."""
        below = prefix.rstrip("/") + "/"
        return sorted({key.removeprefix(below).split("/")[0] for key in self.keys(below)})

    def unit(self, key: str) -> str:
        """Return the unit of an array's values: empty for pure numbers, and where none is stored."""
        unit = str(self.array_attributes(key).get("unit", ""))
        return "" if unit == "1" else unit  # so stores of versions up to 0.2 mark pure numbers

    def zarr_array(self, key: str) -> zarr.Array:
        """An array as Zarr has it; raise `DataError` if it is missing."""
        if key not in self._arrays:
            raise DataError(
                f"{self.path}: the array {key} is missing; look with gh-info --check, "
                "and make the store anew"
            )
        return self._arrays[key]
