"""What a store holds, as lines for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from gh_tools.tables import counted

_FORMULAE_SHOWN = 8
# Columns that are left for the last cell of a row, below which it gets lines of its own.
_NARROWEST = 24


def render(summary: dict[str, Any], width: int | None = None) -> str:
    """Lay out what `gh_tools.store.summary.summarize` found; ``checked`` may tell what was found sound.

    Args:
        summary: of the store.
        width: columns of the terminal; without it no line is folded.
    """
    lines = [*head(summary, width), *contents(summary, width), *arrays(summary, width)]
    return "\n".join([*lines, *history(summary)])


def head(summary: dict[str, Any], width: int | None = None) -> Iterator[str]:
    """Yield what the store is, and which structures it has."""
    size = f"{summary['bytes'] / 1e6:.1f} MB"
    yield f"{summary['path']}: {summary['kind']}, {size}, id {summary['id'][:12]}"
    if checked := summary.get("checked"):
        yield from folded(f"sound ({checked})", width)
    if structures := summary.get("structures"):
        elements = ", ".join(f"{symbol} {n}" for symbol, n in structures["elements"].items())
        yield from folded(
            f"{counted(structures['count'], 'structure')}, {counted(structures['atoms'], 'atom')} "
            f"(up to {structures['largest']}): {elements}",
            width,
        )
        formulae = [f"{n} {formula}" for formula, n in structures["formulae"].items()]
        more = len(formulae) - _FORMULAE_SHOWN
        formulae[_FORMULAE_SHOWN:] = [f"{more} more"] if more > 0 else []
        periodic = ", ".join(f"{p} ({n})" for p, n in structures["periodic"].items())
        yield from folded(f"formulae: {', '.join(formulae)}; periodic: {periodic}", width)
    if split := summary.get("split"):
        yield "  split: " + ", ".join(f"{part} {n}" for part, n in split.items())
    if "parameters" in summary:
        yield f"  {summary['parameters']:,} parameters"
    for failed in summary["attributes"].get("failed") or []:
        yield from folded(f"failed: {failed['name']}: {failed['reason']}", width)


def contents(summary: dict[str, Any], width: int | None = None) -> Iterator[str]:
    """Yield columns and scalars with their ranges, and the basis."""
    for title in ("columns", "scalars"):
        if title in summary:
            yield f"{title}:"
            yield from rows(
                [
                    (name, column["unit"], *_range(column), column["description"])
                    for name, column in summary[title].items()
                ],
                width,
            )
    if "basis" in summary:
        yield "basis:"
        yield from rows(
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
            ],
            width,
        )


def arrays(summary: dict[str, Any], width: int | None = None) -> Iterator[str]:
    """Yield the arrays with their shapes, types and units."""
    yield "arrays:"
    yield from rows(
        [
            (array["path"], str(tuple(array["shape"])), array["dtype"], array["unit"])
            for array in summary["arrays"]
        ],
        width,
    )


def history(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the commands that led to the store, each on one line, so that it can be copied."""
    yield "history:"
    for entry in summary["history"]:
        seed = "" if entry["seed"] is None else f", seed {entry['seed']}"
        yield f"  {entry['time']}  {entry['program']} {entry['version']}{seed}"
        yield f"    {' '.join([entry['program'], *entry['argv']])}"


def folded(text: str, width: int | None, indent: str = "  ") -> list[str]:
    """Return text as lines that begin with an indent, the second and later ones with two blanks more."""
    if width is None:
        return [indent + text]
    return textwrap.wrap(
        text, max(width, 20), initial_indent=indent, subsequent_indent=indent + "  "
    )


def rows(cells: Sequence[tuple[str, ...]], width: int | None = None) -> Iterator[str]:
    """Yield rows with their columns aligned, two blanks apart, of which the last one is folded.

    Args:
        cells: of each row.
        width: columns of the terminal; without it no line is folded.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    start = sum(part + 2 for part in widths[:-1])
    for row in cells:
        texts = (cell.ljust(part) for cell, part in zip(row, widths, strict=True))
        line = ("  " + "  ".join(texts)).rstrip()
        if width is None or len(line) <= width:
            yield line
        elif width - 2 - start >= _NARROWEST:
            first, *more = textwrap.wrap(row[-1], width - 2 - start)
            yield line[: 2 + start] + first
            yield from (" " * (2 + start) + text for text in more)
        else:
            yield from folded(line[: 2 + start].strip(), width)
            yield from folded(row[-1], width, "      ")


def _range(column: dict[str, Any]) -> tuple[str, str]:
    if column["mean"] is None:
        return "no values", ""
    missing = f", {column['missing']} missing" if column["missing"] else ""
    return (
        f"{column['minimum']:.4g} to {column['maximum']:.4g}",
        f"mean {column['mean']:.4g}{missing}",
    )
