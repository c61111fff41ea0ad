"""Attributes of a store's root: its history, and what readers count on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from gh_tools.store.checks.limits import shortened_value
from gh_tools.store.contents import Store


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
            yield f"{name}: expected {expected}, found {shortened_value(attributes[name])}"
    needed = {"model": "config", "spectra": "width"}.get(store.kind)
    if needed is not None and needed not in attributes:
        yield f"{needed}: expected of a store of kind {store.kind}, found none"


def _entry_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"expected an object, found {shortened_value(entry)}"
    expected = {"program": str, "version": str, "time": str, "argv": list, "config": dict}
    for name, kind in {**expected, "inputs": list}.items():
        if not isinstance(entry.get(name), kind):
            return (
                f"expected {name} to be a {kind.__name__}, found {shortened_value(entry.get(name))}"
            )
    if not all(isinstance(argument, str) for argument in entry["argv"]):
        return "expected argv to be words, found others"
    if "seed" not in entry:
        return "expected a seed or null, found none"
    for source in entry["inputs"]:
        names = ("path", "id", "kind")
        if not isinstance(source, dict) or not all(isinstance(source.get(n), str) for n in names):
            return f"expected inputs with path, id and kind, found {shortened_value(source)}"
    notes = entry.get("notes", {})
    if not isinstance(notes, dict):
        return f"expected notes by name, found {shortened_value(notes)}"
    clock = notes.get("clock", [])
    if not _list_of(clock, lambda row: _list_of(row, _number) and len(row) == 2):
        return f"expected notes.clock to be pairs of numbers, found {shortened_value(clock)}"
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


def _card(value: Any) -> bool:
    """Tell whether a model's card has what is shown of it."""
    if not isinstance(value, dict) or not isinstance(value.get("errors"), dict):
        return False
    texts = ("title", "structures", "licence", "citation")
    return (
        all(isinstance(value.get(key), str) for key in texts)
        and all(isinstance(value.get(key), dict) for key in ("labels", "members"))
        and _dict_of(value.get("counts"), _number)
        and all(
            _list_of(value.get(key), lambda line: isinstance(line, str))
            for key in ("domain", "built", "species")
        )
        and "test" in value["errors"]
        and _dict_of(value["errors"], _card_errors)
    )


def _card_errors(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _list_of(value.get("atoms"), _number)
        and len(value["atoms"]) == 2
        and _dict_of(value.get("intervals"), lambda parts: _dict_of(parts, _number))
        and all(v is None or _number(v) for k, v in value.items() if k in _CARD_NUMBERS)
        and "structures" in value
    )


_CARD_NUMBERS = ("structures", "hamiltonian", "eigenvalues", "eigenvalues_aligned", "fermi_level")
# Name, kind of store (None: any), what is expected, and whether a value is that.
_ATTRIBUTES: tuple[tuple[str, str | None, str, Callable[[Any], bool]], ...] = (
    ("predicted", None, "true or false", lambda v: isinstance(v, bool)),
    ("spinor", None, "true or false", lambda v: isinstance(v, bool)),
    ("spins", None, "1 or 2", lambda v: type(v) is int and v in (1, 2)),
    ("failed", None, "a list with name and reason of each", lambda v: _list_of(v, _failure)),
    ("cutoffs", None, "positive distances by species pair", lambda v: _dict_of(v, _positive)),
    ("config", "model", "a training configuration", lambda v: isinstance(v, dict)),
    ("card", "model", "a model's card", _card),
    ("validation", "model", "errors by name", lambda v: isinstance(v, dict)),
    (
        "errors",
        "model",
        "numbers by species pair and distance",
        lambda v: _dict_of(v, lambda rows: _dict_of(rows, _number)),
    ),
    ("calibration", None, "positive numbers by name", lambda v: _dict_of(v, _positive)),
    ("width", "spectra", "a positive width in eV", _positive),
    ("carrier_window", "spectra", "two energies", lambda v: _list_of(v, _number) and len(v) == 2),
)
