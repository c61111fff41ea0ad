"""The one place that knows which formats there are."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from gh_tools.errors import UsageError
from gh_tools.formats.format import Format

# Each name is a module of this package that holds the format as FORMAT ("-" stands as "_" there). Where a
# folder could be of two formats, the first one has it.
NAMES = (
    "deeph",
    "deeph-legacy",
    "deeptb",
    "abacus",
    "siesta",
    "sisl",
    "openmx",
    "fhi-aims",
    "wannier90",
    "gears-h",
    "hamgnn",
    "npz",
)
AUTO = "auto"


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        raise UsageError(f"there is no format called {name!r}; the formats are {', '.join(NAMES)}")
    return import_module(f"{__package__}.{name.replace('-', '_')}").FORMAT


def chosen(name: str) -> Sequence[Format]:
    """Return the formats that a name stands for: all of them for ``auto``.

    Raises:
        UsageError: there is no such format.
    """
    return [get_format(each) for each in NAMES] if name == AUTO else [get_format(name)]
