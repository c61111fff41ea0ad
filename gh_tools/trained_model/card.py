"""The card of a model that others are to use: what it was made of, how wrong it is, and what it may be used for.

Words come from whoever made it; every number is counted in the model's store or read from what ``gh-eval --json`` found.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from gh_tools.errors import DataError
from gh_tools.model.config import Section
from gh_tools.store import text
from gh_tools.store.read import Store


class Words(Section):
    """What a person says of a model."""

    title: str
    """What the model is for."""
    structures: str
    """How the structures were made."""
    licence: str
    """Of the model."""
    citation: str
    """What to cite."""


# Settings of labels that a card shows; the others stand in the model's history.
_SETTINGS = (
    "xc",
    "basis",
    "energy_shift",
    "setups",
    "hubbard",
    "h",
    "kpoint_density",
    "kpts",
    "kpts_shift",
)
# Options of gh-build that say nothing of the structures, each with a value.
_VALUED = ("-o", "--output", "-j", "--jobs")
_PLURALS = {"hamiltonian": "H", "fermi_level": "E_F", "band_gap": "gaps"}
_NAMES = {"test": "test structures", "larger": "larger structures"}
_MEAN = (
    ("hamiltonian", "H"),
    ("eigenvalues", "eigenvalues ±5 eV"),
    ("eigenvalues_aligned", "the same, aligned"),
    ("fermi_level", "Fermi level"),
)


def make_card(
    store: Store,
    words: Words,
    test: Sequence[Mapping[str, Any]],
    larger: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the card of a model, JSON-like.

    Args:
        store: the model.
        words: what a person says of it.
        test: what ``gh-eval --json`` found for the model's test set, of each store.
        larger: the same of larger structures.

    Raises:
        DataError: the errors are those of another model, or of structures that are not all in its test set.
    """
    from gh_tools.trained_model.outside import read_domain

    domain = read_domain(store)
    parts = ("train", "validation", "test")
    return {
        **words.model_dump(),
        "species": store.attributes.get("species", []),
        "counts": {part: int(store.shape(f"split/{part}")[0]) for part in parts},
        "built": _built(store),
        "labels": _labels(store),
        "errors": {
            "test": _errors(store, test, tested=True),
            **({"larger": _errors(store, larger)} if larger else {}),
        },
        "domain": [] if domain is None else domain.describe(),
        "members": _members(store),
        "trained": store.id,
    }


def render_card(card: Mapping[str, Any], width: int | None = None) -> Iterator[str]:
    """Yield the lines of a card."""
    yield from text.folded(card["title"], width)
    counts = ", ".join(f"{part} {n}" for part, n in card["counts"].items())
    yield from text.folded(f"structures: {counts}; {card['structures']}", width)
    for line in card["built"]:
        yield from text.folded(f"built by: {line}", width)
    yield from text.folded(f"labels: {', '.join(_settings(card['labels']))}", width)
    yield "mean absolute errors (meV):"
    yield from text.rows(
        [
            (
                f"{name}, {part['structures']} of {_range(part['atoms'])} atoms",
                ", ".join(
                    f"{title} {part[key]:.3g}" for key, title in _MEAN if part.get(key) is not None
                ),
            )
            for name, part in card["errors"].items()
        ],
        width,
    )
    yield from text.folded(f"error bars: {_bars(card)}", width)
    for line in card["domain"]:
        yield from text.folded(f"trained on: {line}", width)
    yield from text.folded(f"licence: {card['licence']}", width)
    yield from text.folded(f"cite: {card['citation']}", width)


def _built(store: Store) -> list[str]:
    """Return the commands that built the structures, without what they wrote and how fast; those of batches once."""
    found: dict[tuple[str, ...], list[str]] = {}
    for entry in store.history:
        if entry["program"] != "gh-build":
            continue
        words, skip = ["gh-build"], False
        for word in entry["argv"]:
            if not skip and word not in (*_VALUED, "--overwrite", "--resume"):
                words.append(word)
            skip = word in _VALUED
        # Batches of one kind are told once.
        kind = tuple(
            "" if before == "--seed" or (not before.startswith("-") and Path(word).suffix) else word
            for before, word in pairwise(words)
        )
        found.setdefault(kind, []).append(shlex.join(words))
    return [_first(dict.fromkeys(lines)) for lines in found.values()]


def _first(lines: Collection[str]) -> str:
    first = next(iter(lines))
    return (
        first
        if len(lines) == 1
        else f"{first} ({len(lines)} such runs, with other seeds and files)"
    )


def _labels(store: Store) -> dict[str, Any]:
    """Return program and settings of the labels, from the model's history."""
    for entry in store.history:
        if entry["program"] == "gh-label":
            config = entry["config"]
            return {"program": "GPAW", **{k: config[k] for k in _SETTINGS if config.get(k)}}
        if entry["program"] == "gh-import":
            return {"program": "another program, by gh-import"}
    return {}


def _errors(
    store: Store, found: Sequence[Mapping[str, Any]], tested: bool = False
) -> dict[str, Any]:
    """Return means over the structures of all comparisons, in meV, and the errors of each structure."""
    try:
        for one in found:
            _check_own(store, one, tested)
        return _means([record for one in found for record in one["structures"]]) | {
            "intervals": _intervals(found)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{found[0].get('predicted', 'errors')}: expected what gh-eval --json prints, found something else ({error!r})"
        ) from None


def _check_own(store: Store, found: Mapping[str, Any], tested: bool) -> None:
    """Raise `DataError` unless errors are those of the model, and, where it is asked for, of its test set."""
    if found.get("model") != store.id:
        raise DataError(
            f"{found['predicted']}: expected errors of {store.path} by gh-eval --json, found those of another model, or of a "
            "version that does not tell; predict and compare anew"
        )
    names = store["structures/name"]
    allowed = {str(names[index]) for index in store["split/test"]}
    for record in found["structures"]:
        if tested and record["name"] not in allowed:
            raise DataError(
                f"{found['predicted']}: expected structures of the test set of {store.path}, found {record['name']!r}; "
                "predict with --part test"
            )


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    solved = [record["eigenvalues"] for record in records if record["eigenvalues"]]

    def mean(values: list[float | None]) -> float | None:
        known = [abs(value) for value in values if value is not None]
        return sum(known) / len(known) if known else None

    atoms = [int(record["n_atoms"]) for record in records]
    return {
        "structures": len(records),
        "atoms": [min(atoms), max(atoms)],
        "hamiltonian": mean([record["hamiltonian"]["all"] for record in records]),
        "onsite": mean([record["hamiltonian"]["onsite"] for record in records]),
        "eigenvalues": mean([one["window"] for one in solved]),
        "eigenvalues_aligned": mean([one["window_shifted"] for one in solved]),
        "fermi_level": mean([one["fermi_level"] for one in solved]),
        "by_structure": {
            record["name"]: [
                record["hamiltonian"]["all"],
                record["eigenvalues"] and record["eigenvalues"]["window"],
            ]
            for record in records
        },
    }


def _intervals(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by name which part of errors is within intervals of each probability; of several stores the mean by structures."""
    sums: dict[str, dict[str, float]] = {}
    weights: dict[str, int] = {}
    for one in found:
        count = len(one["structures"])
        for name, part in (one.get("coverage") or {}).items():
            weights[name] = weights.get(name, 0) + count
            into = sums.setdefault(name, {})
            for probability, value in part["intervals"].items():
                into[probability] = into.get(probability, 0.0) + count * value
    return {n: {p: v / weights[n] for p, v in parts.items()} for n, parts in sums.items()}


def _members(store: Store) -> dict[str, int]:
    """Tell what error bars come from: how many networks, or last layers of one."""
    if networks := store.attributes["config"].get("ensemble", 1) - 1:
        return {"networks": networks + 1}
    layers = store.keys("last_layers/")
    return {"last layers": store.shape(layers[0])[0]} if layers else {}


def _bars(card: Mapping[str, Any]) -> str:
    if not card["members"]:
        return "none"
    kind, count = next(iter(card["members"].items()))
    told = [
        f"{100 * parts['0.68']:.0f} % of {_PLURALS.get(name, name.replace('_', ' '))}"
        for name, parts in card["errors"]["test"]["intervals"].items()
        if "0.68" in parts
    ]
    where = f"; within one standard deviation are, of the test set, {', '.join(told)}"
    return f"by {count} {kind}{where if told else ''}"


def _settings(labels: Mapping[str, Any]) -> Iterator[str]:
    for key, value in labels.items():
        if isinstance(value, Mapping):
            value = " ".join(f"{k}={v}" for k, v in value.items())
        elif isinstance(value, list):
            value = "×".join(map(str, value))
        yield (
            str(value) if key in ("program", "xc", "basis") else f"{key.replace('_', ' ')} {value}"
        )


def _range(limits: list[int]) -> str:
    low, high = limits
    return str(low) if low == high else f"{low} to {high}"
