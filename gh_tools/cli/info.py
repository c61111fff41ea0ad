"""gh-info: tells what stores hold, and whether they are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_files, input_paths
from gh_tools.console import log, printable


def main(
    sources: Annotated[list[str] | None, input_argument("stores")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check all that a command checks of what it opens (schema, values of all but matrices), and "
            "the hash of all content, however large.",
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Check the matrices too: finite numbers, symmetry, near neighbours, and that S(k) is "
            "positive definite; of a model that its weights fit its network.",
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
    from gh_tools.store.read import open_store
    from gh_tools.store.summary import render, summarize

    paths = input_paths(sources)
    if plot is not None:
        if len(paths) != 1 or open_store(paths[0]).kind != "model":
            raise UsageError("--plot draws the learning curve of a model: name one model store")
        claim_files([plot], overwrite=overwrite)
    for path in paths:
        store = open_store(path)
        checked = ""
        if check or deep:
            from gh_tools.store import audit

            faults, checked = audit.check_store(store, deep)
            if faults:
                more = f" (and {len(faults) - 1} more, see --verbose)" if len(faults) > 1 else ""
                for fault in faults if verbose else ():
                    log.info("%s: %s", path, fault)
                raise DataError(f"{path}: {faults[0]}{more}; make the store anew")
            if deep and store.kind == "model":
                from gh_tools.trained_model.store import load_model

                load_model(path)
                checked += ", weights of its network"
        summary = {**summarize(store), "checked": checked}
        if store.kind == "model":
            from gh_tools.training import report

            summary["training"] = report.summarize(store)
            from gh_tools.trained_model.outside import read_domain

            domain = read_domain(store)
            summary["domain"] = None if domain is None else domain.describe()
        print(json.dumps(summary) if as_json else render(printable(summary)))
        if "training" in summary and not as_json:
            print("\n".join(report.lines(printable(summary["training"]))))
            print("trained on:")
            print("\n".join(f"  {line}" for line in summary["domain"] or ["not told"]))
        if plot is not None:
            from gh_tools.training.learning_curve import plot_learning_curve

            plot_learning_curve(plot, report.history_of(store))


app = command(main, "gh-info --check wse2.hamiltonians.zarr")
