"""Does a store have the attributes and arrays of its schema, and values that can be?

All of it is asked whenever a store is opened: it reads metadata, pointers and small arrays, no matrices. Each
check gives sentences that name attribute or array, or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gh_tools.store.contents import Store
from gh_tools.store.schema import KINDS, Field

_DTYPES = {"number": "fib", "float": "f", "int": "i", "bool": "b", "str": "TUO"}
_GLOBAL = {"n", "N"}  # lengths that hold for a whole store

# What no basis of atomic orbitals exceeds: reach of an orbital (Å) and degree.
LARGEST_CUTOFF, LARGEST_DEGREE = 50.0, 8
# Å; nothing that has atoms is this large.
LARGEST_LENGTH = 1e6
# eV: of a Fermi level, of an eigenvalue, of shift and scale.
LARGEST_ENERGY = 1e5
N_ELEMENTS = 118
LONGEST_NAME = 1000


def check_attributes(store: Store) -> Iterator[str]:
    """Find attributes of the root that are of another type than readers count on.

    Yields:
        Sentences that begin with the attribute's name.
    """
    entries = store.history
    if not isinstance(entries, list):
        yield f"history: expected a list, found {type(entries).__name__}"
        return
    for number, entry in enumerate(entries):
        if fault := _entry_fault(entry):
            yield f"history: entry {number}: {fault}"
    attributes = store.attributes
    for name, kind, expected, sound in _ATTRIBUTES:
        if kind in (None, store.kind) and name in attributes and not sound(attributes[name]):
            yield f"{name}: expected {expected}, found {_short(attributes[name])}"
    needed = {"model": "config", "spectra": "width"}.get(store.kind)
    if needed is not None and needed not in attributes:
        yield f"{needed}: expected of a store of kind {store.kind}, found none"


def _entry_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"expected an object, found {_short(entry)}"
    expected = {"program": str, "version": str, "time": str, "argv": list, "config": dict}
    for name, kind in {**expected, "inputs": list}.items():
        if not isinstance(entry.get(name), kind):
            return f"expected {name} to be a {kind.__name__}, found {_short(entry.get(name))}"
    if not all(isinstance(argument, str) for argument in entry["argv"]):
        return "expected argv to be words, found others"
    if "seed" not in entry:
        return "expected a seed or null, found none"
    for source in entry["inputs"]:
        names = ("path", "id", "kind")
        if not isinstance(source, dict) or not all(isinstance(source.get(n), str) for n in names):
            return f"expected inputs with path, id and kind, found {_short(source)}"
    notes = entry.get("notes", {})
    if not isinstance(notes, dict):
        return f"expected notes by name, found {_short(notes)}"
    clock = notes.get("clock", [])
    if not _list_of(clock, lambda row: _list_of(row, _number) and len(row) == 2):
        return f"expected notes.clock to be pairs of numbers, found {_short(clock)}"
    return None


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _list_of(value: Any, sound: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(sound, value))


def _dict_of(value: Any, sound: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(sound, value.values()))


def _failure(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("name", "reason")
    )


# Name, kind of store (None: any), what is expected, and whether a value is that.
_ATTRIBUTES: tuple[tuple[str, str | None, str, Callable[[Any], bool]], ...] = (
    ("predicted", None, "true or false", lambda v: isinstance(v, bool)),
    ("spins", None, "1 or 2", lambda v: type(v) is int and v in (1, 2)),
    ("failed", None, "a list with name and reason of each", lambda v: _list_of(v, _failure)),
    ("cutoffs", None, "positive distances by species pair", lambda v: _dict_of(v, _positive)),
    ("config", "model", "a training configuration", lambda v: isinstance(v, dict)),
    ("validation", "model", "errors by name", lambda v: isinstance(v, dict)),
    (
        "errors",
        "model",
        "numbers by species pair and distance",
        lambda v: _dict_of(v, lambda rows: _dict_of(rows, _number)),
    ),
    ("calibration", "model", "positive numbers by name", lambda v: isinstance(v, dict)),
    ("width", "spectra", "a positive width in eV", _positive),
    ("carrier_window", "spectra", "two energies", lambda v: _list_of(v, _number) and len(v) == 2),
)


def check(store: Store) -> Iterator[str]:
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
            yield f"{key}: expected a text as its {name}, found {_short(attributes[name])}"
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
        (f"{group}/{name}" for name in ("atom", "i") if f"{group}/{name}" in store), None
    )
    if target is not None and target in store and values[-1] != store.shape(target)[0]:
        yield f"{key}: ends at {values[-1]}, but {target} has {store.shape(target)[0]} rows"


def check_values(store: Store) -> Iterator[str]:
    """Find values that cannot be: of elements, positions, basis, split, scale-shift, weights and spectra.

    The store has passed `check`.

    Yields:
        One sentence for each fault, naming the array.
    """
    if "structures/atom_ptr" in store:
        yield from _check_structures(store)
    if "basis/number" in store:
        yield from _check_basis(store)
    if "split/train" in store:
        yield from _check_split(store)
    if store.kind in ("scaleshift", "model"):
        yield from _check_scaleshift(store, "scaleshift/" if store.kind == "model" else "")
    if store.kind == "model":
        yield from _check_weights(store)
    if store.kind in ("hamiltonians", "overlap"):
        yield from _check_block_shapes(store)
    if "bands/kpoint_ptr" in store:
        yield from _check_bands(store)


def name_fault(name: str) -> str | None:
    """Return what is wrong with the name of a structure, which ends up in file names and messages."""
    if not name.strip() or name != name.strip() or not name.isprintable():
        return "expected printable characters with no blank at its ends"
    if len(name) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} characters"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "expected no path that leads elsewhere"
    return None


def _check_structures(store: Store) -> Iterator[str]:
    names = [str(name) for name in store["structures/name"]]
    if len(set(names)) < len(names):
        yield "structures/name: expected a name for each structure, found one that stands twice"
    for name in names:
        if fault := name_fault(name):
            yield f"structures/name: {_short(name)!r}: {fault}"
    number = store["atoms/number"]
    if number.size and not (number.min() >= 1 and number.max() <= N_ELEMENTS):
        wrong = number[(number < 1) | (number > N_ELEMENTS)][0]
        yield f"atoms/number: expected atomic numbers from 1 to {N_ELEMENTS}, found {wrong}"
    yield from _within(store, "atoms/position", -LARGEST_LENGTH, LARGEST_LENGTH)
    yield from _within(store, "structures/cell", -LARGEST_LENGTH, LARGEST_LENGTH)
    if np.any(np.diff(store["structures/atom_ptr"]) == 0):
        yield "structures/atom_ptr: expected structures of atoms, found one without"
    for key in (*store.keys("column/"), *store.keys("scalar/")):
        yield from _within(store, key, missing=True)
    yield from _within(store, "scalar/fermi_level", -LARGEST_ENERGY, LARGEST_ENERGY, missing=True)
    if "scalar/n_electrons" in store:
        # An ion has other electrons than protons, but not twice as many.
        pointer = store["structures/atom_ptr"]
        most = 2.0 * np.add.reduceat(np.r_[number, 0], pointer[:-1]) if len(pointer) > 1 else 0
        electrons = store["scalar/n_electrons"]
        wrong = ~np.isnan(electrons) & ~((electrons >= 0) & (electrons <= most))
        if wrong.any():
            row = int(np.argmax(wrong))
            yield (
                f"scalar/n_electrons: expected 0 to twice the protons of the structure, found "
                f"{electrons[row]:g} for {names[row]}"
            )


def _check_basis(store: Store) -> Iterator[str]:
    element = store["basis/element/number"]
    if element.size == 0 or element.min() < 1 or element.max() > N_ELEMENTS:
        yield f"basis/element/number: expected atomic numbers from 1 to {N_ELEMENTS}, found others"
    elif np.any(np.diff(element.astype(np.int64)) <= 0):
        yield "basis/element/number: expected each element once, in ascending order"
    number, index = store["basis/number"], store["basis/index"]
    expected = [np.arange(np.count_nonzero(number == z)) for z in element]
    if not np.array_equal(np.unique(number), element):
        yield "basis/number: expected shells of each element of basis/element/number, found others"
    elif np.any(np.diff(number) < 0) or not np.array_equal(index, np.concatenate(expected)):
        yield "basis/index: expected the shells of each element in order, counted from 0"
    degree = store["basis/l"]
    if degree.size and (degree.min() < 0 or degree.max() > LARGEST_DEGREE):
        yield f"basis/l: expected degrees from 0 to {LARGEST_DEGREE}, found others"
    yield from _within(store, "basis/cutoff", 0.0, LARGEST_CUTOFF, open_below=True)
    valence = store["basis/element/n_valence"]
    if not np.all((valence > 0) & (valence <= element)):
        wrong = valence[~((valence > 0) & (valence <= element))][0]
        yield (
            "basis/element/n_valence: expected more than 0 electrons and no more than protons, "
            f"found {wrong:g}"
        )


def _orbitals(store: Store) -> dict[int, int]:
    """Number of orbitals of each element."""
    counts = np.bincount(store["basis/number"], weights=2 * store["basis/l"] + 1)
    return {int(z): int(counts[z]) for z in store["basis/element/number"]}


def _check_split(store: Store) -> Iterator[str]:
    parts = {part: store[f"split/{part}"] for part in ("train", "validation", "test")}
    together = np.concatenate(list(parts.values()))
    for part, indices in parts.items():
        if indices.size and indices.min() < 0:
            yield f"split/{part}: expected indices not below zero, found {indices.min()}"
    if len(np.unique(together)) < len(together):
        yield "split: expected each structure in one part, found one that stands twice"


def _check_scaleshift(store: Store, group: str) -> Iterator[str]:
    orbitals = _orbitals(store)
    spins = store.attributes.get("spins", 1)
    energies = (-LARGEST_ENERGY, LARGEST_ENERGY)
    limits = {
        # By the last component of the path: least and largest value, and whether the least is excluded
        # Stretched exponentials may be steep: their amplitude is far above what any distance takes.
        "shift_amplitude": (-np.inf, np.inf, False),
        "shift_length": (0.0, np.inf, True),
        "shift_power": (0.0, np.inf, True),
        "scale_amplitude": (-np.inf, np.inf, False),
        "scale_length": (0.0, np.inf, True),
        "scale_power": (0.0, np.inf, True),
        "scale_floor": (0.0, LARGEST_ENERGY, False),
        "r_min": (0.0, LARGEST_LENGTH, False),
        "shift": (*energies, False),
        "scale": (*energies, False),
        "range": (0.0, 2 * LARGEST_CUTOFF, False),
        "local": (*energies, False),
        "neighbour": (*energies, False),
    }
    for key in store.keys(group):
        parts = key.removeprefix(group).split("/")
        if parts[0] not in ("onsite", "pairs", "bond_pairs", "onsite_energy"):
            continue
        low, high, open_below = limits[parts[-1]]
        if parts[0] == "onsite" and parts[-1] == "scale":
            low, open_below = 0.0, True
        yield from _within(store, key, low, high, open_below=open_below)
        if parts[0] == "onsite_energy":
            if parts[-1] != "r_min" and store.shape(key)[0] != len(orbitals):
                yield f"{key}: expected a row for each of {len(orbitals)} elements"
            continue
        elements = [int(z) for z in parts[1].split("-")]
        if not set(elements) <= orbitals.keys():
            yield f"{key}: expected elements of the basis table, found another"
            continue
        k = [orbitals[z] for z in elements]
        size = spins * (k[0] * (k[0] + 1) // 2 if parts[0] == "onsite" else k[0] * k[-1])
        if parts[-1] != "range" and store.shape(key)[-1] != size:
            yield (
                f"{key}: expected {size} components, as many as the blocks of the basis table have "
                f"irreps, found {store.shape(key)[-1]}"
            )
        if parts[-1] == "range":
            r_min, r_max, cutoff = store[key]
            if not (r_min <= r_max and cutoff > 0):
                yield f"{key}: expected shortest and longest distance, and a cutoff above zero"


def _check_weights(store: Store) -> Iterator[str]:
    for group in ("parameters/", "parameters_eigenvalue/"):
        for key in store.keys(group):
            if store.dtype(key).kind != "f":
                yield f"{key}: expected float values, found {store.dtype(key)}"
            else:
                yield from _within(store, key)
    lengths = set()
    for key in store.keys("history/"):
        if store.dtype(key).kind not in "if" or len(store.shape(key)) != 1:
            yield f"{key}: expected numbers along one axis, found {store.dtype(key)} {store.shape(key)}"
        else:
            lengths.add(store.shape(key)[0])
    if len(lengths) > 1:
        yield "history: expected columns of one length, found others"


def _check_block_shapes(store: Store) -> Iterator[str]:
    orbitals = _orbitals(store)
    if unknown := set(np.unique(store["atoms/number"]).tolist()) - orbitals.keys():
        yield f"basis/element/number: expected all elements of atoms/number, found none of {unknown}"
    spins = store.attributes.get("spins", 1)
    for key in (*store.keys("onsite/"), *store.keys("pairs/")):
        kind, elements, field = key.split("/")
        if field not in ("hamiltonian", "overlap", "uncertainty"):
            continue
        species = [int(z) for z in elements.split("-")]
        if not set(species) <= orbitals.keys() or species != sorted(species):
            yield f"{kind}/{elements}: expected elements of the basis table in order, found others"
            continue
        expected = (orbitals[species[0]], orbitals[species[-1]])
        shape = store.shape(key)
        if shape[-2:] != expected:
            yield f"{key}: expected blocks of {expected} as in the basis table, found {shape[-2:]}"
        if field == "overlap":
            continue
        found = shape[0] if len(shape) == 4 else 1
        if found != spins:
            yield f"{key}: expected {spins} spin channels as in the attribute spins, found {found}"


def _check_bands(store: Store) -> Iterator[str]:
    for name in ("kpoint", "weight", "eigenvalue_ptr", "eigenvalue"):
        if f"bands/{name}" not in store:
            yield f"bands/{name} is missing"
            return
    yield from _within(store, "bands/kpoint", -LARGEST_LENGTH, LARGEST_LENGTH)
    yield from _within(store, "bands/weight", 0.0, 1.0 + 1e-6)
    pointer = store["bands/kpoint_ptr"].astype(np.int64)
    weight = np.r_[0.0, np.cumsum(store["bands/weight"])]
    sums = np.diff(weight[pointer])
    counts = np.diff(pointer)
    if np.any(np.abs(sums[counts > 0] - 1) > 1e-6):
        yield "bands/weight: expected weights of each structure that add up to 1, found others"
    eigenvalues = np.diff(store["bands/eigenvalue_ptr"].astype(np.int64))
    spins = store.attributes.get("spins", 1) if store.kind == "hamiltonians" else 1
    if np.any(eigenvalues[counts > 0] % (spins * counts[counts > 0])) or np.any(
        eigenvalues[counts == 0]
    ):
        yield (
            "bands/eigenvalue_ptr: expected as many eigenvalues for each spin and k-point of a "
            "structure, found others"
        )


def check_spectra(store: Store) -> Iterator[str]:
    """Find energies and densities of states that cannot be; reads all arrays of a store of spectra."""
    energy = store["dos/energy"]
    if not (np.isfinite(energy).all() and (np.diff(energy) > 0).all()):
        yield "dos/energy: expected finite energies in ascending order, found others"
    for key in store.keys("dos/"):
        yield from _within(store, key)
    if np.isnan(store["bands/eigenvalue"]).any():
        yield "bands/eigenvalue: expected numbers, found NaN"


def _within(
    store: Store,
    key: str,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_below: bool = False,
    missing: bool = False,
) -> Iterator[str]:
    """Find numbers that are not finite, or beyond limits; NaN may stand for what is ``missing``."""
    if key not in store or 0 in store.shape(key):
        return
    values = store[key]
    fit = np.isfinite(values) & (values >= low) & (values <= high)
    if open_below:
        fit &= values > low
    if missing:
        fit |= np.isnan(values)
    if not fit.all():
        expected = "finite numbers"
        if np.isfinite(low) or np.isfinite(high):
            expected += f" {'above' if open_below else 'from'} {low:g} to {high:g}"
        yield f"{key}: expected {expected}, found {values[~fit].flat[0]:g}"


def _short(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."
