"""Damage to stores, and absurd values with hashes that hold: one reproducible change for each number drawn.

Nothing here asks the program what is sound: files are changed as files, and hashes computed by the rule that
the schema's document states.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

JUNK = [
    None,
    True,
    -1,
    0,
    3,
    10**30,
    1e308,
    0.5,
    "",
    "x",
    "nan",
    "../../x",
    "\x1b[31m",
    [],
    [1],
    {},
]
JUNK += [{"a": None}, [[]], float("nan"), [None, "x"], {"name": "crc32c"}, "float16", "int8", "<U4"]


class Mutation(NamedTuple):
    """What was done to a store.

    Attributes:
        what: for the one who has to find the cause.
        verdict: ``damage``: must be refused, or nothing may come of it; ``absurd``: must be refused;
            ``any``: may be legal, and must end in an orderly way.
    """

    what: str
    verdict: str


def files_of(store: Path) -> list[Path]:
    """All files of a store but the root's zarr.json, sorted."""
    return sorted(f for f in store.rglob("*") if f.is_file() and f != store / "zarr.json")


def seal(store: Path) -> None:
    """Compute both hashes anew, so that nothing but the values tells of a change."""
    root = json.loads((store / "zarr.json").read_text())
    attributes = {
        key: value
        for key, value in root["attributes"].items()
        if key not in ("id", "metadata_id", "history", "status")
    }
    files = files_of(store)
    metadata = [file for file in files if file.name == "zarr.json"]
    attributes["metadata_id"] = _hash(store, attributes, metadata)
    root["attributes"]["metadata_id"] = attributes["metadata_id"]
    root["attributes"]["id"] = _hash(store, attributes, files)
    (store / "zarr.json").write_text(json.dumps(root))


def _hash(store: Path, attributes: dict[str, Any], files: list[Path]) -> str:
    digest = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode())
    for file in files:
        digest.update(str(file.relative_to(store)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def damage(store: Path, rng: np.random.Generator) -> Mutation:
    """Change bytes or files, as disks, copies and hands do; the hashes stay as they were."""
    everything = [*files_of(store), store / "zarr.json"]
    file = everything[rng.integers(len(everything))]
    name, content = str(file.relative_to(store)), bytearray(file.read_bytes())
    match rng.choice(["flip", "flip", "truncate", "append", "delete", "swap", "json", "folder"]):
        case "flip":
            place, bit = int(rng.integers(len(content))), int(rng.integers(8))
            content[place] ^= 1 << bit
            file.write_bytes(bytes(content))
            return Mutation(f"bit {bit} of byte {place} of {name} flipped", "damage")
        case "truncate":
            kept = int(rng.integers(len(content)))
            file.write_bytes(bytes(content[:kept]))
            return Mutation(f"{name} cut to {kept} bytes", "damage")
        case "append":
            file.write_bytes(bytes(content) + rng.bytes(5))
            return Mutation(f"five bytes behind {name}", "damage")
        case "delete":
            file.unlink()
            return Mutation(f"{name} deleted", "damage")
        case "swap":
            other = everything[rng.integers(len(everything))]
            file.write_bytes(other.read_bytes())
            return Mutation(f"{name} replaced by {other.relative_to(store)}", "damage")
        case "json":
            return Mutation(_change_json(store, rng), "damage")
        case _:
            if file.parent == store:
                file.unlink()
                file.mkdir()
                return Mutation(f"{name} is a folder", "damage")
            shutil.rmtree(file.parent)
            return Mutation(f"the folder of {name} deleted", "damage")


def hostile_metadata(store: Path, rng: np.random.Generator) -> Mutation:
    """Put junk into the metadata of arrays, or into attributes, and compute the hashes anew."""
    what = _change_json(store, rng)
    _try_to_seal(store)
    return Mutation(f"{what}, sealed", "any")


def _try_to_seal(store: Path) -> None:
    try:
        seal(store)
    except (ValueError, KeyError, TypeError, AttributeError):  # where the root itself is junk
        return


def _change_json(store: Path, rng: np.random.Generator) -> str:
    documents = sorted(store.rglob("zarr.json"))
    # Every other time the root, which has the attributes
    file = store / "zarr.json" if rng.random() < 0.4 else documents[rng.integers(len(documents))]
    document = json.loads(file.read_text())
    places = list(_places(document))
    where = places[rng.integers(len(places))]
    parent = document
    for step in where[:-1]:
        parent = parent[step]
    name = f"{file.relative_to(store)}: {'.'.join(map(str, where))}"
    if isinstance(parent, dict) and rng.random() < 0.15:
        del parent[where[-1]]
        what = f"{name} removed"
    else:
        junk = JUNK[rng.integers(len(JUNK))]
        old = parent[where[-1]]
        if isinstance(old, int) and not isinstance(old, bool) and rng.random() < 0.5:
            junk = [old + 1, old * 1000, 10**9, 2**62, -old][rng.integers(5)]
        parent[where[-1]] = junk
        what = f"{name} = {junk!r}"
    file.write_text(json.dumps(document))
    return what


def _places(node: Any, path: tuple = ()) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list) and value:
            yield from _places(value, (*path, key))


# Values that cannot be, by the path of an array: fnmatch pattern, and what is put in the place of one number.
_NAN, _INF = float("nan"), float("inf")
_POINTER = [-1, 10**6]
ABSURD: list[tuple[str, list[Any]]] = [
    ("atoms/number", [0, -1, 119, 200, 2**31 - 1]),
    ("atoms/position", [_NAN, _INF, -_INF, 1e12]),
    ("structures/cell", [_NAN, _INF, 1e12]),
    ("structures/atom_ptr", _POINTER),
    ("structures/name", ["", "../x", "a\nb", "\x1b[31mred", " x", "/etc/passwd", "x" * 10**4]),
    ("column/*", [_INF, -_INF]),
    ("scalar/*", [_INF, -_INF]),
    ("scalar/n_electrons", [1e12, -1.0]),
    ("scalar/fermi_level", [1e12, -1e12]),
    ("basis/cutoff", [_NAN, _INF, -1.0, 0.0, 1e12]),
    ("basis/l", [-1, 99]),
    ("basis/number", [0, 200, -14]),
    ("basis/index", [-1, 7]),
    ("basis/element/number", [0, 200, -14]),
    ("basis/element/n_valence", [_NAN, _INF, -1.0, 0.0, 1e12]),
    ("split/train", [-1]),
    ("*onsite/*/shift", [_NAN, _INF, 1e12]),
    ("*onsite/*/scale", [_NAN, _INF, -1.0, 0.0, 1e12]),
    ("*pairs/*/shift_length", [_NAN, _INF, -1.0, 0.0]),
    ("*pairs/*/scale_power", [_NAN, _INF, -1.0, 0.0]),
    ("*pairs/*/scale_floor", [_NAN, _INF, -1.0]),
    ("*pairs/*/r_min", [_NAN, _INF, -1.0]),
    ("*bond_pairs/*/range", [_NAN, _INF, -1.0, 1e12]),
    ("*bond_pairs/*/shift", [_NAN, _INF, 1e12]),
    ("*bond_pairs/*/scale", [_NAN, _INF, 1e12]),
    ("parameters/*", [_NAN, _INF, -_INF]),
    ("bands/kpoint_ptr", _POINTER),
    ("bands/eigenvalue_ptr", _POINTER),
    ("bands/weight", [_NAN, _INF, -1.0, 1e12]),
    ("bands/kpoint", [_NAN, _INF]),
    ("bands/eigenvalue", [_NAN]),
    ("dos/*", [_NAN, _INF]),
    # Blocks, which are read by some commands only; see `MATRICES`
    ("onsite/*/ptr", _POINTER),
    ("onsite/*/atom", [-1, 10**6]),
    ("onsite/*/hamiltonian", [_NAN, _INF, 1e12]),
    ("onsite/*/overlap", [_NAN, _INF, 1e12, -1e12]),
    ("pairs/*/ptr", _POINTER),
    ("pairs/*/[ij]", [-1, 10**6]),
    ("pairs/*-*/hamiltonian", [_NAN, _INF, 1e12]),
    ("pairs/*-*/overlap", [_NAN, _INF, 1e12]),
    ("pairs/*-*/cell_offset", [10**6, -(10**6)]),
]
# What is checked as it is read, by the commands that read it.
MATRICES = ("onsite/*/[aho]*", "pairs/*/[ijhos]*", "dos/*", "bands/eigenvalue")
_STRUCTURAL = ("swap rows", "drop row", "remove array", "other type", "coincident", "flat cell")


def absurd(store: Path, rng: np.random.Generator) -> Mutation:
    """Put values that cannot be into an array, or make arrays that do not fit each other; then seal."""
    from fnmatch import fnmatchcase

    import zarr

    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    arrays = {k: v for k, v in group.members(max_depth=None) if isinstance(v, zarr.Array)}
    if rng.random() < 0.25:
        what = _structural(group, arrays, rng)
    else:
        chosen = [
            (key, values)
            for pattern, values in ABSURD
            for key, array in arrays.items()
            if fnmatchcase(key, pattern) and 0 not in array.shape
        ]
        if not chosen:
            seal(store)
            return Mutation("nothing", "any")
        key, values = chosen[rng.integers(len(chosen))]
        value, found = values[rng.integers(len(values))], arrays[key][...]
        place = tuple(int(rng.integers(n)) for n in found.shape)
        found[place] = value
        arrays[key][...] = found
        what = f"{key}{list(place)} = {str(value)[:20]!r}"
        if fnmatchcase(key, "dos/*") or any(fnmatchcase(key, m) for m in MATRICES):
            what += " (matrix)"
    seal(store)
    return Mutation(f"{what}, sealed", "absurd" if not what.startswith("any:") else "any")


def _structural(group, arrays: dict, rng: np.random.Generator) -> str:
    kind = _STRUCTURAL[rng.integers(len(_STRUCTURAL))]
    if kind == "coincident" and "atoms/position" in arrays:
        position = arrays["atoms/position"][...]
        position[1] = position[0]
        arrays["atoms/position"][...] = position
        return "atoms 0 and 1 at one place (structure)"
    if kind == "flat cell" and "structures/cell" in arrays:
        cell = arrays["structures/cell"][...]
        cell[0, 1] = cell[0, 0]
        arrays["structures/cell"][...] = cell
        return "two cell vectors are one (structure)"
    key = sorted(arrays)[rng.integers(len(arrays))]
    values, attributes = arrays[key][...], dict(arrays[key].attrs)
    if kind == "swap rows" and values.ndim and len(values) > 1:
        arrays[key][...] = values[::-1]
        return f"any: {key} reversed"
    del group[key]
    if kind == "remove array" or values.ndim == 0:
        return f"any: {key} removed"
    values = values[:-1] if kind == "drop row" else np.zeros(values.shape, bool)
    group.create_array(key, shape=values.shape, dtype=values.dtype, chunks=_chunks(values.shape))
    with_zeros = group[key]
    with_zeros[...] = values
    with_zeros.attrs.update(attributes)
    return f"any: {key}: {kind}"


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(1, length) for length in shape)


MUTATORS = (damage, hostile_metadata, absurd)
