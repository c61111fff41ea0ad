"""Going on with a run of which only the store's name is given: its options are in its history."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gh_tools.cli.paths import piped_paths
from gh_tools.errors import NoInputError, UsageError


@dataclass(frozen=True)
class EarlierRun:
    """What is known of a run that is to be gone on with.

    Attributes:
        source: where that is written.
        output: the store that it makes.
        config: its configuration.
        seed: of its random numbers, if it draws any.
        inputs: the stores that it reads: path and kind, in order.
        files: other files and folders that it reads, or patterns of them, as given; of ``gh-import``.
    """

    source: Path
    output: Path
    config: Mapping[str, Any]
    seed: int | None
    inputs: tuple[tuple[Path, str], ...]
    files: tuple[str, ...] = ()

    def paths(self, *kinds: str) -> list[Path]:
        """Return the inputs of some kinds, or all."""
        return [path for path, kind in self.inputs if not kinds or kind in kinds]


def take_up(
    program: str,
    arguments: list[str] | None,
    output: Path | None,
    resume: bool,
    *,
    piped: bool = True,
) -> tuple[list[str] | None, EarlierRun | None]:
    """Find the run to go on with, where ``--resume`` was given without inputs.

    The store is named by ``--output``, or as the only argument if it is unfinished, or lacks what failed.

    Args:
        program: the command.
        arguments: the inputs, as given.
        output: the option ``--output``.
        resume: whether to go on at all.
        piped: whether inputs may come through a pipe.

    Returns:
        The inputs, with those that came through a pipe, and the run; None if inputs were given.

    Raises:
        NoInputError: there is no such run.
        UsageError: the store is made by another command.
    """
    if not resume:
        return arguments, None
    if output is None and arguments and len(arguments) == 1 and arguments[0] != "-":
        path = Path(arguments[0])
        found = _entry(path)
        if found is None or found[1].get("program") != program or not _unfinished(path):
            return arguments, None
        return None, _earlier(path, *found)
    if output is None or arguments:
        return arguments, None
    if piped and (paths := piped_paths()):
        return list(map(str, paths)), None
    found = _entry(output)
    if found is None:
        raise NoInputError(
            f"{output}: there is no run to go on with; name the inputs, or start without --resume"
        )
    if found[1].get("program") != program:
        raise UsageError(
            f"{output}: is made by {found[1].get('program')}, not by {program}; go on with that command"
        )
    return None, _earlier(output, *found)


def _unfinished(path: Path) -> bool:
    from gh_tools.store.output_checks import root_attributes
    from gh_tools.store.read import partial_path

    attributes = root_attributes(path) or {}
    return partial_path(path).is_dir() or bool(attributes.get("failed"))


def _entry(path: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the record of the run that makes, or has made, a store, and where it stands."""
    from gh_tools.store.output_checks import root_attributes
    from gh_tools.store.read import partial_path, read_json

    run = read_json(partial_path(path) / "run.json")
    if isinstance(run, dict):
        return partial_path(path) / "run.json", run
    history = (root_attributes(path) or {}).get("history")
    if isinstance(history, list) and history and isinstance(history[-1], dict):
        return path, history[-1]
    return None


def _earlier(output: Path, source: Path, entry: Mapping[str, Any]) -> EarlierRun:
    try:
        inputs = tuple((_beside(output, i["path"]), str(i["kind"])) for i in entry["inputs"])
        named = entry.get("notes", {}).get("files", [])
        files = tuple(str(_beside(output, path)) for path in named)
        return EarlierRun(source, output, dict(entry["config"]), entry["seed"], inputs, files)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoInputError(
            f"{source}: does not tell the options of its run; name the inputs and options again, or start anew "
            "with --overwrite"
        ) from None


def recorded(output: Path, files: Sequence[str]) -> list[str]:
    """Return paths from the folder of the output, which `EarlierRun.files` gives back."""
    folder = output.absolute().parent
    return [os.path.relpath(os.path.abspath(file), folder) for file in files]


def _beside(output: Path, path: str) -> Path:
    """Return the path of an input from here, which is recorded from the folder of the output."""
    return Path(os.path.relpath(output.absolute().parent / path))
