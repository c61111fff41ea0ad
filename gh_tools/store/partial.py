"""Stores in the making, which survive interruption."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from gh_tools.console import log
from gh_tools.errors import CannotCreateError, TryAgainError
from gh_tools.store.io import build, check_output
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store, partial_path
from gh_tools.workers.task import Failure


class Parts:
    """A folder of parts: files of named arrays, each written whole or not at all.

    A part may be cut into pieces, when it is too large for one file; its own file is then written last.

    Args:
        folder: where they are; any number of processes may write there, of other machines, too.
        token: of the run that they belong to. What writes later than that run, because nobody could stop it,
            must not write into the next one.
    """

    def __init__(self, folder: Path, token: str):
        self.folder, self.token = folder, token

    def check(self) -> None:
        """Raise `TryAgainError` unless this machine sees the folder, and the run is the one of old."""
        try:
            found = json.loads((self.folder.parent / "run.json").read_text())["token"]
        except FileNotFoundError:
            found = None
        if found != self.token:
            raise TryAgainError(
                f"{socket.gethostname()} does not see the unfinished {self.folder.parent}; all machines "
                "need the folder of the output, under one name: choose one on a shared file system"
            )

    def has_part(self, index: int, piece: int | None = None) -> bool:
        """Tell whether a part, or a piece of one, is finished."""
        return self._part(index, piece).exists()

    def write_part(
        self, index: int, arrays: Mapping[str, np.ndarray], piece: int | None = None
    ) -> None:
        """Write a part or a piece, whole or not at all; a part takes back a recorded failure."""
        self.check()
        file = self._part(index, piece)
        temporary = _temporary(file)
        with temporary.open("wb") as stream:
            # In C order, which `read_rows` counts on
            np.savez(stream, **{key: np.asarray(a, order="C") for key, a in arrays.items()})
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
        self._failure(index).unlink(missing_ok=True)

    def await_part(self, index: int, piece: int | None = None, seconds: float = 90.0) -> bool:
        """Wait until a part that another machine has written is seen here; tell whether it is.

        Network file systems go on denying for a while what they denied once; opening the folder helps.
        """
        give_up = time.monotonic() + seconds
        while not self.has_part(index, piece):
            if time.monotonic() > give_up:
                return False
            os.listdir(self.folder)
            time.sleep(0.1)
        return True

    def settle(self, index: int, name: str, result: Any, piece: int | None = None) -> bool:
        """Take note of the end of a task that was to write a part; tell and record a failure.

        Args:
            index: of the part.
            name: what it is called.
            result: of the task, maybe a `Failure`.
            piece: which piece of the part it was about, if not all.

        Returns:
            Whether the part is there.
        """
        if not isinstance(result, Failure) and not self.await_part(index, piece):
            result = Failure("the file that a worker has written is not seen here")
        if isinstance(result, Failure):
            log.error("%s failed: %s", name, result)
            self.fail(index, name, str(result), result.died)
            return False
        return True

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

    def fail(self, index: int, name: str, reason: str, died: bool = False) -> None:
        """Record that a part cannot be made; ``died`` if what made it was killed, and may do better."""
        record = {
            "index": index,
            "name": name,
            "reason": reason,
            **({"died": True} if died else {}),
        }
        write_atomically(self._failure(index), json.dumps(record).encode())

    def failures(self) -> list[dict[str, Any]]:
        """Records of the parts that could not be made: index, name, reason, and whether it `died`."""
        files = sorted(self.folder.glob("*.failed.json"))
        return [json.loads(file.read_text()) for file in files]

    def forget_failures(self, indices: Iterable[int]) -> None:
        """Let failed parts be tried again."""
        for index in indices:
            self._failure(index).unlink(missing_ok=True)

    def _part(self, index: int, piece: int | None) -> Path:
        return self.folder / (f"{index:06d}" + ("" if piece is None else f".{piece:06d}") + ".npz")

    def _failure(self, index: int) -> Path:
        return self.folder / f"{index:06d}.failed.json"


class Pieces:
    """The pieces of one part, by number: what a long computation need not repeat.

    Args:
        parts: where they are.
        index: of the part.
        first: number in the part of what is called 0 here.
    """

    def __init__(self, parts: Parts, index: int, first: int = 0):
        self._parts, self._index, self._first = parts, index, first

    def after(self, first: int) -> Pieces:
        """Return the same pieces with numbers that begin at ``first``."""
        return Pieces(self._parts, self._index, self._first + first)

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return what was written; None if nothing was."""
        if not self._parts.has_part(self._index, self._first + number):
            return None
        with self._parts.open_part(self._index, self._first + number) as piece:
            return dict(piece)

    def write(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a piece, whole or not at all."""
        self._parts.write_part(self._index, arrays, self._first + number)


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
        if overwrite and not resume:
            shutil.rmtree(self.directory, ignore_errors=True)
        file = self.directory / "run.json"
        entry = provenance.entry(self.path)
        run = {key: entry[key] for key in ("program", "seed", "config", "inputs")}
        run = json.loads(json.dumps(run))
        extends = resume and not overwrite and self.path.exists()
        if extends and not file.exists():
            self._check_same(run, open_store(self.path).history[-1])
        # Of runs that begin at once, one makes the file and the others find it.
        begun = write_once(file, {**run, "extends": extends, "token": uuid.uuid4().hex})
        self._check_same(run, begun)
        self.extends = begun["extends"]
        # Absolute, so that it means the same to other processes
        super().__init__(self.directory.absolute() / "parts", begun["token"])
        self.folder.mkdir(exist_ok=True)

    @property
    def parts(self) -> Parts:
        """The parts alone, to be handed to other processes and machines."""
        return Parts(self.folder, self.token)

    def _check_same(self, run: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
        for key in run:
            if run[key] != earlier[key]:
                raise CannotCreateError(
                    f"{self.path}: the run to be resumed had another {key} "
                    f"({_difference(earlier[key], run[key])}); repeat it as it was with --resume, "
                    "or start anew with --overwrite"
                )

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
    temporary = _temporary(file)
    temporary.write_bytes(content)
    temporary.rename(file)


def write_once(file: Path, content: Any) -> Any:
    """Write JSON into a file unless it is there, also where several do at once; return what it holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        temporary = _temporary(file)
        temporary.write_text(json.dumps(content))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, file)  # unlike a rename, refuses where another was faster
        temporary.unlink()
    return json.loads(file.read_text())


def _temporary(file: Path) -> Path:
    # Process numbers of several machines coincide.
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}")


def _difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in sorted(earlier.keys() | now.keys()):
            if earlier.get(key) != now.get(key):
                return f"{key}: {_difference(earlier.get(key), now.get(key))}"
    return f"{json.dumps(earlier)[:80]} then, {json.dumps(now)[:80]} now"
