"""Stores in the making, which survive interruption."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from gh_tools.errors import CannotCreateError
from gh_tools.store.io import build, check_output, open_store, partial_path
from gh_tools.store.provenance import Provenance


class Parts:
    """A folder of parts: files of named arrays, each written whole or not at all.

    A part may be cut into pieces, when it is too large for one file; its own file is then written last.

    Args:
        folder: where they are; any number of processes may write there.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def has_part(self, index: int, piece: int | None = None) -> bool:
        """Tell whether a part, or a piece of one, is finished."""
        return self._part(index, piece).exists()

    def write_part(
        self, index: int, arrays: Mapping[str, np.ndarray], piece: int | None = None
    ) -> None:
        """Write a part or a piece, whole or not at all; a part takes back a recorded failure."""
        file = self._part(index, piece)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        with temporary.open("wb") as stream:
            # In C order, which `read_rows` counts on
            np.savez(stream, **{key: np.asarray(a, order="C") for key, a in arrays.items()})
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
        self._failure(index).unlink(missing_ok=True)

    @contextlib.contextmanager
    def open_part(self, index: int, piece: int | None = None) -> Iterator[Mapping[str, np.ndarray]]:
        """Open a part; its arrays are read when asked for."""
        with np.load(self._part(index, piece), allow_pickle=False) as part:
            yield part

    def arrays(self, index: int, piece: int | None = None) -> dict[str, StoredArray]:
        """Return shape, type and place of all arrays of a part, without reading them."""
        found = {}
        with zipfile.ZipFile(self._part(index, piece)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                    shape, _, dtype = read(stream)
                    header = stream.tell()
                archive.fp.seek(entry.header_offset + 26)
                names = sum(struct.unpack("<HH", archive.fp.read(4)))
                start = entry.header_offset + 30 + names + header
                found[entry.filename.removesuffix(".npy")] = StoredArray(shape, dtype, start)
        return found

    def read_rows(
        self, index: int, piece: int | None, array: StoredArray, rows: slice, axis: int = 0
    ) -> np.ndarray:
        """Read some rows of an array that `arrays` told of."""
        mapped = np.memmap(self._part(index, piece), array.dtype, "r", array.start, array.shape)
        return np.array(mapped[(slice(None),) * axis + (rows,)])

    def fail(self, index: int, name: str, reason: str) -> None:
        """Record that a part cannot be made."""
        record = {"index": index, "name": name, "reason": reason}
        write_atomically(self._failure(index), json.dumps(record).encode())

    def failures(self) -> list[dict[str, Any]]:
        """Records of the parts that could not be made: index, name, reason."""
        files = sorted(self.folder.glob("*.failed.json"))
        return [json.loads(file.read_text()) for file in files]

    def forget_failures(self) -> None:
        """Let failed parts be tried again."""
        for file in self.folder.glob("*.failed.json"):
            file.unlink()

    def _part(self, index: int, piece: int | None) -> Path:
        return self.folder / (f"{index:06d}" + ("" if piece is None else f".{piece:06d}") + ".npz")

    def _failure(self, index: int) -> Path:
        return self.folder / f"{index:06d}.failed.json"


class StoredArray(NamedTuple):
    """An array in a part's file.

    Attributes:
        shape: of the array.
        dtype: of its elements.
        start: byte of the file at which it begins.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int


class PartialStore(Parts):
    """A store in the making that survives interruption: ``NAME.zarr.partial``.

    Writers, also several processes at once, put parts there; `publish` joins them into the store and
    removes the directory. Programs may keep more files (logs, checkpoints) in `directory`.

    Attributes:
        path: of the store that will appear.
        directory: of the unfinished store.
        extends: whether the run goes on from a finished store at `path`, instead of replacing it.
    """

    def __init__(
        self,
        path: Path | str,
        provenance: Provenance,
        *,
        resume: bool = False,
        overwrite: bool = False,
    ):
        """Create or reopen the directory.

        Args:
            path: of the store that will appear.
            provenance: how it is being made.
            resume: go on where an earlier run stopped.
            overwrite: discard what an earlier run left, and replace a finished store at the end.

        Raises:
            CannotCreateError: something is there and neither was asked for, or the run to be
                resumed had another configuration or other inputs.
        """
        self.path, self.provenance = Path(path), provenance
        check_output(self.path, overwrite, resume)
        self.directory = partial_path(self.path)
        super().__init__(self.directory / "parts")
        if overwrite and not resume:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_same_run(resume)

    def _check_same_run(self, resume: bool) -> None:
        entry = self.provenance.entry(self.path)
        run = {key: entry[key] for key in ("program", "seed", "config", "inputs")}
        run = json.loads(json.dumps(run))
        file = self.directory / "run.json"
        if file.exists():
            earlier = json.loads(file.read_text())
            self.extends = earlier["extends"]
        elif resume and self.path.exists():
            earlier = open_store(self.path).history[-1]
            self.extends = True
        else:
            earlier = run
            self.extends = False
        for key in run:
            if run[key] != earlier[key]:
                raise CannotCreateError(
                    f"{self.path}: the run to be resumed had another {key} "
                    f"({_difference(earlier[key], run[key])}); repeat it as it was with --resume, "
                    "or start anew with --overwrite"
                )
        write_atomically(file, json.dumps({**run, "extends": self.extends}).encode())

    def publish(
        self,
        kind: str,
        fill: Callable[[zarr.Group], None],
        attributes: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the store with ``fill``, make it appear, and remove the partial directory."""
        build(self.directory / "store", self.path, kind, fill, self.provenance, attributes)
        shutil.rmtree(self.directory)
        return self.path

    def discard(self) -> None:
        """Remove the partial directory; a finished store stays as it is."""
        shutil.rmtree(self.directory)


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.rename(file)


def _difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in sorted(earlier.keys() | now.keys()):
            if earlier.get(key) != now.get(key):
                return f"{key}: {_difference(earlier.get(key), now.get(key))}"
    return f"{json.dumps(earlier)[:80]} then, {json.dumps(now)[:80]} now"
