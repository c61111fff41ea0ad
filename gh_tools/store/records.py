"""Files of an unfinished store that are written whole or not at all, and JSON objects with checksums."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gh_tools.errors import CannotCreateError
from gh_tools.outputs.publish import rename_new
from gh_tools.store.read import read_json


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = temporary_name(file)
    with temporary.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(file)


def write_once(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object into a file unless it is there, also where several do at once; return what it holds.

    Raises:
        CannotCreateError: what is there is not what was written.
    """
    if not file.exists():
        temporary = temporary_name(file)
        temporary.write_bytes(sealed(content))
        with contextlib.suppress(FileExistsError):
            rename_new(temporary, file)
        temporary.unlink(missing_ok=True)
    found = read_json(file)
    held = unsealed(found)
    if held is None:
        # Earlier versions wrote no checksum.
        reason = (
            "is of an earlier version of gh-tools" if _is_plain(found, content) else "is damaged"
        )
        raise CannotCreateError(
            f"{file}: {reason}, so that what is unfinished cannot be gone on with; start anew with --overwrite"
        )
    return held


def _is_plain(found: Any, content: Mapping[str, Any]) -> bool:
    return isinstance(found, dict) and "crc32" not in found and bool(found.keys() & content.keys())


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object with a checksum of it."""
    return json.dumps({**content, "crc32": _checksum(content)}).encode()


def unsealed(found: Any) -> dict[str, Any] | None:
    """Return what a sealed object held; None if it is none, or damaged."""
    if not isinstance(found, dict):
        return None
    content = {key: value for key, value in found.items() if key != "crc32"}
    return content if found.get("crc32") == _checksum(content) else None


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def temporary_name(file: Path) -> Path:
    """Return a name beside a file that no other process uses: process numbers of several machines coincide."""
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}")
