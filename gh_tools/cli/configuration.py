"""A command's configuration: defaults, TOML file and ``--set`` options, and how it is printed."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gh_tools.aliases import renamed_keys
from gh_tools.cli.settings import DEEPEST, as_tables, names_place, parse_setting
from gh_tools.errors import UsageError
from gh_tools.files import read_text

if TYPE_CHECKING:
    import pydantic

Config = TypeVar("Config", bound="pydantic.BaseModel")

# A key of more parts: Python's parser takes time that grows with the square of their number.
_DEEP_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}"""
)


def load_config(
    model: type[Config],
    file: Path | None,
    settings: Sequence[str] | None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Build a configuration from defaults, a TOML file, and ``--set`` options, in this order.

    Args:
        model: its pydantic model.
        file: the TOML file, if any.
        settings: entries ``a.b=c``; c is TOML, or else text, or a list without brackets or quotes, whichever
            fits the key.
        base: values that come before the file's, such as a preset's.

    Raises:
        NoInputError: no such file.
        UsageError: it is no TOML, or a key or a value does not fit; the message names it.
    """
    try:
        return _load_config(model, file, settings, base)
    except RecursionError:
        raise UsageError(
            f"{file or '--set'}: tables or arrays stand in one another more than {DEEPEST} deep"
        ) from None


def _load_config(
    model: type[Config],
    file: Path | None,
    settings: Sequence[str] | None,
    base: Mapping[str, Any] | None,
) -> Config:
    import pydantic

    values: dict[str, Any] = _merge({}, base or {})
    if file is not None:
        text = read_text(file, "configuration file")
        if _DEEP_KEY.search(text):
            raise UsageError(f"{file}: a key has more than {DEEPEST} parts")
        try:
            values = _merge(values, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{file}: not valid TOML: {error}") from None
    given = [parse_setting(setting) for setting in settings or []]
    chosen = [0] * len(given)
    told: pydantic.ValidationError | None = None
    while True:
        trial = values
        for (parts, readings), number in zip(given, chosen, strict=True):
            trial = _merge(trial, as_tables(parts, readings[number]))
        try:
            meant = renamed_keys(trial)
            config = model.model_validate(meant)
            break
        except pydantic.ValidationError as error:
            # What was typed may be meant in another way: that of the setting that the error is about. What is told
            # is of the first reading, or of the one that fits best, whose fault lies deeper.
            place = error.errors()[0]["loc"]
            told = error if told is None or len(place) > len(told.errors()[0]["loc"]) else told
            about = [n for n, (parts, _) in enumerate(given) if names_place(parts, place)]
            if not about or chosen[about[-1]] + 1 == len(given[about[-1]][1]):
                raise UsageError(_explain(told, model, file)) from None
            chosen[about[-1]] += 1
    found = config.model_dump()
    for key, truth in _truths(meant, found):
        raise UsageError(f"{key}: expected a number, found {str(truth).lower()}")
    for key, value in _numbers(found):
        if not math.isfinite(value):
            raise UsageError(f"{key}: expected a finite number, found {value}")
    return config


def _explain(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], file: Path | None
) -> str:
    """Say which key does not fit, and what to write instead."""
    first = error.errors()[0]
    location, kind, found = first["loc"], first["type"], first["input"]
    key = ".".join(str(part) for part in location) or "the configuration"
    where = f"{file}: " if file is not None else ""
    if kind == "extra_forbidden":
        known = ", ".join(_known_keys(model, location[:-1]))
        hint = f"; known keys are {known}" if known else ""
        return f"{where}{key}: there is no such key{hint}"
    if kind in ("tuple_type", "list_type"):
        return f"{where}{key}: expected several values, as in {key}=[a,b,c], found {found!r}"
    if kind in ("missing", "too_long", "too_short") and isinstance(found, list | tuple):
        key = key.rpartition(".")[0] if kind == "missing" else key
        count = _length(model, location[:-1] if kind == "missing" else location)
        expected = f"{count} values" if count else "another number of values"
        example = ",".join("abcdefghi"[: count or 3])
        return f"{where}{key}: expected {expected}, as in {key}=[{example}], found {found!r}"
    if kind == "string_type" and isinstance(found, bool | int | float):
        return f'{where}{key}: expected text, found {found!r}; write it in quotes, "{found}"'
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}{key}: {message[0].lower() + message[1:]}, found {found!r}"


def _length(model: type[pydantic.BaseModel], location: Sequence[Any]) -> int:
    """Return how many values a tuple of fixed length has; 0 for any other field."""
    import typing

    field = model.model_fields.get(location[0]) if len(location) == 1 else None
    for kind in (field.annotation, *typing.get_args(field.annotation)) if field else ():
        values = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and Ellipsis not in values:
            return len(values)
    return 0


def _known_keys(model: type[pydantic.BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not hasattr(annotation, "model_fields"):
            return []
        model = cast("type[pydantic.BaseModel]", annotation)
    return list(model.model_fields)


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield the floats of nested tables and lists, each with its key, as in a.b.0."""
    if isinstance(value, float):
        yield key, value
    if isinstance(value, Mapping | list | tuple):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for part, item in inner:
            yield from _numbers(item, f"{key}.{part}" if key else str(part))


def _truths(given: Any, taken: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each true or false that was taken for a number, 1 or 0, as Python does."""
    if isinstance(given, bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
        yield key, given
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        pairs = [(part, given[part], taken[part]) for part in given.keys() & taken.keys()]
    elif isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        pairs = [(part, *both) for part, both in enumerate(zip(given, taken, strict=False))]
    else:
        return
    for part, one, other in pairs:
        yield from _truths(one, other, f"{key}.{part}" if key else str(part))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def as_settings(settings: Sequence[str] | None, options: Mapping[str, Any]) -> list[str]:
    """Append options of their own to ``--set`` entries, after which they win; None is not given."""
    given = {key: value for key, value in options.items() if value is not None}
    return [*(settings or []), *(f"{key}={_as_toml(value)}" for key, value in given.items())]


def _as_toml(value: Any) -> str:
    """Write strings, numbers, lists and tables as TOML: JSON, but for characters beyond 16 bits.

    Of these JSON makes two escapes, where TOML has one; and bytes of a file's name that are no text, which
    Python holds as one half of such a character, stand as they are.
    """
    if isinstance(value, Mapping):
        entries = (f"{_as_toml(key)} = {_as_toml(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"

    def escape(found: re.Match) -> str:
        if found["high"]:
            return "\\U" + f"{ord(json.loads(chr(34) + found[0] + chr(34))):08x}"
        return chr(int(found["alone"], 16)) if found["alone"] else found[0]

    pattern = r"\\\\|\\u(?P<high>d[89ab]..)\\u(?P<low>d[c-f]..)|\\u(?P<alone>d[89a-f]..)"
    return re.sub(pattern, escape, json.dumps(value))


def show_config(config: pydantic.BaseModel) -> None:
    """Print a configuration as TOML on standard output; keys without a value are comments."""
    print("\n".join(_toml(config.model_dump(mode="json"))))


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    lines = []
    for key, value in table.items():
        if value is None:
            lines.append(f"# {_key(key)} =")
        elif not isinstance(value, Mapping):
            lines.append(f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, _key(key))
            lines += ["", f"[{'.'.join(inner)}]", *_toml(value, inner)]
    return lines


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isalnum() and plain.isascii() else json.dumps(key)
