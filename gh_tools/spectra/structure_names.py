"""Which structure of a store is meant by a name or an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gh_tools.errors import UsageError


def index_of(names: Sequence[str], which: str, where: Path | str) -> int:
    """Return the index of a structure given by name or by index.

    Args:
        names: of all structures.
        which: a name, or an index from 0.
        where: path of the store.

    Raises:
        UsageError: if the store has no such structure.
    """
    if which in names:
        return list(names).index(which)
    if which.isdecimal() and int(which) < len(names):
        return int(which)
    known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise UsageError(
        f"{where}: structures/name: there is no structure {which!r}; "
        f"give one of {known} or an index below {len(names)}"
    )
