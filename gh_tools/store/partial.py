"""Stores in the making, which survive interruption."""

from __future__ import annotations

import contextlib
import json
import uuid
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zarr

from gh_tools.errors import CannotCreateError
from gh_tools.outputs.claim import claim
from gh_tools.outputs.publish import (
    NEW,
    move_away,
    publish,
    rename_new,
    staging,
    sweep,
)
from gh_tools.store.io import fill_store
from gh_tools.store.output_checks import (
    check_inputs,
    check_output,
    check_replaceable,
    root_attributes,
)
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import RUN, open_store, partial_path, read_json
from gh_tools.store.records import sealed, unsealed, write_atomically

_PUBLISHED = "published.json"
_SAME = ("program", "seed", "config", "inputs")


class PartialStore(Parts):
    """A store in the making that survives interruption: ``NAME.zarr.partial``.

    The output is claimed until it is published, or this object is gone. Runs that share the work, and other
    processes of a run, put parts there; `publish` joins them into the store and removes the directory.
    Programs may keep more files (logs, checkpoints) in `directory`.

    Attributes:
        path: of the store that will appear.
        directory: of the unfinished store.
        finished: whether a resumed run has nothing left to do: the store stands at `path`, and there is no
            directory.
        extends: whether the run goes on from a finished store at `path` that lacks what failed.
    """

    def __init__(
        self,
        path: Path | str,
        provenance: Provenance,
        *,
        resume: bool = False,
        overwrite: bool = False,
        shared: bool = False,
    ):
        """Create or reopen the directory.

        Args:
            path: of the store that will appear.
            provenance: how it is being made.
            resume: go on where an earlier run stopped.
            overwrite: discard what an earlier run left, and replace a finished store at the end; with
                `resume` the latter alone.
            shared: go on, or begin, beside other runs that share the work; none of them publishes.

        Raises:
            CannotCreateError: something is there and neither was asked for, or the run to be
                resumed had another configuration or other inputs.
            TryAgainError: another run is at work on this output.
        """
        self.path, self.provenance = Path(path), provenance
        self.directory = partial_path(self.path)
        self._claim = claim(self.path, shared)
        self._drop = weakref.finalize(self, self._claim.drop)
        resume = resume or shared
        check_output(self.path, overwrite, resume)
        check_inputs(self.path, provenance)
        self._overwrite = overwrite
        if not shared and self._claim.certain:
            sweep(self.path)
        run = _run(provenance, self.path)
        standing = root_attributes(self.path)
        with staging(self.path) as folder:
            if self.directory.exists() and (
                (overwrite and not resume) or _is_published(self.directory, standing)
            ):
                move_away(self.directory, folder)
            self.finished = (
                resume
                and not overwrite
                and not self.directory.exists()
                and is_finished(self.path, provenance)
            )
            if not self.finished and not self.directory.exists():
                self._begin(folder / NEW, run, standing, resume and not overwrite)
        if self.finished:
            self.extends = False
            super().__init__(self.directory.absolute() / "parts", "")
            return
        begun = _read_run(self.directory / RUN)
        _check_same(self.path, run, begun)
        identity = None if standing is None else standing.get("id")
        # Earlier versions did not note what they would replace.
        replaces = begun.get("replaces", identity)
        if standing is not None and not overwrite and identity != replaces:
            raise CannotCreateError(
                f"{self.path}: has appeared, or was replaced, since the run to be resumed began; move it away, "
                "or replace it by going on with --resume --overwrite"
            )
        self.extends, self._replaces = begun["extends"], replaces
        # Absolute, so that it means the same to other processes
        super().__init__(self.directory.absolute() / "parts", begun["token"])

    def _begin(
        self, new: Path, run: Mapping[str, Any], standing: Mapping[str, Any] | None, extends: bool
    ) -> None:
        """Make the directory; of runs that share the work, one makes it and the others find it."""
        begun = {
            **run,
            "notes": dict(self.provenance.notes),
            "extends": extends and standing is not None,
            "replaces": None if standing is None else standing.get("id"),
            "token": uuid.uuid4().hex,
        }
        (new / "parts").mkdir(parents=True)
        write_atomically(new / RUN, sealed(begun))
        with contextlib.suppress(FileExistsError):
            rename_new(new, self.directory)

    def discard(self) -> None:
        """Remove what is unfinished, where no later run could go on with it."""
        with staging(self.path) as folder:
            move_away(self.directory, folder)

    @property
    def parts(self) -> Parts:
        """The parts alone, to be handed to other processes and machines."""
        return Parts(self.folder, self.token)

    def publish(
        self,
        kind: str,
        fill: Callable[[zarr.Group], None],
        attributes: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the store with ``fill``, make it appear, and remove the partial directory.

        A store that the run went on from, and did not change, stays as it is.

        Args:
            kind: of the store, as the schema names it.
            fill: writes arrays and attributes into the root group.
            attributes: of the root group, besides the provenance.

        Raises:
            CannotCreateError: another store has appeared meanwhile; what is finished is kept.
        """
        with staging(self.path) as folder:
            new = folder / NEW
            identity = fill_store(new, self.path, kind, fill, self.provenance, attributes)
            # So that a run that is killed from here on need not be repeated
            write_atomically(self.directory / _PUBLISHED, json.dumps({"id": identity}).encode())
            standing = root_attributes(self.path)
            if not self.extends or standing is None or standing.get("id") != identity:
                publish(new, self.path, self._check_replaced)
            move_away(self.directory, folder)
        self._claim.end()
        return self.path

    def _check_replaced(self, path: Path) -> None:
        check_replaceable(path)
        standing = root_attributes(path)
        if standing is not None and not self._overwrite and standing.get("id") != self._replaces:
            raise CannotCreateError(
                f"{self.path}: another store has appeared while this run was at work. What the run has made is kept: "
                "move that store away and use --resume, or replace it with --resume --overwrite"
            )


def is_finished(path: Path, provenance: Provenance) -> bool:
    """Tell whether a store stands at ``path`` that a run like this one has made, and that lacks nothing.

    Raises:
        CannotCreateError: the store was made otherwise, so that a run cannot go on from it.
    """
    if not path.exists():
        return False
    store = open_store(path)
    _check_same(path, _run(provenance, path), store.history[-1] if store.history else {})
    return not store.attributes.get("failed")


def _is_published(directory: Path, standing: Mapping[str, Any] | None) -> bool:
    """Tell whether what stands at the output is the store that was made in a partial directory."""
    made = read_json(directory / _PUBLISHED)
    return standing is not None and isinstance(made, dict) and made.get("id") == standing.get("id")


def _run(provenance: Provenance, path: Path) -> dict[str, Any]:
    """Return what a run must have in common with the one that it goes on from, as JSON has it."""
    entry = provenance.entry(path)
    return json.loads(json.dumps({key: entry[key] for key in _SAME}))


def _read_run(file: Path) -> dict[str, Any]:
    """Return how an unfinished store was begun: what `_run` gives, token, `extends`, and maybe `replaces`."""
    found = read_json(file)
    begun = unsealed(found)
    needed = {*_SAME, "extends", "token"}
    # Earlier versions wrote no checksum; nor did they write anything else than this.
    if begun is None and isinstance(found, dict) and found.keys() <= {*needed, "replaces"}:
        begun = found
    if begun is None or not needed <= begun.keys():
        raise CannotCreateError(f"{file}: is damaged; start anew with --overwrite")
    return begun


def _check_same(path: Path, run: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    for key in run:
        if run[key] != earlier.get(key):
            raise CannotCreateError(
                f"{path}: the run to be resumed had another {key} "
                f"({_difference(earlier.get(key), run[key])}); repeat it as it was with --resume, "
                "or start anew with --overwrite"
            )


def _difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in sorted(earlier.keys() | now.keys()):
            if earlier.get(key) != now.get(key):
                return f"{key}: {_difference(earlier.get(key), now.get(key))}"
    return f"{json.dumps(earlier)[:80]} then, {json.dumps(now)[:80]} now"
