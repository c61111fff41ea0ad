"""Samples kept in the user's cache: made once for a dataset, and read in place.

An entry is a folder: one flat file a field, with the values of all samples behind each other, and the
shapes. Files are mapped into memory, so that reading a sample costs no more than its pages, which the
system drops again when memory runs short: a dataset may be larger than memory.

An entry appears whole, by a rename, so that neither a killed run nor two at once leave half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, get_args, get_type_hints

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Int, Shaped

import gh_tools
from gh_tools.errors import CannotCreateError
from gh_tools.resources import cache_folder
from gh_tools.training.data.samples import Sample

# Entries that were not used for longest go while all together take more bytes than this.
LIMIT = 20 * 2**30
# Seconds after which an unfinished entry that nobody writes to was left by a killed run.
ABANDONED = 86400.0
_DIGEST = "sha256"  # name of the file of an entry that holds the hash of the others


class CachedSamples(Sequence[Sample]):
    """Samples of an entry, which are read when asked for.

    Args:
        folder: of the entry. It may vanish afterwards.

    Raises:
        OSError: there is none.
        ValueError: its files are not what was written.
    """

    def __init__(self, folder: Path):
        # One pass over what the first epoch reads anyway, and then from memory: a flipped bit would train
        # another model.
        if (folder / _DIGEST).read_text() != _digest(folder):
            raise ValueError("the files are not what was written")
        types = json.loads((folder / "types.json").read_text())
        self._columns: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        with np.load(folder / "shapes.npz") as shapes:
            for name, dtype in types.items():
                shape = shapes[name]
                ends = np.concatenate([[0], np.cumsum(np.prod(shape, axis=1, dtype=np.int64))])
                self._columns[name] = _open(_file(folder, name), dtype, int(ends[-1])), ends, shape
        self._count = min(len(shape) for _, _, shape in self._columns.values())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # one at a time
        if not 0 <= index < self._count:
            raise IndexError(index)
        return _unflatten(
            {
                name: values[ends[index] : ends[index + 1]].reshape(shape[index])
                for name, (values, ends, shape) in self._columns.items()
            }
        )

    @cached_property
    def sizes(self) -> Int[np.ndarray, "n 3"]:
        """Numbers of atoms, edges and pairs of each sample."""
        return np.array([sample.size for sample in self])


def cached_samples(
    key: Mapping[str, Any], make: Callable[[], Iterable[Sample]], root: Path | None = None
) -> CachedSamples:
    """Find samples in the cache, or make them and put them there.

    Args:
        key: all that decides them, JSON-like. The program's code is added to it.
        make: makes them, one after the other; all have the same fields.
        root: the cache; the user's if not given.

    Raises:
        CannotCreateError: the cache cannot be written.
    """
    root = root or cache_folder() / "samples"
    named = json.dumps({**key, "code": _fingerprint()}, sort_keys=True)
    folder = root / hashlib.sha256(named.encode()).hexdigest()[:32]
    try:
        found = CachedSamples(folder)
        os.utime(folder)  # what was used last goes last
        return found
    except (OSError, ValueError, KeyError):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", dir=root))
    except OSError as error:
        raise _cannot_write(root, error) from error
    try:
        _write(staging, make())
        found = CachedSamples(staging)
        with contextlib.suppress(OSError):  # another run was faster, with the same samples
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _tidy(root, keep=folder)
    return found


def _write(folder: Path, samples: Iterable[Sample]) -> None:
    types: dict[str, str] = {}
    shapes: dict[str, list[tuple[int, ...]]] = {}
    files: dict[str, BinaryIO] = {}
    with contextlib.ExitStack() as stack:
        for count, sample in enumerate(samples):
            fields = _flatten(sample)
            if count == 0:
                types = {name: values.dtype.str for name, values in fields.items()}
                shapes = {name: [] for name in fields}
            if types != {name: values.dtype.str for name, values in fields.items()}:
                raise ValueError("samples differ in their fields or types")
            try:
                for name, values in fields.items():
                    if name not in files:
                        files[name] = stack.enter_context(_file(folder, name).open("wb"))
                    files[name].write(values.tobytes())
                    shapes[name].append(values.shape)
            except OSError as error:
                raise _cannot_write(folder.parent, error) from error
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    lists: dict[str, Any] = {
        name: np.array(shape, dtype=np.int64) for name, shape in shapes.items()
    }
    np.savez(folder / "shapes.npz", **lists)
    (folder / "types.json").write_text(json.dumps(types))
    (folder / _DIGEST).write_text(_digest(folder))


def _digest(folder: Path) -> str:
    """Hash of all files of an entry, with their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name != _DIGEST:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{file.name}\0{content}\n".encode())
    return digest.hexdigest()


def _flatten(sample: Sample) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return all arrays of a sample by their path; fields that are None are left out."""
    fields = {
        name: value._asdict() if hasattr(value, "_asdict") else value
        for name, value in vars(sample).items()
        if value is not None
    }
    return {name: np.asarray(value) for name, value in flatten_dict(fields, sep="/").items()}


def _unflatten(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> Sample:
    fields = unflatten_dict(arrays, sep="/")
    return Sample(
        **{
            name: _tuples()[name](**value) if name in _tuples() else value
            for name, value in fields.items()
        }
    )


@cache
def _tuples() -> dict[str, type]:
    """Fields of samples that are named tuples (or None), and their types."""
    return {
        name: kind
        for name, hint in get_type_hints(Sample).items()
        for kind in (hint, *get_args(hint))
        if hasattr(kind, "_fields")
    }


def _open(file: Path, dtype: str, count: int) -> Shaped[np.ndarray, " values"]:
    if count == 0:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(file, dtype, mode="r", shape=(count,)))


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '.')}.bin"


@cache
def _fingerprint() -> str:
    """Hash of the whole package: what other code made is not mistaken for ours."""
    digest = hashlib.sha256()
    package = Path(gh_tools.__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _tidy(root: Path, keep: Path) -> None:
    """Remove what killed runs left and, beyond the limit, what was not used for longest."""
    entries = []
    for folder in root.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run tidies up, too
            files = [file.stat() for file in folder.iterdir()]
            size, used = sum(file.st_size for file in files), folder.stat().st_mtime
            if not folder.name.startswith("."):
                entries.append((folder == keep, used, size, folder))
            elif time.time() - max([used, *(file.st_mtime for file in files)]) > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
    room = LIMIT
    for kept, _, size, folder in sorted(entries, reverse=True):
        room -= size
        if room < 0 and not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _cannot_write(root: Path, error: OSError) -> CannotCreateError:
    return CannotCreateError(
        f"{root}: samples cannot be kept there ({error.strerror}); "
        "let XDG_CACHE_HOME name a folder with more room"
    )
