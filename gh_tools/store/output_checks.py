"""What may stand where a store is to be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gh_tools.errors import CannotCreateError
from gh_tools.outputs.claim import check_folder
from gh_tools.outputs.publish import (
    describe_path,
)
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import RUN, partial_path, read_json
from gh_tools.store.schema import KINDS


def check_output(path: Path, overwrite: bool = False, resume: bool = False) -> None:
    """Raise `CannotCreateError` if writing ``path`` would destroy something or cannot work.

    Nothing but stores of gh-tools, and what their runs left unfinished, is ever replaced or gone on with.

    Args:
        path: of the store.
        overwrite: whether a store may be replaced.
        resume: whether the run goes on with one, or with an unfinished one.
    """
    path = Path(path)
    check_folder(path)
    check_replaceable(path)
    partial = partial_path(path)
    if os.path.lexists(partial) and not is_partial(partial):
        raise CannotCreateError(
            f"{partial}: {describe_path(partial)} is where the unfinished store would be, and no run of gh-tools "
            "left it; move it away, or name another --output"
        )
    if overwrite or resume:
        return
    if path.exists():
        raise CannotCreateError(f"{path}: exists already; use --overwrite or another --output")
    if partial.exists():
        raise CannotCreateError(
            f"{partial}: left by an unfinished run; go on with --resume or "
            "start anew with --overwrite"
        )


def check_inputs(path: Path, provenance: Provenance) -> None:
    """Raise `CannotCreateError` if a store is to be made of itself."""
    for store in provenance.inputs:
        if os.path.realpath(store.path) == os.path.realpath(path):
            raise CannotCreateError(
                f"{path}: would be made of itself, and replaced; name another --output"
            )


def check_replaceable(path: Path) -> None:
    """Raise `CannotCreateError` if anything but a store of gh-tools, as a folder of its own, is at ``path``."""
    if os.path.lexists(path) and (path.is_symlink() or root_attributes(path) is None):
        raise CannotCreateError(
            f"{path}: {describe_path(path)} is there, and no store of gh-tools, which alone would be replaced; "
            "move it away, or name another --output"
        )


def root_attributes(path: Path) -> dict[str, Any] | None:
    """Return the root attributes of a store, however damaged all else is; None if it is no store of gh-tools."""
    found = read_json(path / "zarr.json")
    attributes = found.get("attributes") if isinstance(found, dict) else None
    if not isinstance(attributes, dict) or not isinstance(attributes.get("schema"), int):
        return None
    return attributes if attributes.get("kind") in list(KINDS) else None


def is_partial(directory: Path) -> bool:
    """Tell whether a folder is an unfinished store that a run of gh-tools left, or empty."""
    if directory.is_symlink() or not directory.is_dir():
        return False
    run = read_json(directory / RUN)
    return (isinstance(run, dict) and "token" in run) or not any(directory.iterdir())


def refuse_other(path: Path) -> None:
    """Raise `CannotCreateError`: another run has made a store at ``path``."""
    raise CannotCreateError(
        f"{path}: is there, and another store than this run has made; it was left as it is: name another "
        "--output, or use --overwrite"
    )
