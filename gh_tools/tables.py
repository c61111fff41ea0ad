"""The layout of tables: full names and whole numbers at any width."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Rows = Sequence[Sequence[str]]

_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?( ?%)?|nan|inf|-inf|[-–—]?")
# Of a pipe that nobody reads on a screen.
_UNBOUNDED = 1_000_000


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 structure" and "2 structures"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def numeric(cells: Sequence[str]) -> bool:
    """Tell whether a column holds numbers alone, which are aligned on the right; a dash or nothing is none."""
    return any(map(str.strip, cells)) and all(_NUMBER.fullmatch(cell.strip()) for cell in cells)


def natural_width(console: Console, shown: RenderableType) -> int:
    """Return the columns that something takes where nothing is cut or folded."""
    from rich.measure import Measurement

    unbounded = console.options.update(max_width=_UNBOUNDED)
    return Measurement.get(console, unbounded, shown).maximum


def layout(
    console: Console, rows: Rows, columns: Sequence[str], title: str | None = None
) -> list[Table]:
    """Return tables that fit the console's width: as many columns each as fit, the first one in all of them.

    No cell is cut or folded, unless the first column and one other are too wide together.

    Args:
        console: where they are to be printed.
        rows: cells, as they are shown.
        columns: headings.
        title: above the first of them.
    """
    kept, tables = [0], []
    for number in range(1, len(columns)):
        tried = _table([*kept, number], rows, columns, None)
        if len(kept) > 1 and natural_width(console, tried) > console.width:
            tables.append(kept)
            kept = [0]
        kept.append(number)
    return [
        _table(chosen, rows, columns, None if number else title)
        for number, chosen in enumerate([*tables, kept])
    ]


def _table(chosen: Sequence[int], rows: Rows, columns: Sequence[str], title: str | None) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # As Text, in which square brackets are no markup.
    table = Table(
        box=box.SIMPLE_HEAD,
        title=None if title is None else Text(title),
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for number in chosen:
        right = numeric([row[number] for row in rows])
        table.add_column(
            Text(columns[number]), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(row[number]) for number in chosen))
    return table


def aligned(rows: Rows, columns: Sequence[str], width: int | None = None) -> str:
    """Return a table as plain text.

    Args:
        rows: cells, as they are shown.
        columns: headings.
        width: columns of the terminal; without it all columns stand beside each other, one line a row.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width or _UNBOUNDED, color_system=None, legacy_windows=False)
    for number, table in enumerate(layout(console, rows, columns)):
        if number:
            text.write("\n")
        console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
