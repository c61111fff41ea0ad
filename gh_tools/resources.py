"""Finds the files that ship beside the code: presets, configurations, recipes, schema, make rules."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from gh_tools.errors import NoInputError


def share_path(name: str) -> Path:
    """Return the path of a file or folder of ``share/gh_tools``, such as ``presets/wse2.toml``.

    A checkout's own files come before those of the installation.

    Raises:
        NoInputError: it is not there.
    """
    roots = (Path(__file__).parent.parent, Path(sysconfig.get_path("data")), Path(sys.prefix))
    for root in roots:
        path = root / "share" / "gh_tools" / name
        if path.exists():
            return path
    raise NoInputError(
        f"share/gh_tools/{name}: not found in {' or '.join(map(str, roots))}; install gh-tools again"
    )
