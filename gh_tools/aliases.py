"""Names of before: what stores and configurations of earlier versions call otherwise.

Only this module knows them. A store is asked for its arrays by today's names, whatever its schema; keys of a
configuration are renamed before it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Paths of arrays in stores of schema 1, as patterns, and what they are now.
_ARRAYS = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"((?:scaleshift/)?onsite/[^/]+)/mean", r"\1/shift"),
        (r"((?:scaleshift/)?onsite/[^/]+)/deviation", r"\1/scale"),
        (r"((?:scaleshift/)?pairs/[^/]+)/nearest", r"\1/r_min"),
        (r"((?:scaleshift/)?)potential/nearest", r"\1onsite_energy/r_min"),
        (r"((?:scaleshift/)?)potential/local", r"\1onsite_energy/local"),
        (r"((?:scaleshift/)?)potential/spread", r"\1onsite_energy/neighbour"),
    )
)

# Names that no schema gives to anything else, as patterns: stores of schema 2 may have them, too.
_ALWAYS = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"solver/levels", "solver/eigenvalues"),
        (r"(pairs/\d+-\d+)/shift", r"\1/cell_offset"),
        (r"(parameters(?:_eigenvalue)?)/ends_([01])/(.+)", r"\1/embed_pairs_\2/\3"),
    )
)

# Keys of configurations, dotted, and what they are now.
_KEYS = {"loss.levels": "loss.eigenvalues"}

# Options of commands: still taken, and not shown.
ONSITE_ENERGIES = "--potential/--no-potential"


def array_path(path: str, schema: int) -> str:
    """Return today's path of an array.

    Args:
        path: in a store.
        schema: of the store.
    """
    for pattern, new in _ALWAYS if schema > 1 else _ALWAYS + _ARRAYS:
        if match := pattern.fullmatch(path):
            return match.expand(new)
    return path


def renamed_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with today's keys; where both names stand, today's counts.

    Args:
        config: tables of tables, as TOML gives them.
    """
    result = dict(config)
    for old, new in _KEYS.items():
        (table, name), (new_table, new_name) = old.split("."), new.split(".")
        if isinstance(result.get(table), Mapping) and name in result[table]:
            section = dict(result[table])
            value = section.pop(name)
            result[table] = section
            result[new_table] = {new_name: value, **result.get(new_table, {})}
    return result
