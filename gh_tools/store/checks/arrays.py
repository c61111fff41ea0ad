"""Arrays against the schema: names, shapes, types, units and offsets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gh_tools.store.checks.limits import shortened_value
from gh_tools.store.contents import Store
from gh_tools.store.schema import KINDS, Field

_DTYPES = {"number": "fib", "float": "f", "int": "i", "bool": "b", "str": "TUO"}
_GLOBAL = {"n", "N"}  # lengths that hold for a whole store


def check_arrays(store: Store) -> Iterator[str]:
    """Validate names, shapes, types and units against the schema, reading metadata and pointers only.

    Yields:
        One sentence for each fault, naming the array; nothing for a valid store.
    """
    lengths: dict[tuple[str, str], int] = {}
    keys, fields = store.keys(), KINDS[store.kind]
    for key in keys:
        if not key.isprintable() or ".." in key.split("/"):
            yield f"{key!r}: expected a path of printable characters"
    known: set[str] = set()
    for field in fields:
        found = [key for key in keys if field.pattern.fullmatch(key)]
        known.update(found)
        if field.required and not found and "<" not in field.path:
            yield f"{field.path} is missing"
        for key in found:
            yield from _check_array(store, key, field, lengths)
    for key in keys:
        families = (f.path.split("<")[0] for f in fields if "<" in f.path)
        if key not in known and any(key.startswith(family) for family in families):
            yield f"{key}: expected no such array in a store of kind {store.kind}"
    # Families are required group by group: a group with one of their arrays must have all.
    for field in fields:
        if field.required and "<" in field.path:
            group, name = field.path.rsplit("/", 1)
            pattern = Field(group + "/<name>", "", "", "", "").pattern
            groups = {key.rsplit("/", 1)[0] for key in keys if pattern.fullmatch(key)}
            for place in sorted(groups):
                if f"{place}/{name}" not in store:
                    yield f"{place}/{name} is missing"


def _check_array(
    store: Store, key: str, field: Field, lengths: dict[tuple[str, str], int]
) -> Iterator[str]:
    shape, dtype = store.shape(key), store.dtype(key)
    if dtype.kind not in _DTYPES[field.dtype]:
        yield f"{key}: expected {field.dtype} values, found {dtype}"
        return
    attributes = store.array_attributes(key)
    for name in ("unit", "description"):
        if not isinstance(attributes.get(name, ""), str):
            yield f"{key}: expected a text as its {name}, found {shortened_value(attributes[name])}"
            return
    if field.unit and attributes.get("unit", field.unit) != field.unit:
        yield f"{key}: expected values in {field.unit}, found them in {attributes['unit']!r}"
    axes = field.shape.split()
    if len(shape) < len(axes):
        axes = [axis for axis in axes if not axis.endswith("?")]
    if len(shape) != len(axes):
        yield f"{key}: expected shape ({field.shape}), found {shape}"
        return
    for axis, length in zip(axes, shape, strict=True):
        symbol, plus = (axis.rstrip("?")).removesuffix("+1"), axis.endswith("+1")
        if symbol.isdigit():
            expected = int(symbol)
        else:
            scope = "" if symbol in _GLOBAL else key.rsplit("/", 1)[0]
            expected = lengths.setdefault((scope, symbol), length - plus) + plus
        if length != expected:
            yield f"{key}: expected {expected} along axis {axis} of ({field.shape}), found {length}"
            return
    if key.endswith("ptr"):
        yield from _check_ptr(store, key)


def _check_ptr(store: Store, key: str) -> Iterator[str]:
    values = store[key]
    if values.size == 0 or values[0] != 0 or np.any(np.diff(values) < 0):
        yield f"{key}: offsets must start at 0 and never decrease"
        return
    rows = {
        "structures/atom_ptr": "atoms/number",
        "bands/kpoint_ptr": "bands/weight",
        "bands/eigenvalue_ptr": "bands/eigenvalue",
    }
    group = key.rsplit("/", 1)[0]
    target = rows.get(key) or next(
        (f"{group}/{name}" for name in ("atom", "i", "atoms") if f"{group}/{name}" in store), None
    )
    if target is not None and target in store and values[-1] != store.shape(target)[0]:
        yield f"{key}: ends at {values[-1]}, but {target} has {store.shape(target)[0]} rows"
