"""Opening finished stores, which are checked before anything is computed from them.

Whatever a command opens has passed, in this order: the root's attributes; the metadata of all arrays, and
that their chunks are on disk and hold as much as the metadata says; the schema; the values of all small
arrays; and the hashes. Matrices are checked structure by structure as they are read, see `hamiltonians`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gh_tools.errors import DataError, NoInputError
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.checks.attributes import check_attributes
from gh_tools.store.checks.values import check_values
from gh_tools.store.codecs import CODECS, bounded
from gh_tools.store.contents import Store
from gh_tools.store.folder import OneFolder
from gh_tools.store.hashes import hash_faults, stored_files
from gh_tools.store.schema import KINDS, MAKERS, SCHEMA

# File of an unfinished store that says how it was begun.
RUN = "run.json"
_HASH = re.compile("[0-9a-f]{64}")

# A store of at most so many bytes is hashed whole when it is opened: a tenth of a second. Of a larger one the
# metadata is, and the checksum of each chunk is verified when the chunk is read.
HASHED_BYTES = 2**28
# Arrays above this size altogether must not be so many times what is on disk: matrices and positions compress
# to a half at best, and what is not in the files would be zeros that take all memory.
_UNPACKED_BYTES, _UNPACKED_RATIO = 2**28, 500


class _WholeChunks(OneFolder):
    """Files of which none may be missing: Zarr would take absent chunks for zeros."""

    async def get(self, key, *args, **kwargs):
        found = await super().get(key, *args, **kwargs)
        if found is None and not key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs")):
            raise DataError(f"{self.root}: the chunk {key} is missing; make the store anew")
        return found


def open_store(path: Path | str, kind: str | Iterable[str] | None = None) -> Store:
    """Open a finished store, and check all of it but large arrays.

    Args:
        path: its directory.
        kind: the kind, or the kinds, that will do; any if None.

    Raises:
        NoInputError: there is nothing at ``path``, or nothing that may be read.
        DataError: it is no store of these kinds, unfinished, of a newer schema, damaged, or holds values
            that cannot be; the message names the attribute, file or array.
    """
    path = Path(path)
    attributes = _root_attributes(path)
    schema, found = attributes.get("schema"), attributes.get("kind")
    if type(schema) is not int or schema < 1 or not isinstance(found, str) or found not in KINDS:
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
        expected = " or ".join(sorted(kinds))
        # Structures stand in stores of many kinds, but are made by one command.
        maker = MAKERS["structures" if "structures" in kinds else min(kinds)]
        raise DataError(
            f"{path}: expected a store of kind {expected}, found {found}; {maker} makes one"
        )
    for name in ("id", *(["metadata_id"] if schema > 1 else [])):
        if not isinstance(attributes.get(name), str) or not _HASH.fullmatch(attributes[name]):
            raise DataError(
                f"{path}: the attribute {name} must be a SHA-256 in hexadecimal, found "
                f"{_short(attributes.get(name))}; make the store anew"
            )
    try:
        files = stored_files(path)
        store = _open_arrays(path, schema, files)
        _check_files(store, files)
        faults = itertools.chain(
            (f"the attribute {fault}" for fault in check_attributes(store)),
            check_arrays(store),
            check_values(store),
            # At last, because the others say where
            hash_faults(store, files, whole=sum(files.values()) <= HASHED_BYTES),
        )
        if fault := next(faults, None):
            raise DataError(f"{path}: {fault}; make the store anew")
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read ({error}); make the store anew") from error
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: {error.filename} vanished while the store was opened; is it being replaced?"
        ) from None
    except OSError as error:
        raise NoInputError(f"{error.filename or path}: cannot be read: {error.strerror}") from None
    return store


def _root_attributes(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():
            partial = partial_path(path)
            if partial.exists():
                run = read_json(partial / RUN)
                program = run.get("program") if isinstance(run, dict) else None
                raise NoInputError(
                    f"{path}: not there yet, only the unfinished {partial.name}; "
                    f"finish it with '{program or 'the command that makes it'} --resume -o {shlex.quote(str(path))}'"
                )
            raise NoInputError(f"{path}: no such store")
        if path.is_file():
            raise DataError(
                f"{path}: not a store of gh-tools, but a file; where it holds structures, gh-build makes a store of it: "
                f"gh-build {shlex.quote(str(path))}"
            )
        return _read_root(path)
    except (OSError, ValueError) as error:  # of its name, or of who may read it
        reason = error.strerror if isinstance(error, OSError) else error
        raise NoInputError(f"{path}: cannot be read: {reason}") from None


def _read_root(path: Path) -> dict[str, Any]:
    expected = f"{path}: not a store of gh-tools: expected a folder with a Zarr group of format 3"
    try:
        if not (path / "zarr.json").is_file():  # nor a pipe, which would be waited for
            raise FileNotFoundError
        root = json.loads((path / "zarr.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{expected}, found no zarr.json") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: zarr.json is damaged ({error}); make the store anew") from None
    if not isinstance(root, dict) or (root.get("zarr_format"), root.get("node_type")) != (
        3,
        "group",
    ):
        raise DataError(f"{expected}, found another zarr.json")
    attributes = root.get("attributes", {})
    if not isinstance(attributes, dict):
        raise DataError(
            f"{path}: zarr.json: expected attributes by name, found {_short(attributes)}; "
            "make the store anew"
        )
    return attributes


def _open_arrays(path: Path, schema: int, files: Mapping[str, int]) -> Store:
    """Read the metadata of all arrays; the sentence of an error names the file."""
    # Before schema 2, chunks of nothing but zeros were not written.
    folder = (OneFolder if schema == 1 else _WholeChunks)(path, read_only=True)
    nodes = {file.removesuffix("/zarr.json") for file in files if file.endswith("/zarr.json")}
    with warnings.catch_warnings(), bounded():
        # Of files that are no part of an array, which the hash tells of.
        warnings.simplefilter("ignore")
        try:
            # Without what Zarr may keep of the arrays' metadata in the root, which no hash covers.
            group = zarr.open_group(folder, mode="r", zarr_format=3, use_consolidated=False)
            members = dict(group.members(max_depth=None))
            folder.check()
            arrays = {key: node for key, node in members.items() if isinstance(node, zarr.Array)}
            for array in arrays.values():
                _check_metadata(array)
            if lost := nodes - members.keys():
                raise ValueError(f"{min(lost)} is in no group")
        except (OSError, MemoryError, DataError):
            raise
        except Exception as error:
            # Zarr and its codecs raise many kinds of errors for metadata that is not as it should be.
            where, error = _damaged_metadata(path, nodes) or ("metadata of arrays", error)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path}: {where}: damaged ({_short(reason, 200)}); make the store anew"
            ) from None
    return Store(path, group, arrays)


def _damaged_metadata(path: Path, nodes: Iterable[str]) -> tuple[str, Exception] | None:
    """Find the first file of metadata that cannot be read, and why."""
    for key in sorted(nodes):
        try:
            node = zarr.open(path, path=key, mode="r", zarr_format=3)
            if isinstance(node, zarr.Array):
                _check_metadata(node)
        except Exception as error:
            return f"{key}/zarr.json", error
    return None


def _check_metadata(array: zarr.Array) -> None:
    metadata: Any = array.metadata  # of format 3: another has been refused
    if not isinstance(metadata.attributes, dict):
        raise ValueError("expected attributes by name")
    if metadata.chunk_grid.__class__.__name__ != "RegularChunkGrid":
        raise ValueError("expected a regular chunk grid")
    encoding = metadata.chunk_key_encoding
    if (encoding.name, getattr(encoding, "separator", None)) != ("default", "/"):
        raise ValueError("expected chunk keys of the default encoding")
    names = _codec_names(metadata.codecs)
    if not names <= set(CODECS) or not names >= {"zstd"}:
        raise ValueError(
            f"expected chunks encoded by {', '.join(CODECS)}, found {', '.join(sorted(names))}"
        )
    if min([*array.shape, 0]) < 0 or min([*_chunk_shape(array), *array.chunks, 1]) < 1:
        raise ValueError("expected a shape of no negative, and chunks of positive lengths")


def _codec_names(codecs: Iterable[Any]) -> set[str]:
    """Names of codecs, and of those that shards have within."""
    names = set()
    for codec in codecs:
        names.add(codec.to_dict()["name"])
        names |= _codec_names([*getattr(codec, "codecs", ()), *getattr(codec, "index_codecs", ())])
    return names


def _chunk_shape(array: zarr.Array) -> tuple[int, ...]:
    """Shape of what a file holds: a shard, where there are shards."""
    return tuple(array.shards or array.chunks)


def _check_files(store: Store, files: Mapping[str, int]) -> None:
    """Raise `DataError` unless the chunks of all arrays are there, and can hold what the arrays are."""
    needed = 0
    for key in store.keys():
        array = store.zarr_array(key)
        itemsize = max(1, np.dtype(array.dtype).itemsize)
        lengths = [max(n, c) for n, c in zip(array.shape, _chunk_shape(array), strict=True)]
        needed += math.prod(lengths) * itemsize if 0 not in array.shape else 0
    found = sum(files.values())
    if needed > max(_UNPACKED_BYTES, _UNPACKED_RATIO * found):
        raise DataError(
            f"{store.path}: the shapes of its arrays take {needed / 1e9:.3g} GB of memory, but its files "
            f"hold {found / 1e6:.3g} MB; the metadata is damaged: make the store anew"
        )
    if store.schema == 1:
        return
    for key in store.keys():
        array = store.zarr_array(key)
        counts = [-(-n // c) for n, c in zip(array.shape, _chunk_shape(array), strict=True)]
        for number in range(math.prod(counts)):
            place = map(int, np.unravel_index(number, counts)) if counts else ()
            # By the name that it has on disk, which may be one of before.
            file = "/".join([array.path, "c", *map(str, place)])
            if file not in files:
                raise DataError(
                    f"{store.path}: {key}: the chunk {file} is missing; make the store anew"
                )


def read_json(file: Path) -> Any:
    """Return what a JSON file holds; None if there is none, or it cannot be read."""
    try:
        # What is no file, such as a pipe, might never end.
        return json.loads(file.read_bytes()) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def partial_path(path: Path) -> Path:
    """Return the directory in which an unfinished store is kept."""
    return path.with_name(path.name + ".partial")


def _short(value: Any, most: int = 60) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."
