"""gh-info: tells what stores hold, and whether they are sound."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gh_tools.cli import common
from gh_tools.cli.options import (
    DebugOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.console import log


def main(
    sources: input_argument("stores") = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check names, shapes, types and offsets against the schema."),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Check the content too: its id, finite numbers, symmetry, near neighbours, and "
            "that S(k) is positive definite.",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what stores hold: structures, columns, basis, arrays with units, and their history.

    With --check or --deep, a store that is not sound ends the command with exit code 65 and a
    sentence that names the array.
    """
    from gh_tools.errors import DataError
    from gh_tools.orbitals.checks import check_store
    from gh_tools.store.io import open_store
    from gh_tools.store.schema import check as check_schema
    from gh_tools.store.summary import render, summarize

    for path in common.inputs(sources):
        store = open_store(path)
        if check or deep:
            faults = check_schema(store) or (check_store(store) if deep else [])
            if faults:
                more = f" (and {len(faults) - 1} more, see --verbose)" if len(faults) > 1 else ""
                for fault in faults if verbose else ():
                    log.info("%s: %s", path, fault)
                raise DataError(f"{path}: {faults[0]}{more}; make the store anew")
        checked = "content and schema" if deep else "schema" if check else ""
        summary = {**summarize(store), "checked": checked}
        print(json.dumps(summary) if as_json else render(summary))


app = common.command(main, "gh-info --check wse2.hamiltonians.zarr")
