"""What a format is: how its structures are found, read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gh_tools.errors import DataError, GhError, MissingExtraError
from gh_tools.formats.matrices import CodeMatrices
from gh_tools.orbitals.blocks import Hamiltonian


class Source(NamedTuple):
    """Where one structure is.

    Attributes:
        path: a file, or the folder that holds its files.
        frame: which one, where several are in one place.
    """

    path: Path
    frame: int | None = None


@dataclass(frozen=True)
class Format:
    """A format of H and S.

    Attributes:
        name: what the command line calls it.
        title: what messages call it.
        find: the structures that one folder, or one file, holds in this format, told by its content; does not
            descend.
        read: reads one of them.
        write: writes one into a new folder, or a new file where `suffix` is not empty; None if it cannot be
            written.
        suffix: of the file that `write` makes; empty for a folder.
        spinors: whether `write` can write H of spinors.
        refusal: why structures of this format are found but not read.
    """

    name: str
    title: str
    find: Callable[[Path], Sequence[Source]]
    read: Callable[[Source], CodeMatrices] | None = None
    write: Callable[[Path, Hamiltonian], None] | None = None
    suffix: str = ""
    spinors: bool = False
    refusal: str = ""


def read_source(form: Format, source: Source) -> CodeMatrices:
    """Read a structure; whatever a library raises becomes one sentence that names the file.

    Raises:
        DataError: the files are not what the format says, or are truncated or damaged.
        MissingExtraError: a library is not installed.
    """
    where = source.path if source.frame is None else f"{source.path}: frame {source.frame}"
    if form.read is None:
        raise DataError(f"{where}: {form.refusal}")
    try:
        return form.read(source)
    except MissingExtraError:
        raise
    except GhError as error:
        raise DataError(f"{where}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # of libraries, and of arrays that are not what a header promised
        said = " ".join(str(error).split())[:200] or "no reason given"
        raise DataError(
            f"{where}: cannot be read as {form.title} ({type(error).__name__}: {said}); the files are truncated, "
            "damaged or of another version"
        ) from error


def extra(module: str) -> Any:
    """Import a library of the extra ``formats``.

    Raises:
        MissingExtraError: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"this format needs the library {module}: pip install 'gh-tools[formats]'"
        ) from error
