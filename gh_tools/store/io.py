"""Writing stores. This module and `read` are the only ones that know how Zarr lies on disk.

A store is a directory that appears under its name only when it is whole: it is written elsewhere and
renamed. What is unfinished lives in ``NAME.zarr.partial``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Shaped

from gh_tools.errors import CannotCreateError
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import content_id, partial_path
from gh_tools.store.schema import KINDS, SCHEMA

_CHUNK = 128 * 1024  # elements; see the architecture page for what was measured
_SHARD = 32  # chunks


def check_output(path: Path, overwrite: bool = False, resume: bool = False) -> None:
    """Raise `CannotCreateError` if writing ``path`` would destroy something or cannot work."""
    path = Path(path)
    if path.name in ("", ".", "..") or not path.absolute().parent.is_dir():
        raise CannotCreateError(
            f"{path}: cannot be created: its folder does not exist; make it first"
        )
    if not os.access(path.absolute().parent, os.W_OK):
        raise CannotCreateError(f"{path}: cannot be created: its folder is not writable")
    if overwrite:
        return
    if path.exists() and not resume:
        raise CannotCreateError(f"{path}: exists already; use --overwrite or another --output")
    if partial_path(path).exists() and not resume:
        raise CannotCreateError(
            f"{partial_path(path)}: left by an unfinished run; go on with --resume or "
            "start anew with --overwrite"
        )


def write(
    path: Path | str,
    kind: str,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
    array_attributes: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a whole store at once.

    Args:
        path: where it will appear.
        kind: what it holds.
        arrays: by path within the store.
        provenance: how it was made.
        attributes: further attributes of the root, JSON-like.
        array_attributes: by path, such as ``{"unit": "eV", "description": "..."}``; the units of
            arrays that the schema knows need not be given.
        overwrite: replace a store that is there.

    Returns:
        ``path``.

    Raises:
        CannotCreateError: it exists, or its folder does not.
    """

    def fill(group: zarr.Group) -> None:
        for key, values in arrays.items():
            put(group, key, values, (array_attributes or {}).get(key))

    return write_with(path, kind, fill, provenance, attributes, overwrite)


def write_with(
    path: Path | str,
    kind: str,
    fill: Callable[[zarr.Group], None],
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a whole store at once by a function that fills its root group; see `write`."""
    path = Path(path)
    check_output(path, overwrite)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        return build(folder / "store", path, kind, fill, provenance, attributes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build(
    workplace: Path,
    path: Path,
    kind: str,
    fill: Callable[[zarr.Group], None],
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
) -> Path:
    """Let ``fill`` write the arrays at ``workplace``, seal the store, and rename it to ``path``.

    Whatever stands at ``path`` is replaced. ``workplace`` must be on the same file system.
    """
    shutil.rmtree(workplace, ignore_errors=True)
    group = zarr.open_group(workplace, mode="w", zarr_format=3)
    fill(group)
    own = {"kind": kind, "schema": SCHEMA, **(attributes or {})}
    group.attrs.update(
        {
            **json.loads(json.dumps(own)),
            "id": content_id(workplace, own),
            "history": provenance.history(path),
            "status": "complete",
        }
    )
    # mkdtemp makes folders private; a store is as readable as any new folder.
    umask = os.umask(0)
    os.umask(umask)
    workplace.chmod(0o777 & ~umask)
    if path.exists():
        doomed = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        path.rename(doomed)
        workplace.rename(path)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        workplace.rename(path)
    return path


def put(
    group: zarr.Group,
    key: str,
    values: Shaped[np.ndarray, "..."],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Create an array and fill it."""
    values = np.asarray(values)
    create(group, key, values.shape, values.dtype, attributes)[...] = values


def create(
    group: zarr.Group,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array:
    """Create an array, chunked along its rows: axis 0, or axis 1 behind a spin axis."""
    if np.dtype(dtype).kind in "UT":
        dtype = str
    axis = row_axis(shape)
    chunks = shards = tuple(max(1, length) for length in shape)
    if shape:
        per_row = max(1, int(np.prod([length for a, length in enumerate(shape) if a != axis])))
        rows = max(1, _CHUNK // per_row)
        if shape[axis] > rows:
            chunks = (*shape[:axis], rows, *shape[axis + 1 :])
            shards = (*shape[:axis], rows * _SHARD, *shape[axis + 1 :])
    array = group.create_array(
        key,
        shape=shape,
        dtype=dtype,
        chunks=chunks if shape else "auto",
        shards=shards if shape and shards != chunks else None,
    )
    array.attrs.update({**_schema_attributes(group, key), **(attributes or {})})
    return array


def row_axis(shape: tuple[int, ...]) -> int:
    """Axis along which blocks follow each other: behind a spin axis where there is one."""
    return 1 if len(shape) == 4 else 0


def put_stream(
    group: zarr.Group,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    pieces: Iterator[np.ndarray],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Create an array and fill it with pieces that follow each other along its row axis.

    Pieces are gathered to whole shards, because writing part of a shard rewrites all of it.
    """
    array = create(group, key, shape, dtype, attributes)
    axis = row_axis(shape)
    unit = (array.shards or array.chunks)[axis]
    waiting: list[np.ndarray] = []
    start = held = 0

    def flush(n: int) -> None:
        nonlocal start, held, waiting
        joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting, axis=axis)
        head, tail = np.split(joined, [n], axis=axis)
        array[(slice(None),) * axis + (slice(start, start + n),)] = head
        start, held, waiting = start + n, held - n, [tail]

    for piece in pieces:
        waiting.append(piece)
        held += piece.shape[axis]
        if held >= unit:
            flush(held - held % unit)
    if held:
        flush(held)


def _schema_attributes(group: zarr.Group, key: str) -> dict[str, str]:
    # The kind is not yet known to the group; paths mean the same in all kinds.
    for fields in KINDS.values():
        for field in fields:
            if field.unit and field.pattern.fullmatch(key):
                return {"unit": field.unit}
    return {}
