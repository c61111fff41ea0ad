"""The numbers of a store's structures as rows: for a person, a spreadsheet or a script."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gh_tools.errors import UsageError
from gh_tools.store.read import Store
from gh_tools.tables import aligned

_DIGITS = 6  # significant ones, of the largest number of a column
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class StructureRows:
    """A row a structure.

    Attributes:
        names: of the structures.
        columns: by name; numbers, NaN where a structure has none, or text, None likewise.
        units: by name; empty for pure numbers and text.
    """

    names: list[str]
    columns: dict[str, list[Any]]
    units: dict[str, str]

    @property
    def titles(self) -> list[str]:
        """Headings with units: of the names, and of the columns."""
        return [
            "name",
            *(f"{key} ({unit})" if (unit := self.units[key]) else key for key in self.columns),
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return an object a structure; None where it has no number."""
        return [
            {
                "name": name,
                **{key: finite_or_none(values[row]) for key, values in self.columns.items()},
            }
            for row, name in enumerate(self.names)
        ]

    def to_csv(self) -> str:
        """Return comma-separated values with a line of titles, numbers to the last bit; empty where there is none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.titles)
        for record in self.records():
            writer.writerow("" if value is None else _shortest(value) for value in record.values())
        return text.getvalue().rstrip("\n")

    def to_text(self, width: int | None = None) -> str:
        """Return an aligned table, numbers to six digits of the largest in a column.

        Args:
            width: columns of the terminal: what does not fit follows below, beside the names again.
        """
        cells = [self.names, *(_cells(values) for values in self.columns.values())]
        return aligned(list(zip(*cells, strict=True)), self.titles, width)


def read_rows(store: Store) -> StructureRows:
    """Read all columns and scalars of a store, and to which part of the split its structures belong.

    A spectrum's kind of gap stands as a word, ``gap_kind``.

    Args:
        store: of a kind with structures.

    Raises:
        UsageError: it has no structures.
    """
    if "structures/name" not in store:
        raise UsageError(
            f"{store.path}: is of kind {store.kind} and has no structures to tabulate; gh-info without --table shows "
            "what it holds"
        )
    names = [str(name) for name in store["structures/name"]]
    columns: dict[str, list[Any]] = {}
    units: dict[str, str] = {}
    if "split/train" in store:
        of = {int(i): part for part in _PARTS for i in store[f"split/{part}"]}
        columns["split"] = [of.get(row) for row in range(len(names))]
    for group in ("column", "scalar"):
        for key in store.group_names(group):
            # A design variable and a result may share a name, such as charge.
            name = key if key not in columns else f"{group}_{key}"
            columns[name] = np.asarray(store[f"{group}/{key}"], dtype=float).tolist()
            units[name] = store.unit(f"{group}/{key}")
    if "gap_is_direct" in columns and "band_gap" in columns:
        pairs = zip(columns["band_gap"], columns.pop("gap_is_direct"), strict=True)
        columns["gap_kind"] = [gap_kind(gap, direct) for gap, direct in pairs]
    return StructureRows(names, columns, {key: units.get(key, "") for key in columns})


def join_rows(tables: Sequence[tuple[str, StructureRows]]) -> StructureRows:
    """Return the rows of several stores as one table, whose first column ``store`` tells them apart.

    Args:
        tables: path and rows of each store.

    Raises:
        UsageError: a column has another unit in one of them.
    """
    names: list[str] = []
    columns: dict[str, list[Any]] = {"store": []}
    units: dict[str, str] = {"store": ""}
    for path, rows in tables:
        for key, values in rows.columns.items():
            if units.setdefault(key, rows.units[key]) != rows.units[key]:
                raise UsageError(
                    f"{path}: {key} is in {rows.units[key] or 'no unit'}, and in {units[key] or 'no unit'} in a store "
                    "before it; show them one by one"
                )
            columns.setdefault(key, [None] * len(names)).extend(values)
        columns["store"] += [path] * len(rows.names)
        names += rows.names
        for values in columns.values():
            values += [None] * (len(names) - len(values))
    return StructureRows(names, columns, units)


def gap_kind(gap: float, direct: float) -> str | None:
    """Return ``metal``, ``direct`` or ``indirect``; None where that was not looked for.

    Args:
        gap: in eV, 0 of a metal.
        direct: 1 or 0, or NaN.
    """
    if gap == 0:
        return "metal"
    return None if np.isnan(direct) else "direct" if direct else "indirect"


def finite_or_none(value: Any) -> Any:
    """Return None for what a structure has none of, which is NaN: JSON knows no NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _shortest(value: Any) -> Any:
    """Return a number as its shortest text that is read as the same, whole ones without a fraction."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole else value


def _cells(values: Sequence[Any]) -> list[str]:
    numbers = [v for v in values if isinstance(v, float) and np.isfinite(v)]
    top = max(map(abs, numbers), default=0.0)
    if all(v.is_integer() for v in numbers) and top < 1e9:
        form = ".0f"
    elif 1e-4 <= top < 1e6:
        form = f".{max(0, _DIGITS - 1 - int(np.floor(np.log10(top))))}f"
    else:
        form = f".{_DIGITS - 1}e"
    return [
        "–" if finite_or_none(v) is None else f"{v:{form}}" if isinstance(v, float) else str(v)
        for v in values
    ]
