"""gh-info: tells what stores hold, and whether they are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli import common
from gh_tools.cli.options import (
    DebugOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.console import log, printable


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
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture of a model's learning curve: .png, .pdf or .svg."),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what stores hold: structures, columns, basis, arrays with units, and their history.

    Of a model also whether it is trained enough, and where its errors are.

    With --check or --deep, a store that is not sound ends the command with exit code 65 and a
    sentence that names the array.
    """
    from gh_tools.errors import DataError, UsageError
    from gh_tools.store.checks import check as check_schema
    from gh_tools.store.checks import check_store
    from gh_tools.store.read import open_store
    from gh_tools.store.summary import render, summarize

    paths = common.inputs(sources)
    if plot is not None:
        common.claim_files([plot], overwrite=overwrite)
        if len(paths) != 1 or open_store(paths[0]).kind != "model":
            raise UsageError("--plot draws the learning curve of a model: name one model store")
    for path in paths:
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
        if store.kind == "model":
            from gh_tools.training import report

            summary["training"] = report.summarize(store)
        print(json.dumps(summary) if as_json else render(printable(summary)))
        if "training" in summary and not as_json:
            print("\n".join(report.lines(printable(summary["training"]))))
        if plot is not None:
            from gh_tools.training.learning_curve import plot_learning_curve

            plot_learning_curve(plot, report.history_of(store))


app = common.command(main, "gh-info --check wse2.hamiltonians.zarr")
