"""gh-eval: predicted Hamiltonians against reference ones."""

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
)
from gh_tools.cli.paths import claim_files, input_paths


def main(
    stores: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PREDICTED REFERENCE",
            help="Stores of Hamiltonians to compare; '-', or nothing behind a pipe, reads their "
            "paths from standard input.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture of the errors to draw: .png, .pdf or .svg."),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare predicted Hamiltonians (first) with reference ones (second).

    Structures are matched by name. Matrix elements: all of H(R), in the basis of orbitals.
    Eigenvalues: at the reference's k-points, each side with its own S, of structures of up to 5000
    orbitals. Of an ensemble's predictions also how often intervals hold the reference. The result is a table on standard error; standard output has the mean H MAE in meV, or
    everything with --json. The picture shows errors against reference values and their cumulative
    distributions.
    """
    from gh_tools.console import table
    from gh_tools.errors import UsageError
    from gh_tools.evaluation.evaluate import evaluate
    from gh_tools.evaluation.plot import plot_errors
    from gh_tools.store.hamiltonians import HamiltonianReader

    paths = input_paths(stores)
    if len(paths) != 2:
        raise UsageError(
            f"expected two stores, the predictions and the reference, found {len(paths)}"
        )
    predicted, reference = map(HamiltonianReader, paths)
    claim_files([plot], overwrite=overwrite)
    evaluation = evaluate(predicted, reference)
    errors = evaluation.to_json()
    if plot is not None:
        plot_errors(plot, evaluation)
    mean = errors["mean"]
    rows = [[f"H, {name}", _text(value)] for name, value in mean["hamiltonian"].items()]
    if "eigenvalues" in mean:
        eigenvalues = mean["eigenvalues"]
        rows += [
            ["eigenvalues, E_F ± 5 eV", _text(eigenvalues["window"])],
            ["  after aligning by a constant shift", _text(eigenvalues["window_shifted"])],
            ["eigenvalues, all", _text(eigenvalues["all"])],
            ["  after aligning by a constant shift", _text(eigenvalues["all_shifted"])],
            ["Fermi level", _text(eigenvalues["fermi_level"])],
            ["band gap", _text(mean["band_gap"])],
            ["ghost states (number)", eigenvalues["ghosts"]],
        ]
    n, skipped = len(errors["structures"]), len(evaluation.skipped)
    title = f"Averages over {n} structures"
    if skipped:
        title += f", eigenvalues over {n - skipped}"
    table(rows, ["mean absolute error", "meV"], title=title)
    for name, title in (("by_species_pair", "species"), ("by_distance", "distance (Å)")):
        rows = [[key, _text(value)] for key, value in errors[name].items()]
        table(rows, [title, "H MAE (meV)"])
    if errors["coverage"]:
        rows = [
            [
                name.replace("_", " "),
                *(f"{100 * part:.0f} %" for part in found["intervals"].values()),
                "-" if found["width"] is None else f"{found['width']:.2f}",
            ]
            for name, found in errors["coverage"].items()
        ]
        probabilities = next(iter(errors["coverage"].values()))["intervals"]
        columns = [f"in {100 * float(p):.0f} %" for p in probabilities]
        table(rows, ["intervals hold", *columns, "rms uncertainty\nover error"])
    if as_json:
        print(json.dumps({"predicted": str(paths[0]), "reference": str(paths[1]), **errors}))
    else:
        print(_text(mean["hamiltonian"]["all"]))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


app = command(main, "gh-eval test.predicted.zarr test.hamiltonians.zarr --json")
