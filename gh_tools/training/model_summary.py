"""What a person wants to know of a model: material, errors, verdict, domain; weights last and only on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gh_tools.store import text
from gh_tools.store.read import Store
from gh_tools.store.summary import summarize_store
from gh_tools.tables import aligned
from gh_tools.trained_model.card import render_card
from gh_tools.trained_model.outside import read_domain
from gh_tools.training import report


def summarize_model(store: Store) -> dict[str, Any]:
    """Describe a model store.

    Args:
        store: of kind ``model``.

    Returns:
        As `gh_tools.store.summary.summarize_store`, and ``training`` (see `gh_tools.training.report.summarize_training`) and ``domain``,
        lines that say what it was trained on; None where it does not tell.
    """
    domain = read_domain(store)
    return {
        **summarize_store(store),
        "training": report.summarize_training(store),
        "domain": None if domain is None else domain.describe(),
    }


def render_model(
    summary: Mapping[str, Any], width: int | None = None, weights: bool = False
) -> str:
    """Lay out what `summarize_model` found, which may have ``checked`` in addition.

    Args:
        summary: of the model.
        width: columns of the terminal; without it no line is folded.
        weights: list weights and other arrays, too.
    """
    return "\n".join(_lines(summary, width, weights))


def metric_rows(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the validation errors of a model's stored weights, as names and numbers with units.

    Args:
        attributes: of the root of the model store.
    """
    metrics = attributes.get("validation", {})
    window = attributes.get("config", {}).get("metrics", {}).get("window")
    near = "" if window is None else f", ±{window:g} eV of E_F"
    rows = (
        ("hamiltonian", "H MAE, all elements", ".3f", " meV"),
        ("pairs", "H MAE, pairs", ".3f", " meV"),
        ("onsite", "H MAE, on-site", ".3f", " meV"),
        ("eigenvalue", f"eigenvalue MAE{near}", ".1f", " meV"),
        ("eigenvalue_shifted", "the same, after aligning by a constant shift", ".1f", " meV"),
        ("ghosts", "ghost states", ".0f", ""),
        ("fermi", "Fermi level MAE", ".1f", " meV"),
    )
    return [
        (title, f"{metrics[key]:{form}}{unit}")
        for key, title, form, unit in rows
        if metrics.get(key) is not None
    ]


def _lines(summary: Mapping[str, Any], width: int | None, weights: bool) -> Iterator[str]:
    attributes = summary["attributes"]
    config = attributes.get("config", {})
    yield f"{summary['path']}: model, {summary['bytes'] / 1e6:.1f} MB, id {summary['id'][:12]}"
    if checked := summary.get("checked"):
        yield from text.folded(f"sound ({checked})", width)
    steps = f", {attributes['steps']:,} steps" if "steps" in attributes else ""
    network = config.get("model", {}).get("model", "network")
    members = config.get("ensemble") or 1
    several = f" in each of {members} members" if members > 1 else ""
    yield from text.folded(
        f"{', '.join(attributes.get('species', []))}: {network}, {summary.get('parameters', 0):,} parameters"
        f"{several}{steps}",
        width,
    )
    if card := attributes.get("card"):
        yield from render_card(card, width)
    else:
        yield from _training(summary, width)
    yield from text.contents(dict(summary), width)
    yield from text.history(dict(summary))
    if weights:
        yield from text.arrays(dict(summary), width)


def _training(summary: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """Yield what training found, and what it saw."""
    if split := summary.get("split"):
        parts = ", ".join(f"{name} {n}" for name, n in split.items())
        yield from text.folded(f"structures: {parts}", width)
    yield from text.folded(f"verdict: {summary['training']['verdict']['sentence']}", width)
    yield "errors of validation:"
    yield from text.rows(metric_rows(summary["attributes"]), width)
    errors = summary["training"]["errors"]
    for name, title in (("by_species_pair", "species"), ("by_distance", "distance (Å)")):
        if found := errors.get(name):
            cells = [(key, f"{value:.3f}") for key, value in found.items()]
            table = aligned(cells, (title, "H MAE (meV)"))
            yield from (f"  {line}".rstrip() for line in table.splitlines())
    yield "trained on:"
    for line in summary["domain"] or ["not told"]:
        yield from text.folded(line, width)
