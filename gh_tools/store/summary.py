"""What a store holds, in words and numbers a person or a script can use."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gh_tools.store.read import Store

_FORMULAE_SHOWN = 8


def summarize(store: Store) -> dict[str, Any]:
    """Describe a store, reading metadata and small arrays only.

    Args:
        store: of any kind.

    Returns:
        A JSON-like object: path, kind, id, size in bytes, ``arrays`` (path, shape, dtype, unit),
        ``history``, ``attributes``; and where the store has them ``structures`` (counts, elements,
        formulae), ``columns`` and ``scalars`` (unit, description, range), ``basis``, ``split``,
        ``parameters`` (their number).
    """
    arrays = [_array(store, key) for key in store.keys()]
    found: dict[str, Any] = {
        "path": str(store.path),
        "kind": store.kind,
        "id": store.id,
        "bytes": sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
        "attributes": store.attributes,
        "arrays": arrays,
        "history": store.history,
    }
    if "structures/atom_ptr" in store:
        found["structures"] = _structures(store)
    for group, name in (("column", "columns"), ("scalar", "scalars")):
        if keys := store.keys(f"{group}/"):
            found[name] = {key.removeprefix(f"{group}/"): _numbers(store, key) for key in keys}
    if "basis/element/number" in store:
        found["basis"] = _basis(store)
    if "split/train" in store:
        found["split"] = {
            part: int(store.shape(f"split/{part}")[0]) for part in ("train", "validation", "test")
        }
    if keys := store.keys("parameters/"):
        found["parameters"] = sum(math.prod(store.shape(key)) for key in keys)
    return found


def _array(store: Store, key: str) -> dict[str, Any]:
    dtype = store.dtype(key)
    name = "str" if dtype.kind in "TUO" else str(dtype)
    return {"path": key, "shape": list(store.shape(key)), "dtype": name, "unit": store.unit(key)}


def _structures(store: Store) -> dict[str, Any]:
    from ase.formula import Formula
    from ase.symbols import Symbols

    number, start = store["atoms/number"], store["structures/atom_ptr"]
    formulae = Counter(
        Formula(str(Symbols(number[a:b]))).format("metal") for a, b in itertools.pairwise(start)
    )
    pbc = store["structures/pbc"]
    elements = {
        str(Symbols([z])): int(n)
        for z, n in zip(*np.unique(number, return_counts=True), strict=True)
    }
    return {
        "count": len(start) - 1,
        "atoms": len(number),
        "largest": int(np.diff(start).max(initial=0)),
        "elements": elements,
        "formulae": dict(formulae.most_common()),
        "periodic": dict(Counter("".join("FT"[int(p)] for p in row) for row in pbc).most_common()),
    }


def _numbers(store: Store, key: str) -> dict[str, Any]:
    values = np.asarray(store[key], dtype=float)
    known = values[np.isfinite(values)]
    statistics: dict[str, Callable[..., Any]] = {
        "minimum": np.min,
        "mean": np.mean,
        "maximum": np.max,
    }
    return {
        "unit": store.unit(key),
        "description": str(store.array_attributes(key).get("description", "")),
        **{name: float(f(known)) if known.size else None for name, f in statistics.items()},
        "missing": int(values.size - known.size),
    }


def _basis(store: Store) -> list[dict[str, Any]]:
    from ase.data import chemical_symbols

    from gh_tools.orbitals.basis import Basis

    return [
        {
            "element": chemical_symbols[element.number],
            "basis": element.basis_name,
            "setup": element.setup + element.hubbard,
            "valence": None if math.isnan(element.n_valence) else element.n_valence,
            **({"code": element.code} if element.code else {}),
            "shells": [{"l": shell.l, "cutoff": shell.cutoff} for shell in element.shells],
        }
        for element in Basis.from_arrays(store).elements.values()
    ]


def render(summary: dict[str, Any]) -> str:
    """Lay out what `summarize` found as lines of text; ``checked`` may tell what was found sound."""
    return "\n".join(_lines(summary))


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    size = f"{summary['bytes'] / 1e6:.1f} MB"
    yield f"{summary['path']}: {summary['kind']}, {size}, id {summary['id'][:12]}"
    if checked := summary.get("checked"):
        yield f"  sound ({checked})"
    if structures := summary.get("structures"):
        elements = ", ".join(f"{symbol} {n}" for symbol, n in structures["elements"].items())
        yield (
            f"  {structures['count']} structures, {structures['atoms']} atoms "
            f"(up to {structures['largest']}): {elements}"
        )
        formulae = [f"{n} {formula}" for formula, n in structures["formulae"].items()]
        more = len(formulae) - _FORMULAE_SHOWN
        formulae[_FORMULAE_SHOWN:] = [f"{more} more"] if more > 0 else []
        periodic = ", ".join(f"{p} ({n})" for p, n in structures["periodic"].items())
        yield f"  formulae: {', '.join(formulae)}; periodic: {periodic}"
    if split := summary.get("split"):
        yield "  split: " + ", ".join(f"{part} {n}" for part, n in split.items())
    if "parameters" in summary:
        yield f"  {summary['parameters']:,} parameters"
    for failed in summary["attributes"].get("failed") or []:
        yield f"  failed: {failed['name']}: {failed['reason']}"
    for title in ("columns", "scalars"):
        if title in summary:
            yield f"{title}:"
            yield from _table(
                [
                    (name, column["unit"], *_range(column), column["description"])
                    for name, column in summary[title].items()
                ]
            )
    if "basis" in summary:
        yield "basis:"
        yield from _table(
            [
                (
                    element["element"],
                    element["basis"],
                    element.get("code") or f"setup {element['setup'] or 'default'}",
                    "electrons not known"
                    if element["valence"] is None
                    else f"{element['valence']:g} electrons",
                    ", ".join(
                        f"{'spdfghikl'[s['l']]} {s['cutoff']:.2f} Å" for s in element["shells"]
                    ),
                )
                for element in summary["basis"]
            ]
        )
    yield "arrays:"
    yield from _table(
        [
            (array["path"], str(tuple(array["shape"])), array["dtype"], array["unit"])
            for array in summary["arrays"]
        ]
    )
    yield "history:"
    for entry in summary["history"]:
        seed = "" if entry["seed"] is None else f", seed {entry['seed']}"
        yield f"  {entry['time']}  {entry['program']} {entry['version']}{seed}"
        yield f"    {' '.join([entry['program'], *entry['argv']])}"


def _range(column: dict[str, Any]) -> tuple[str, str]:
    if column["mean"] is None:
        return "no values", ""
    missing = f", {column['missing']} missing" if column["missing"] else ""
    return (
        f"{column['minimum']:.4g} to {column['maximum']:.4g}",
        f"mean {column['mean']:.4g}{missing}",
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Align columns, two blanks apart."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()
