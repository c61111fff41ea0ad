"""Writing stores. This module and `read` are the only ones that know how Zarr lies on disk.

A store is a directory that appears under its name only when it is whole, see `gh_tools.outputs`. What is
unfinished lives in ``NAME.zarr.partial``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Shaped
from zarr.codecs import Crc32cCodec, ZstdCodec

from gh_tools.outputs.claim import claim
from gh_tools.outputs.publish import (
    NEW,
    move_away,
    publish,
    staging,
    sweep,
)
from gh_tools.store.hashes import content_id, metadata_id
from gh_tools.store.output_checks import (
    check_inputs,
    check_output,
    check_replaceable,
    is_partial,
    refuse_other,
    root_attributes,
)
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import partial_path
from gh_tools.store.schema import KINDS, SCHEMA

_CHUNK = 128 * 1024  # elements
_SHARD = 32  # chunks


def write_arrays(
    path: Path | str,
    kind: str,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
    array_attributes: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    resume: bool = False,
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
        resume: leave a store with the same content as it is.

    Returns:
        ``path``.

    Raises:
        CannotCreateError: it exists, or its folder does not.
    """

    def fill(group: zarr.Group) -> None:
        for key, values in arrays.items():
            put(group, key, values, (array_attributes or {}).get(key))

    return write_with(path, kind, fill, provenance, attributes, overwrite, resume)


def write_with(
    path: Path | str,
    kind: str,
    fill: Callable[[zarr.Group], None],
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Path:
    """Write a whole store at once by a function that fills its root group; see `write_arrays` for arguments and errors.

    Args:
        path: of the store.
        kind: of the store, as the schema names it.
        fill: writes arrays and attributes into the group.
        provenance: the command, its options and inputs.
        attributes: of the root group.
        overwrite: replace a store of ours that is there.
        resume: leave one that the same command made as it is.
    """
    path = Path(path)
    held = claim(path)
    try:
        check_output(path, overwrite, resume)
        check_inputs(path, provenance)
        if held.certain:
            sweep(path)
        with staging(path) as folder:
            identity = fill_store(folder / NEW, path, kind, fill, provenance, attributes)
            if resume and not overwrite and (root_attributes(path) or {}).get("id") == identity:
                return path
            publish(folder / NEW, path, check_replaceable if overwrite else refuse_other)
            if overwrite and is_partial(partial_path(path)):
                move_away(partial_path(path), folder)
    finally:
        held.drop()
    return path


def fill_store(
    new: Path,
    path: Path,
    kind: str,
    fill: Callable[[zarr.Group], None],
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
) -> str:
    """Let ``fill`` write the arrays of a store into the folder ``new``, and seal it.

    Args:
        new: where it is made.
        path: where it will appear: paths of inputs in its history are relative to that.
        kind: what it holds.
        fill: writes the arrays.
        provenance: how it was made.
        attributes: further attributes of the root, JSON-like.

    Returns:
        The store's id.
    """
    group = zarr.open_group(new, mode="w", zarr_format=3)
    # Chunks of zeros are written, too: what is not there is then known to be lost.
    with zarr.config.set({"array.write_empty_chunks": True}):
        fill(group)
    own = {"kind": kind, "schema": SCHEMA, **(attributes or {})}
    own["metadata_id"] = metadata_id(new, own)
    identity = content_id(new, own)
    group.attrs.update(
        {
            **json.loads(json.dumps(own)),
            "id": identity,
            "history": provenance.history(path),
            "status": "complete",
        }
    )
    return identity


def put(
    group: zarr.Group,
    key: str,
    values: Shaped[np.ndarray, "..."],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Create an array and fill it.

    Args:
        group: the root of the store.
        key: path of the array.
        values: all of it.
        attributes: of the array, such as its ``unit``.
    """
    values = np.asarray(values)
    create(group, key, values.shape, values.dtype, attributes)[...] = values


def create(
    group: zarr.Group,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array:
    """Create an array, chunked along its rows: axis 0, or axis 1 behind a spin axis.

    Args:
        group: where it is made.
        key: its path within the group.
        shape: its whole shape, which must be known.
        dtype: of its numbers; texts become strings of any length.
        attributes: its unit and description.
    """
    stored = str if np.dtype(dtype).kind in "UT" else dtype
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
        dtype=stored,
        chunks=chunks if shape else "auto",
        shards=shards if shape and shards != chunks else None,
        compressors=[ZstdCodec(), Crc32cCodec()],
    )
    array.attrs.update({**_schema_attributes(group, key), **(attributes or {})})
    return array


def row_axis(shape: tuple[int, ...]) -> int:
    """Axis along which blocks follow each other: behind axes of members and of spin where there are some."""
    return max(0, len(shape) - 3)


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

    Args:
        group: the root of the store.
        key: path of the array.
        shape: of the whole array.
        dtype: its type.
        pieces: its rows, in order; together as many as ``shape`` says.
        attributes: of the array, such as its ``unit``.
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
