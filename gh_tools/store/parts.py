"""Finished parts of an unfinished store, and pieces of parts."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gh_tools.aliases import array_path
from gh_tools.console import log
from gh_tools.errors import CannotCreateError, DataError, TryAgainError
from gh_tools.store.read import RUN, read_json
from gh_tools.store.records import sealed, temporary_name, unsealed, write_atomically
from gh_tools.store.schema import SCHEMA
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
        run = read_json(self.folder.parent / RUN)
        if not isinstance(run, dict) or run.get("token") != self.token:
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
        """Write a part or a piece, whole or not at all; a part takes back a recorded failure.

        Args:
            index: of the structure.
            arrays: what is written, by key.
            piece: number of the piece, of a part that is made in pieces.
        """
        self.check()
        file = self._part(index, piece)
        temporary = temporary_name(file)
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

        Args:
            index: of the structure.
            piece: number of the piece, of a part that is made in pieces.
            seconds: how long to wait.
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
                damaged = archive.testzip() is not None or not _is_whole(archive)
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
        file = self._part(index, piece)
        with np.load(file, allow_pickle=False) as part:
            yield _Arrays(file, part)

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
                start = _content_start(archive, entry) + header
                name = array_path(entry.filename.removesuffix(".npy"), SCHEMA)
                found[name] = StoredArray(shape, dtype, start)
        return found

    def read_rows(
        self, index: int, piece: int | None, array: StoredArray, rows: slice, axis: int = 0
    ) -> np.ndarray:
        """Read some rows of an array that `arrays` told of.

        Args:
            index: of the structure.
            piece: number of the piece, of a part that is made in pieces.
            array: where in the file it stands.
            rows: which of them.
            axis: along which they are counted.
        """
        mapped = np.memmap(self._part(index, piece), array.dtype, "r", array.start, array.shape)
        return np.array(mapped[(slice(None),) * axis + (rows,)])

    def fail(self, index: int, name: str, reason: str, died: bool = False) -> None:
        """Record that a part cannot be made.

        Args:
            index: of the structure.
            name: of the structure.
            reason: the sentence that a person is told.
            died: whether what made it was killed, and may do better when it is run again.
        """
        record = {
            "index": index,
            "name": name,
            "reason": reason,
            **({"died": True} if died else {}),
        }
        write_atomically(self._failure(index), sealed(record))

    def failures(self) -> list[dict[str, Any]]:
        """Records of the parts that could not be made: index, name, reason, and whether it `died`.

        Raises:
            TryAgainError: one is damaged, and has been removed.
        """
        found = []
        for file in sorted(self.folder.glob("*.failed.json")):
            record = unsealed(read_json(file))
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


class _Arrays(Mapping[str, np.ndarray]):
    """Arrays of a part by the names that they have today."""

    def __init__(self, file: Path, part: Mapping[str, np.ndarray]):
        self._file, self._part = file, part
        self._names = {array_path(name, SCHEMA): name for name in part}

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._names:
            raise CannotCreateError(
                f"{self._file}: lacks {key}, as parts of other versions of gh-tools do; start anew with --overwrite"
            )
        return self._part[self._names[key]]

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _content_start(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Return the byte of a file at which the content of one of its entries begins."""
    assert archive.fp is not None  # it is open
    archive.fp.seek(entry.header_offset + 26)
    return entry.header_offset + 30 + sum(struct.unpack("<HH", archive.fp.read(4)))


def _is_whole(archive: zipfile.ZipFile) -> bool:
    """Tell whether entries lie one behind the other up to the list of them.

    The list has no checksum, and one bit of a length in it can hide all entries that follow.
    """
    end = 0
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        if entry.header_offset != end:
            return False
        end = _content_start(archive, entry) + entry.compress_size
    return end == archive.start_dir


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
