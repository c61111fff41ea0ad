"""A store's folder, which must stay the one that was opened."""

from __future__ import annotations

import json
import os
from typing import Any

from zarr.storage import LocalStore

from gh_tools.errors import DataError


class OneFolder(LocalStore):
    """The files of a store; reading raises `DataError` where another store has taken its place.

    A store is replaced by renaming, so that the folder found under the name after a read is the one that was
    read. Where a store is copied over another one, file by file, the id in the root's ``zarr.json`` tells.
    """

    _opened: tuple[Any, ...] | None = None
    _stamp: tuple[int, ...] = ()
    _found: tuple[Any, ...] = ()

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Read a file, or a part of it; see `LocalStore.get`."""
        if self._opened is None:
            self._opened = self._identity()
        found = await super().get(key, *args, **kwargs)
        # Zarr reads the metadata of all arrays in tasks whose errors it tells of itself: see `check`.
        if not key.endswith("zarr.json"):
            self.check()
        return found

    def check(self) -> None:
        """Raise `DataError` if another store has taken the place of the one that was opened."""
        if self._identity() != self._opened:
            raise DataError(
                f"{self.root}: was replaced or removed while it was read, so that results would be of two "
                "stores; start again"
            )

    def _identity(self) -> tuple[Any, ...]:
        """Which folder it is, and the id that stands in it; the latter is read where the file has changed."""
        root = self.root / "zarr.json"
        try:
            folder, file = os.stat(self.root), os.stat(root)
            own = folder.st_dev, folder.st_ino
            stamp = *own, file.st_ino, file.st_size, file.st_mtime_ns
            if stamp != self._stamp:
                self._found = *own, json.loads(root.read_bytes())["attributes"].get("id")
                self._stamp = stamp
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ()
        return self._found
