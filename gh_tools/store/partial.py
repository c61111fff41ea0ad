"""Stores in the making, which survive interruption."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
import uuid
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from gh_tools.console import log
from gh_tools.errors import CannotCreateError, DataError, TryAgainError
from gh_tools.outputs.claim import claim
from gh_tools.outputs.publish import (
    NEW,
    move_away,
    publish,
    rename_new,
    staging,
    sweep,
)
from gh_tools.store.io import (
    check_inputs,
    check_output,
    check_replaceable,
    fill_store,
    read_json,
    root_attributes,
)
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
        self._verified: set[Path] = set()

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
            # Uncompressed and in C order: `read_rows` maps arrays into memory, and `arrays` checks it
            contents: dict[str, Any] = {k: np.asarray(a, order="C") for k, a in arrays.items()}
            np.savez(stream, **contents)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
        self._verified.discard(file)
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

    def record_outcome(self, index: int, name: str, result: Any, piece: int | None = None) -> bool:
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

    def verify(self, index: int, piece: int | None = None) -> None:
        """Compare the checksums of a part with what it holds, once.

        Raises:
            TryAgainError: it is damaged, and has been removed.
        """
        file = self._part(index, piece)
        if file in self._verified:
            return
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip() is not None
        except FileNotFoundError:
            raise
        except Exception:  # of many kinds, by which bytes are damaged
            damaged = True
        if damaged:
            file.unlink()
            self._part(index, None).unlink(missing_ok=True)
            raise TryAgainError(
                f"{file}: was damaged, and has been removed; go on with --resume, which makes it again"
            )
        self._verified.add(file)

    @contextlib.contextmanager
    def open_part(self, index: int, piece: int | None = None) -> Iterator[Mapping[str, np.ndarray]]:
        """Open a part, which is then known to be what was written; its arrays are read when asked for."""
        self.verify(index, piece)
        with np.load(self._part(index, piece), allow_pickle=False) as part:
            yield part

    def arrays(self, index: int, piece: int | None = None) -> dict[str, StoredArray]:
        """Return shape, type and place of all arrays of a part, which is then known to be what was written.

        Raises:
            DataError: one is compressed or in Fortran order, so that `read_rows` would give other numbers.
            TryAgainError: the part is damaged, and has been removed.
        """
        self.verify(index, piece)
        found = {}
        with zipfile.ZipFile(self._part(index, piece)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                    shape, fortran, dtype = read(stream)
                    if entry.compress_type != zipfile.ZIP_STORED or (fortran and len(shape) > 1):
                        raise DataError(
                            f"{archive.filename}: {entry.filename} must be uncompressed and in C order, to "
                            "be read in place; remove the file, and go on with --resume"
                        )
                    header = stream.tell()
                assert archive.fp is not None  # it is open
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
        write_atomically(self._failure(index), _sealed(record))

    def failures(self) -> list[dict[str, Any]]:
        """Records of the parts that could not be made: index, name, reason, and whether it `died`.

        Raises:
            TryAgainError: one is damaged, and has been removed.
        """
        found = []
        for file in sorted(self.folder.glob("*.failed.json")):
            record = _unsealed(read_json(file))
            if record is None:
                file.unlink(missing_ok=True)
                raise TryAgainError(
                    f"{file}: was damaged, and has been removed; go on with --resume, which tries again"
                )
            found.append(record)
        return found

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
        try:
            self._parts.verify(self._index, self._first + number)
        except TryAgainError:
            return None  # removed: it is computed again
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

    The output is claimed until it is published, or this object is gone. Runs that share the work, and other
    processes of a run, put parts there; `publish` joins them into the store and removes the directory.
    Programs may keep more files (logs, checkpoints) in `directory`.

    Attributes:
        path: of the store that will appear.
        directory: of the unfinished store.
        finished: whether a resumed run has nothing left to do: the store stands at `path`, and there is no
            directory.
        extends: whether the run goes on from a finished store at `path` that lacks what failed.
    """

    def __init__(
        self,
        path: Path | str,
        provenance: Provenance,
        *,
        resume: bool = False,
        overwrite: bool = False,
        shared: bool = False,
    ):
        """Create or reopen the directory.

        Args:
            path: of the store that will appear.
            provenance: how it is being made.
            resume: go on where an earlier run stopped.
            overwrite: discard what an earlier run left, and replace a finished store at the end; with
                `resume` the latter alone.
            shared: go on, or begin, beside other runs that share the work; none of them publishes.

        Raises:
            CannotCreateError: something is there and neither was asked for, or the run to be
                resumed had another configuration or other inputs.
            TryAgainError: another run is at work on this output.
        """
        self.path, self.provenance = Path(path), provenance
        self.directory = partial_path(self.path)
        self._claim = claim(self.path, shared)
        self._drop = weakref.finalize(self, self._claim.drop)
        resume = resume or shared
        check_output(self.path, overwrite, resume)
        check_inputs(self.path, provenance)
        self._overwrite = overwrite
        if not shared and self._claim.certain:
            sweep(self.path)
        run = _run(provenance, self.path)
        standing = root_attributes(self.path)
        with staging(self.path) as folder:
            if self.directory.exists() and (
                (overwrite and not resume) or _is_published(self.directory, standing)
            ):
                move_away(self.directory, folder)
            self.finished = (
                resume
                and not overwrite
                and not self.directory.exists()
                and is_finished(self.path, provenance)
            )
            if not self.finished and not self.directory.exists():
                self._begin(folder / NEW, run, standing, resume and not overwrite)
        if self.finished:
            self.extends = False
            super().__init__(self.directory.absolute() / "parts", "")
            return
        begun = read_json(self.directory / "run.json")
        if not isinstance(begun, dict) or not {*run, "extends", "token"} <= set(begun):
            raise CannotCreateError(
                f"{self.directory / 'run.json'}: cannot be read; start anew with --overwrite"
            )
        _check_same(self.path, run, begun)
        identity = None if standing is None else standing.get("id")
        # Earlier versions did not note what they would replace.
        replaces = begun.get("replaces", identity)
        if standing is not None and not overwrite and identity != replaces:
            raise CannotCreateError(
                f"{self.path}: has appeared, or was replaced, since the run to be resumed began; move it away, "
                "or replace it by going on with --resume --overwrite"
            )
        self.extends, self._replaces = begun["extends"], replaces
        # Absolute, so that it means the same to other processes
        super().__init__(self.directory.absolute() / "parts", begun["token"])

    def _begin(
        self, new: Path, run: Mapping[str, Any], standing: Mapping[str, Any] | None, extends: bool
    ) -> None:
        """Make the directory; of runs that share the work, one makes it and the others find it."""
        begun = {
            **run,
            "extends": extends and standing is not None,
            "replaces": None if standing is None else standing.get("id"),
            "token": uuid.uuid4().hex,
        }
        (new / "parts").mkdir(parents=True)
        write_atomically(new / "run.json", json.dumps(begun).encode())
        with contextlib.suppress(FileExistsError):
            rename_new(new, self.directory)

    @property
    def parts(self) -> Parts:
        """The parts alone, to be handed to other processes and machines."""
        return Parts(self.folder, self.token)

    def publish(
        self,
        kind: str,
        fill: Callable[[zarr.Group], None],
        attributes: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the store with ``fill``, make it appear, and remove the partial directory.

        A store that the run went on from, and did not change, stays as it is.

        Raises:
            CannotCreateError: another store has appeared meanwhile; what is finished is kept.
        """
        with staging(self.path) as folder:
            new = folder / NEW
            identity = fill_store(new, self.path, kind, fill, self.provenance, attributes)
            # So that a run that is killed from here on need not be repeated
            write_atomically(self.directory / _PUBLISHED, json.dumps({"id": identity}).encode())
            standing = root_attributes(self.path)
            if not self.extends or standing is None or standing.get("id") != identity:
                publish(new, self.path, self._check_replaced)
            move_away(self.directory, folder)
        self._claim.end()
        return self.path

    def _check_replaced(self, path: Path) -> None:
        check_replaceable(path)
        standing = root_attributes(path)
        if standing is not None and not self._overwrite and standing.get("id") != self._replaces:
            raise CannotCreateError(
                f"{self.path}: another store has appeared while this run was at work. What the run has made is kept: "
                "move that store away and use --resume, or replace it with --resume --overwrite"
            )


def is_finished(path: Path, provenance: Provenance) -> bool:
    """Tell whether a store stands at ``path`` that a run like this one has made, and that lacks nothing.

    Raises:
        CannotCreateError: the store was made otherwise, so that a run cannot go on from it.
    """
    if not path.exists():
        return False
    store = open_store(path)
    _check_same(path, _run(provenance, path), store.history[-1] if store.history else {})
    return not store.attributes.get("failed")


_PUBLISHED = "published.json"


def _is_published(directory: Path, standing: Mapping[str, Any] | None) -> bool:
    """Tell whether what stands at the output is the store that was made in a partial directory."""
    made = read_json(directory / _PUBLISHED)
    return standing is not None and isinstance(made, dict) and made.get("id") == standing.get("id")


def _run(provenance: Provenance, path: Path) -> dict[str, Any]:
    """Return what a run must have in common with the one that it goes on from, as JSON has it."""
    entry = provenance.entry(path)
    return json.loads(json.dumps({key: entry[key] for key in _SAME}))


_SAME = ("program", "seed", "config", "inputs")


def _check_same(path: Path, run: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    for key in run:
        if run[key] != earlier.get(key):
            raise CannotCreateError(
                f"{path}: the run to be resumed had another {key} "
                f"({_difference(earlier.get(key), run[key])}); repeat it as it was with --resume, "
                "or start anew with --overwrite"
            )


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = _temporary(file)
    with temporary.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(file)


def write_once(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object into a file unless it is there, also where several do at once; return what it holds.

    Raises:
        CannotCreateError: what is there is not what was written.
    """
    if not file.exists():
        temporary = _temporary(file)
        temporary.write_bytes(_sealed(content))
        with contextlib.suppress(FileExistsError):
            rename_new(temporary, file)
        temporary.unlink(missing_ok=True)
    found = read_json(file)
    held = _unsealed(found)
    if held is None:
        # Earlier versions wrote no checksum.
        reason = (
            "is of an earlier version of gh-tools" if _is_plain(found, content) else "is damaged"
        )
        raise CannotCreateError(
            f"{file}: {reason}, so that what is unfinished cannot be gone on with; start anew with --overwrite"
        )
    return held


def _is_plain(found: Any, content: Mapping[str, Any]) -> bool:
    return isinstance(found, dict) and "crc32" not in found and bool(found.keys() & content.keys())


def _sealed(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object with a checksum of it."""
    return json.dumps({**content, "crc32": _checksum(content)}).encode()


def _unsealed(found: Any) -> dict[str, Any] | None:
    """Return what a sealed object held; None if it is none, or damaged."""
    if not isinstance(found, dict):
        return None
    content = {key: value for key, value in found.items() if key != "crc32"}
    return content if found.get("crc32") == _checksum(content) else None


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _temporary(file: Path) -> Path:
    # Process numbers of several machines coincide.
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}")


def _difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in sorted(earlier.keys() | now.keys()):
            if earlier.get(key) != now.get(key):
                return f"{key}: {_difference(earlier.get(key), now.get(key))}"
    return f"{json.dumps(earlier)[:80]} then, {json.dumps(now)[:80]} now"
