"""Structures under paths: files, folders, trees of folders, and patterns."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gh_tools.errors import NoInputError
from gh_tools.formats.format import Format, Source
from gh_tools.store.structures import unique_names


def find_sources(
    paths: Sequence[str], formats: Sequence[Format]
) -> tuple[list[tuple[Format, Source]], list[str]]:
    """Find structures, and name each after its place.

    Args:
        paths: files, folders that are searched with all that they hold, or patterns such as ``run-*``.
        formats: that may be found; the first that knows a folder or a file has it.

    Returns:
        Format and place of each structure, and its name.

    Raises:
        NoInputError: a path is not there, or holds nothing of these formats.
    """
    found: list[tuple[Format, Source]] = []
    names: list[str] = []
    for given in paths:
        pattern = not os.path.lexists(given)
        before = len(found)
        for root in _expanded(given):
            here = list(_search(root, formats))
            # What a pattern meets beside structures, such as notes, is passed over.
            if not here and not pattern:
                raise NoInputError(_nothing(root, formats))
            found += here
            names += [_name(root, source) for _, source in here]
        if len(found) == before:
            raise NoInputError(_nothing(given, formats))
    return found, unique_names(names)


def _nothing(place: Path | str, formats: Sequence[Format]) -> str:
    known = ", ".join(form.title for form in formats if form.read)
    return (
        f"{place}: no H and S were found there, looking for {known}; name the folder that holds the files of one "
        "structure, or a folder of such folders"
    )


def _expanded(given: str) -> list[Path]:
    if os.path.lexists(given):
        return [Path(given)]
    matches = sorted(glob.glob(given, recursive=True))
    if not matches:
        raise NoInputError(f"{given}: there is no such file or folder")
    return [Path(match) for match in matches]


def _search(root: Path, formats: Sequence[Format]) -> Iterator[tuple[Format, Source]]:
    places = [root]
    if root.is_dir():
        # Sorted, so that the order of structures is that of their names
        places = [Path(folder) for folder, _, _ in sorted(os.walk(root, followlinks=True))]
    for place in places:
        for form in formats:
            sources = form.find(place)
            if sources:
                yield from ((form, source) for source in sources)
                break


def _name(root: Path, source: Source) -> str:
    """Name a structure by its path below the one that was given, without an ending, and its frame."""
    path = source.path
    if path == root:
        path = Path(path.resolve().name)
    else:
        path = path.relative_to(root)
    name = str(path.with_suffix("") if source.path.is_file() else path)
    name = "".join(c if c.isprintable() else "_" for c in name).strip()
    return name if source.frame is None else f"{name}.{source.frame}"


def identity(sources: Sequence[tuple[Format, Source]], names: Sequence[str]) -> str:
    """Return a hash of which structures there are, and in what formats: what a resumed run must find again."""
    facts = [[form.name, name] for (form, _), name in zip(sources, names, strict=True)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def fingerprint(source: Source) -> str:
    """Return a hash of sizes and times of a structure's files: where it differs, they are read again."""
    path = source.path
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    facts = [str(path), source.frame, [[n, s.st_size, s.st_mtime_ns] for n, s in stats]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
