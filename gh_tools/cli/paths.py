"""The paths that a command reads and writes: inputs, outputs named after them, and claims on these."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.outputs.claim import claim

# Bytes of a line of standard input, which may be an object with the reasons of many failures, and lines.
_LONGEST_LINE, _MOST_LINES = 1 << 24, 100_000


def input_paths(arguments: Sequence[str] | None) -> list[Path]:
    """Return the paths that a command is to read.

    Args:
        arguments: as given; ``-``, or none behind a pipe, stands for the lines of standard input:
            paths, or JSON objects with a ``path``.

    Raises:
        UsageError: nothing was given and standard input is a terminal.
        NoInputError: standard input held nothing.
    """
    if not arguments:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input: name a store, or pipe the paths of stores in")
        arguments = ["-"]
    paths = []
    for argument in arguments:
        if argument != "-":
            paths.append(Path(argument))
            continue
        lines = _lines()
        if not lines:
            raise NoInputError(
                "standard input: expected paths of stores, but the upstream command produced nothing; "
                "look at its error"
            )
        paths += [_path(line) for line in lines]
    return paths


def piped_paths() -> list[Path]:
    """Return the paths on standard input; none where it is a terminal or empty."""
    if sys.stdin is None or sys.stdin.isatty():
        return []
    return [_path(line) for line in _lines()]


def _lines() -> list[str]:
    """Return the lines of standard input that are not empty; paths are bytes, whatever its encoding."""
    if sys.stdin is None:
        return []
    found: list[str] = []
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE or b"\0" in line or len(found) == _MOST_LINES:
            raise DataError(
                f"standard input: expected at most {_MOST_LINES} lines, each the path of a store, found "
                "something else"
            )
        if text := os.fsdecode(line).strip():
            found.append(text)
    return found


def _path(line: str) -> Path:
    if not line.startswith("{"):
        return Path(line)
    try:
        return Path(json.loads(line)["path"])
    except (json.JSONDecodeError, KeyError, TypeError, RecursionError):
        raise DataError(
            f"standard input: expected a path or a JSON object with a 'path', found {line[:80]!r}"
        ) from None


def output_paths(given: Path | None, sources: Sequence[Path], kind: str) -> list[Path]:
    """Return where the results of a command that maps each input to one output go.

    Args:
        given: the option ``--output``; good for one input only.
        sources: the inputs.
        kind: suffix of derived names, such as ``hamiltonians``.
    """
    if given is None:
        return [derived(source, kind) for source in sources]
    if len(sources) > 1:
        raise UsageError(
            f"--output names one store, but there are {len(sources)} inputs; leave it out"
        )
    return [given]


def claim_stores(
    paths: Sequence[Path],
    sources: Sequence[Path | None],
    *,
    overwrite: bool,
    resume: bool = False,
    shared: bool = False,
) -> None:
    """Claim the stores that a command writes, until they are published or the command ends.

    Args:
        paths: of the stores, one for each of the first sources.
        sources: what is read; None stands for an option that was not given.
        overwrite: whether stores may be replaced.
        resume: whether the run goes on with what is there.
        shared: whether other runs do parts of the work at the same time.

    Raises:
        UsageError: two inputs have one output, or an output is an input.
        CannotCreateError: something is there already, or cannot be written.
        TryAgainError: another run is at work on one of them.
    """
    from gh_tools.store.output_checks import check_output

    read = {os.path.realpath(source): source for source in sources if source is not None}
    seen: dict[str, int] = {}
    for number, path in enumerate(paths):
        place = os.path.realpath(path)
        if place in read:
            raise UsageError(
                f"{path}: would be read and replaced in one run; name another --output"
            )
        if place in seen:
            raise UsageError(
                f"{sources[seen[place]]} and {sources[number]} would both become {path}; start one run for each, with "
                "an --output of its own"
            )
        seen[place] = number
    for path in paths:
        claim(path, shared)
        check_output(path, overwrite, resume or shared)


def claim_files(paths: Sequence[Path | None], *, overwrite: bool, data: Sequence[str] = ()) -> None:
    """Claim the pictures that a command writes.

    Args:
        paths: of the files; None stands for an option that was not given.
        overwrite: whether files may be replaced.
        data: endings of files that hold data instead, such as ``.json``.

    Raises:
        UsageError: two of them are one file, or one has an ending that no picture has.
        CannotCreateError: something is there already, or cannot be written.
        TryAgainError: another run is at work on one of them.
    """
    from gh_tools.outputs.publish import check_output_file, sweep
    from gh_tools.plotting import check_picture

    seen = set()
    for path in filter(None, paths):
        if path.suffix.lower() not in data:
            check_picture(path)
        if os.path.realpath(path) in seen:
            raise UsageError(f"{path}: is named for two files; give each a name of its own")
        seen.add(os.path.realpath(path))
        held = claim(path)
        check_output_file(path, overwrite)
        if held.certain:
            sweep(path)


def derived(source: Path, kind: str) -> Path:
    """Name an output after an input: ``x.structures.zarr`` becomes ``x.<kind>.zarr``, beside it."""
    return beside(source, f"{kind}.zarr")


def beside(source: Path, ending: str) -> Path:
    """Name a file after a store and beside it: its name without suffixes, a point, and an ending."""
    if source.name in ("", ".."):  # named by where it is: "." is the present folder
        source = source.resolve()
    if not source.name:
        raise NoInputError(f"{source}: expected a store, found the root of all folders")
    return source.with_name(f"{stem(source)}.{ending}")


def stem(path: Path) -> str:
    """Name of a store without ``.zarr`` and the suffix of its kind: what other names derive from."""
    name = path.name.removesuffix(".zarr")
    return re.sub(r"\.(structures|hamiltonians|scaleshift|model|spectra|posterior)$", "", name)
