"""What a store holds, in words and numbers a person or a script can use."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from gh_tools.store.read import Store


def summarize_store(store: Store) -> dict[str, Any]:
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
