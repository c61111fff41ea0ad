"""The table that a regression works on: one row a structure, joined from several stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.store.identity import copies
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures, read_structures


@dataclass
class Table:
    """Named columns of numbers.

    Attributes:
        rows: names of the structures.
        columns: values by name, float64.
        units: by name; empty for pure numbers.
        source: where it is from, for messages.
    """

    rows: list[str]
    columns: dict[str, Float[np.ndarray, " n"]]
    units: dict[str, str]
    source: str


def read_columns(stores: Sequence[Store], names: Iterable[str]) -> Table:
    """Read columns and per-structure scalars of stores that carry structures, one store after another.

    Args:
        stores: the stores.
        names: of the columns (``column/<name>``) and scalars (``scalar/<name>``) to read.

    Raises:
        DataError: a store is given twice, or two hold the same structure; a store lacks a name, or has it as column and as scalar; a
            column is not numeric; units differ between stores.
    """
    _check_different(stores)
    names = list(dict.fromkeys(names))
    rows: list[str] = []
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    units: dict[str, str] = {}
    for store in stores:
        keys = _keys(store)
        for name in names:
            key = _key(store, keys, name)
            unit = store.unit(key)
            if units.setdefault(name, unit) != unit:
                raise DataError(
                    f"{store.path}: {key} is in {unit or 'pure numbers'}, but in "
                    f"{units[name] or 'pure numbers'} in {stores[0].path}; make them anew in one unit"
                )
            parts[name].append(store[key].astype(np.float64))
        rows += [str(row) for row in store["structures/name"]]
    source = ", ".join(str(store.path) for store in stores)
    columns = {name: np.concatenate(parts[name]) for name in names}
    return Table(rows, columns, units, source)


def _check_different(stores: Sequence[Store]) -> None:
    seen: dict[str, Store] = {}
    for store in stores:
        if store.id in seen:
            raise DataError(
                f"{store.path}: has the same content as {seen[store.id].path}, so that its structures "
                "would count twice; give it once"
            )
        seen[store.id] = store
    if len(stores) > 1:
        _check_no_copies([read_structures(store) for store in stores])


def _check_no_copies(parts: Sequence[Structures]) -> None:
    """Make sure that no structure, with its design variables, stands in two stores."""
    number = iter(copies([atoms for part in parts for atoms in part.atoms]).tolist())
    seen: dict[tuple, tuple[Structures, int]] = {}
    for part in parts:
        for index in range(len(part)):
            variables = {name: float(c.values[index]) for name, c in part.columns.items()}
            key = next(number), *sorted((name, repr(value)) for name, value in variables.items())
            other, place = seen.setdefault(key, (part, index))
            if other is not part:
                raise DataError(
                    f"{part.source}: {part.names[index]!r} is the same structure as {other.names[place]!r} "
                    f"of {other.source}, so that it would count twice; leave it out of one of them"
                )


def _keys(store: Store) -> dict[str, list[str]]:
    """Paths of all arrays that hold one number a structure, by the name that a formula may use."""
    n = store.shape("structures/name")[0]
    found: dict[str, list[str]] = {}
    for key in [*store.keys("column/"), *store.keys("scalar/")]:
        if store.shape(key) == (n,) and store.dtype(key).kind in "fiub":
            found.setdefault(key.partition("/")[2], []).append(key)
    return found


def _key(store: Store, keys: dict[str, list[str]], name: str) -> str:
    if name not in keys:
        known = ", ".join(sorted(keys)) or "none"
        raise DataError(
            f"{store.path}: has no column or scalar {name!r} with one number a structure; "
            f"there are: {known}"
        )
    if len(keys[name]) > 1:
        raise DataError(
            f"{store.path}: {name!r} is ambiguous, being both {' and '.join(keys[name])}; "
            "rename the column when building the structures"
        )
    return keys[name][0]
