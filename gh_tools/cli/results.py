"""What a command leaves of its run: the history of what it writes, and the lines on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gh_tools import console

if TYPE_CHECKING:
    import pydantic

    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import Store


def describe_run(
    seed: int | None = None,
    config: pydantic.BaseModel | Mapping[str, Any] | None = None,
    inputs: Sequence[Store] = (),
    notes: Mapping[str, Any] | None = None,
) -> Provenance:
    """Describe this run for the history of what it writes; see `Provenance`."""
    from gh_tools.store.provenance import Provenance

    if config is not None and not isinstance(config, Mapping):
        config = config.model_dump(mode="json")
    return Provenance(Path(sys.argv[0]).name, sys.argv[1:], seed, config or {}, inputs, notes or {})


def emit(path: Path, as_json: bool, **facts: Any) -> None:
    """Print a finished store on standard output: its path, or an object with path and facts."""
    if as_json or sys.stdout.isatty():
        print(
            json.dumps({"path": str(path), **facts}) if as_json else console.printable(str(path)),
            flush=True,
        )
        return
    # To the next command, for which a path is bytes: what the encoding lacks is no matter.
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()
