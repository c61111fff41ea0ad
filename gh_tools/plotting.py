"""The look of all pictures, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gh_tools.errors import CannotCreateError, UsageError
from gh_tools.outputs.publish import new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")

# The colours of Okabe and Ito, which stay apart for colour-blind readers; black is for totals.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
INK = "#222222"

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 200,
}


def check_picture(path: Path | str) -> None:
    """Raise an error if no picture can be written under this name.

    Raises:
        UsageError: the ending is none of `FORMATS`.
        CannotCreateError: the folder does not exist.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{path}: pictures end in {', '.join(FORMATS)}; found {suffix or 'no ending'}"
        )
    if not Path(path).absolute().parent.is_dir():
        raise CannotCreateError(
            f"{path}: cannot be created: its folder does not exist; make it first"
        )


@contextmanager
def picture(
    path: Path | str, size: tuple[float, float] = (5.0, 3.4), **subplots
) -> Iterator[tuple[Figure, Any]]:
    """Give a figure with axes to draw on (or an array of them), and write it when the block ends without an error.

    The file appears whole or not at all. No display is needed: nothing but a renderer for files
    is ever loaded.

    Args:
        path: ends in .png, .pdf or .svg.
        size: width and height in inches.
        subplots: arguments of `matplotlib.figure.Figure.subplots`.

    Raises:
        UsageError: the ending is another one.
        CannotCreateError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    check_picture(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(**subplots)
        # Without dates in them the same data give the same bytes.
        metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
        try:
            with new_file(path) as new:
                ending = path.suffix.lower()
                figure.savefig(new, format=ending[1:], metadata=metadata.get(ending))
        except OSError as error:
            raise CannotCreateError(f"{path}: cannot be written ({error.strerror})") from error


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters, from the middle of which the rest was taken."""
    if len(text) <= most:
        return text
    return f"{text[: (most - 1) // 2]}…{text[len(text) - most // 2 :]}"
