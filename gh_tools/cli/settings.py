"""Entries of ``--set``: what they may mean, as people type them without brackets or quotes."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from gh_tools.errors import UsageError

# Tables in tables of a configuration.
DEEPEST = 32
# A word that TOML would have in quotes, such as a chemical symbol.
_BARE_WORD = re.compile(r"(?<![\w.+-])(?!(?:true|false)\b)[A-Za-z_][\w.:/()+-]*")


def parse_setting(text: str) -> tuple[list[str], list[Any]]:
    """Return the parts of the key of an entry of ``--set``, and the readings of its value, the first one preferred.

    Raises:
        UsageError: it is not KEY=VALUE on one line.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set {text}: expected KEY=VALUE, as in a.b=c")
    if len(text.splitlines()) > 1:
        raise UsageError(f"--set {text}: expected one line; give each key a --set of its own")
    if len(parts) > DEEPEST:
        raise UsageError(f"--set: a key has {len(parts)} parts, more than {DEEPEST}")
    return parts, _readings(value.strip())


def as_tables(parts: Sequence[str], value: Any) -> dict[str, Any]:
    """Return nested tables that hold one value."""
    for part in reversed(parts):
        value = {part: value}
    return value


def _readings(text: str) -> list[Any]:
    """Return what a value may mean: TOML, text, and a list that is written without brackets or quotes.

    TOML comes first. What it means stays what is meant wherever it fits: 3 is text only where text is expected.
    """
    typed_quotes = '"' in text or "'" in text
    quoted = text if typed_quotes else _BARE_WORD.sub(lambda word: json.dumps(word[0]), text)
    bare = _toml_value(quoted)
    candidates = [_toml_value(text), text, bare]
    if not isinstance(bare, list):
        candidates.append(_toml_value(f"[{quoted}]"))
    return [value for value in candidates if value is not None]


def _toml_value(text: str) -> Any:
    """Return what a text means as a value of TOML; None if it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None


def names_place(parts: Sequence[str], location: Sequence[Any]) -> bool:
    """Tell whether a key's parts are among those of an error's place, which names kinds of sections, too."""
    places = iter(map(str, location))
    return all(part in places for part in parts)
