"""Where a store comes from: the history that every command copies forward and appends to."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gh_tools.errors import DataError, NoInputError
from gh_tools.resources import source_date
from gh_tools.store.read import Store, open_store
from gh_tools.version import __version__

_ORIGINS = {"gh-infer": "predicted", "gh-label": "DFT"}


@dataclass(frozen=True)
class Provenance:
    """How a store is being made.

    Attributes:
        program: the command, such as ``gh-label``.
        argv: its arguments.
        seed: of its random numbers, if it draws any.
        config: its configuration, JSON-like.
        inputs: the stores that it reads.
        notes: JSON-like facts about the run that no two runs share, such as times: they are told in the
            history and are no part of the content.
    """

    program: str
    argv: Sequence[str] = ()
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Store] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def history(self, output: Path) -> list[dict[str, Any]]:
        """Return the inputs' histories, merged, with an entry of our own at the end."""
        merged: list[dict[str, Any]] = []
        for store in self.inputs:
            merged += [entry for entry in store.history if entry not in merged]
        return [*merged, self.entry(output)]

    def entry(self, output: Path) -> dict[str, Any]:
        """Return our own entry: program, version, argv, time, seed, config, inputs, and notes if any.

        The time honours SOURCE_DATE_EPOCH. Paths of inputs are relative to the folder of ``output``,
        so that a folder of stores can be moved as a whole.
        """
        folder = Path(output).absolute().parent
        now = source_date() or datetime.datetime.now(datetime.UTC)
        return {
            "program": self.program,
            "version": __version__,
            "argv": list(self.argv),
            "time": now.isoformat(timespec="seconds"),
            "seed": self.seed,
            "config": dict(self.config),
            "inputs": [
                {
                    "path": os.path.relpath(store.path.absolute(), folder),
                    "id": store.id,
                    "kind": store.kind,
                }
                for store in self.inputs
            ],
            **({"notes": dict(self.notes)} if self.notes else {}),
        }


def origin_of(history: Sequence[Mapping[str, Any]]) -> str:
    """Return where Hamiltonians, or what was computed of them, come from: ``predicted``, ``DFT`` or empty.

    Args:
        history: of their store.
    """
    for entry in reversed(history):
        if entry.get("program") in _ORIGINS:
            return _ORIGINS[entry["program"]]
    return ""


def find_inputs(store: Store, kind: str) -> list[Store]:
    """Open the stores of a kind that ``store`` was made from.

    Raises:
        NoInputError: the history names none, or one is no longer where it was.
        DataError: one has changed since.
    """
    found = []
    for recorded in store.history[-1]["inputs"] if store.history else []:
        if recorded["kind"] != kind:
            continue
        path = store.path.absolute().parent / recorded["path"]
        try:
            source = open_store(path, kind)
        except NoInputError:
            raise NoInputError(
                f"{store.path}: was made from {path}, which is no longer there; "
                f"name the {kind} store explicitly"
            ) from None
        if source.id != recorded["id"]:
            raise DataError(
                f"{path}: has changed since {store.path} was made from it "
                f"(id {recorded['id'][:12]} then, {source.id[:12]} now); make {store.path} anew"
            )
        found.append(source)
    if not found:
        raise NoInputError(f"{store.path}: its history names no {kind} store; name one explicitly")
    return found
