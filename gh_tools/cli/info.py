"""gh-info: tells what stores hold, and whether they are sound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from gh_tools.console import columns, log, printable

if TYPE_CHECKING:
    from gh_tools.store.read import Store
    from gh_tools.store.rows import StructureRows


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
        typer.Option(
            "--plot",
            help="Picture of a model's learning curve, of spectra, or of predicted structures with atoms coloured by how far they "
            "are from the training set: .png, .pdf or .svg; of spectra also their numbers, .csv or .json.",
        ),
    ] = None,
    structure: Annotated[
        str | None,
        typer.Option(
            "--structure",
            metavar="NAME|INDEX",
            help="Which structure --plot shows of spectra; 0 is the first.",
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Show a row a structure, of all columns and scalars; with --json one object each.",
        ),
    ] = False,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="The same as comma-separated values, numbers in full."),
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="List the weights and other arrays of a model, too.")
    ] = False,
    models: Annotated[
        bool,
        typer.Option(
            "--models", help="List the models that come with gh-tools, with their cards, and stop."
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what stores hold: structures, columns, basis, arrays with units, and their history.

    Of a model that comes with gh-tools its name will do, and its card is shown: data, errors, domain, licence, citation. Of
    others first its material, whether it is trained enough, its errors and what it was trained on; its weights
    only with --weights.

    With --table the numbers of all structures, a row each, as aligned text; --csv for a spreadsheet, and --table --json
    for a script.

    With --check or --deep, a store that is not sound ends the command with exit code 65 and a
    sentence that names the array.
    """
    from gh_tools.errors import DataError, UsageError

    if models:
        if sources:
            raise UsageError(
                "--models lists the models that come with gh-tools: leave the stores out"
            )
        _list_models(as_json)
        return
    from gh_tools.store.read import open_store
    from gh_tools.store.rows import join_rows, read_rows
    from gh_tools.trained_model.shipped import model_path

    if as_csv and as_json:
        raise UsageError("--csv and --json are two forms of one table; give one of them")
    if structure is not None and plot is None:
        raise UsageError("--structure tells which structure --plot shows: give --plot, too")
    paths = [model_path(path) for path in input_paths(sources)]
    if plot is not None:
        drawn = _drawn(paths)
        claim_files(
            [plot], overwrite=overwrite, data=(".json", ".csv") if drawn == "spectra" else ()
        )
    tables: list[tuple[str, StructureRows]] = []
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
        if table or as_csv:
            tables.append((str(path), read_rows(store)))
        else:
            _show(store, checked, as_json, weights)
        if plot is not None and store.kind == "spectra":
            from gh_tools.spectra.report import draw_store

            draw_store(plot, store, structure)
        elif plot is not None and store.kind == "model":
            from gh_tools.training.learning_curve import plot_learning_curve
            from gh_tools.training.report import history_of

            plot_learning_curve(plot, history_of(store))
        elif plot is not None:
            from gh_tools.trained_model.domain_plot import plot_outside

            plot_outside(plot, store)
    if tables:
        # Of several stores one table, so that a spreadsheet or a script reads one.
        rows = tables[0][1] if len(tables) == 1 else join_rows(tables)
        if as_json:
            print("\n".join(json.dumps(record) for record in rows.records()))
        else:
            text = rows.to_csv() if as_csv else rows.to_text(columns())
            print("\n".join(map(printable, text.splitlines())))


def _list_models(as_json: bool) -> None:
    """Print the cards of the models that come with gh-tools."""
    from gh_tools.trained_model.card import render_card
    from gh_tools.trained_model.shipped import names, read_card

    width = columns()
    for card in map(read_card, names()):
        if as_json:
            print(json.dumps(card))
            continue
        print(f"{card['name']}: {', '.join(card['species'])}, {card['bytes'] / 1e6:.2f} MB")
        for line in render_card(printable(card), None if width is None else width - 2):
            print(f"  {line}")
    if not names():
        log.info("no models come with this installation")


def _drawn(paths: Sequence[Path]) -> str:
    """Return the kind of the one store that is to be drawn; raise an error where it cannot be."""
    from gh_tools.errors import UsageError
    from gh_tools.store.read import open_store

    stores = [open_store(path) for path in paths]
    if len(stores) != 1 or stores[0].kind not in ("model", "spectra", "hamiltonians"):
        raise UsageError(
            "--plot draws the learning curve of a model, spectra, or predicted structures: name one store of these"
        )
    if stores[0].kind == "hamiltonians" and "scalar/out_of_domain" not in stores[0]:
        raise UsageError(
            f"{stores[0].path}: has no out-of-domain scores to draw; predict it by gh-infer with a model of this version"
        )
    return stores[0].kind


def _show(store: Store, checked: str, as_json: bool, weights: bool) -> None:
    """Print what a store holds."""
    from gh_tools.store.summary import summarize_store
    from gh_tools.store.text import render

    if store.kind != "model":
        summary = {**summarize_store(store), "checked": checked}
        print(json.dumps(summary) if as_json else render(printable(summary), columns()))
        return
    from gh_tools.training.model_summary import render_model, summarize_model

    summary = {**summarize_model(store), "checked": checked}
    shown = printable(summary)
    print(json.dumps(summary) if as_json else render_model(shown, columns(), weights))


app = command(main, "gh-info --check wse2.hamiltonians.zarr")
