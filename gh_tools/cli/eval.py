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
    SeedOption,
    VerboseOption,
)
from gh_tools.cli.paths import claim_files, input_paths
from gh_tools.tables import counted


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
    noise: Annotated[
        bool,
        typer.Option(
            "--noise",
            help="Add noise of the predictions' size and correlation to the reference, and compare the errors of spectra that "
            "follow with those found.",
        ),
    ] = False,
    seed: SeedOption = 0,
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

    Ghost states, predicted eigenvalues without a counterpart, are traced to their cause: a block, or a nearly singular S. With
    --noise, the errors of spectra are compared with those of random errors of H of the same size: smaller ones cancel, larger
    ones add up.
    """
    from gh_tools.console import log, table
    from gh_tools.errors import UsageError
    from gh_tools.evaluation.evaluate import add_noise, evaluate
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
    if noise:
        add_noise(evaluation, predicted, reference, seed)
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
    title = f"Averages over {counted(n, 'structure')}"
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
    if errors["noise"]:
        found, follows = errors["noise"]["found"], errors["noise"]["follows"]
        rows = [
            [title, _text(found[name]), _text(follows[name])]
            for name, title in _NOISE.items()
            if name in found
        ]
        table(rows, [f"noise of the {errors['noise']['of']}", "found", "follows"])
    for name, ghosts in list(evaluation.ghosts.items())[:_MOST]:
        ghost = ghosts[0]
        more = f" (the first of {len(ghosts)} that were traced)" if len(ghosts) > 1 else ""
        log.warning("%s: ghost at %.2f eV%s: %s", name, ghost.energy, more, ghost.text)
    if as_json:
        print(json.dumps({"predicted": str(paths[0]), "reference": str(paths[1]), **errors}))
    else:
        print(_text(mean["hamiltonian"]["all"]))


# Structures whose ghosts are told one by one.
_MOST = 5
_NOISE = {
    "window": "eigenvalues, E_F ± 5 eV (meV)",
    "window_shifted": "  after aligning by a constant shift",
    "fermi_level": "Fermi level (meV)",
    "band_gap": "band gap on the k-points (meV)",
    "carriers": "carriers within 0.2 eV (number)",
}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


app = command(main, "gh-eval test.predicted.zarr test.hamiltonians.zarr --json")
