"""gh-train: labels and a scale-shift in, a trained model out."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli import options
from gh_tools.cli.command import command
from gh_tools.cli.configuration import as_settings, load_config, show_config
from gh_tools.cli.paths import claim_files, claim_stores, derived, input_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up


def main(
    inputs: Annotated[list[str] | None, options.input_argument("SCALESHIFT")] = None,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    hamiltonians: Annotated[
        list[Path] | None,
        typer.Option(
            "--hamiltonians",
            help="Label store, may be repeated; by default those that the scale-shift was fitted to.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="JSON object with the lists train, validation and test of structure names or indices; "
            "by default the split of the scale-shift.",
        ),
    ] = None,
    parent: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Model to fine-tune, a store or the name of one that comes with gh-tools: its weights, network and scale-shift "
            "are where the run starts.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Wall-clock time such as 10m that the whole run takes; sets budget.",
        ),
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            "--ensemble",
            metavar="N",
            min=1,
            help="Train N networks, whose mean is the prediction and whose deviation its uncertainty; "
            "sets ensemble.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture of the learning curve: .png, .pdf or .svg."),
    ] = None,
    output: options.OutputOption = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=options.LARGEST_SEED, help="Seed of all random numbers; sets seed."
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    dry_run: options.DryRunOption = False,
    print_config: options.PrintConfigOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Train a model of the Hamiltonian on labelled structures.

    Prints the errors of matrix elements (meV) as it goes, and of eigenvalues now and then; at the end,
    where errors are and whether the model is trained enough. Ctrl-C writes a checkpoint, from which
    --resume goes on as if nothing had happened. Uses all devices that JAX finds and the batch divides by.
    """
    started = time.monotonic()
    from gh_tools.training.config import TrainConfig

    inputs, earlier = take_up("gh-train", inputs, output, resume)
    recorded = dict(earlier.config) if earlier else {}
    if earlier is not None:
        hamiltonians = hamiltonians or earlier.paths("hamiltonians")
        parent = parent or next(iter(earlier.paths("model")), None)
        if "split" in recorded:
            split = split or earlier.output.parent / recorded.pop("split")["file"]
    ancestor, base = None, None
    if parent is not None:
        from gh_tools.trained_model.shipped import model_path
        from gh_tools.trained_model.store import load_model
        from gh_tools.training.parent import continue_from, defaults

        parent = model_path(parent)
        ancestor = load_model(parent)
        base = defaults(ancestor)
    # A number in a file is in seconds; one that a person has just typed may be meant in minutes or hours.
    settings = [
        re.sub(r"^(\s*budget\s*=\s*)([\d.]+)\s*$", r'\1"\2"', text) for text in settings or ()
    ]
    settings = as_settings(settings, {"seed": seed, "budget": budget, "ensemble": ensemble})
    loaded = load_config(TrainConfig, config, settings, recorded or base)
    if print_config:
        show_config(loaded)
        return
    paths = earlier.paths("scaleshift") if earlier else input_paths(inputs)
    if len(paths) != 1:
        from gh_tools.errors import UsageError

        raise UsageError(f"expected one scale-shift store, found {len(paths)}; name one")

    from gh_tools.console import configure, log, table
    from gh_tools.store.read import open_store
    from gh_tools.training.devices import join_processes
    from gh_tools.training.inputs import open_inputs
    from gh_tools.training.run import train_model

    is_first = join_processes() == 0
    if not is_first:
        configure(quiet=True)
    path = (earlier.output if earlier else output) or derived(paths[0], "model")
    open_store(paths[0], "scaleshift")
    opened = open_inputs(paths[0], hamiltonians or (), split)
    if ancestor is not None and parent is not None:
        opened = continue_from(opened, parent, ancestor, loaded)
    if is_first:
        read = [paths[0], *(hamiltonians or ()), parent]
        claim_stores([path], read, overwrite=overwrite, resume=resume)
        claim_files([plot], overwrite=overwrite or resume)

    log.info(
        "%d training, %d validation and %d test structures",
        *(part.size for part in (opened.split.train, opened.split.validation, opened.split.test)),
    )
    if dry_run:
        log.info("would train %s and write %s", loaded.model.model, path)
        return
    whole = loaded.model_dump(mode="json")
    if split is not None:
        file = os.path.relpath(split.absolute(), path.absolute().parent)
        content = hashlib.sha256(split.read_bytes()).hexdigest()
        whole["split"] = {"file": file, "sha256": content}
    provenance = describe_run(loaded.seed, whole, opened.stores)
    path, outcome = train_model(
        opened, loaded, path, provenance, resume=resume, overwrite=overwrite, started=started
    )
    if not is_first:
        return
    from gh_tools.training.learning_curve import plot_learning_curve
    from gh_tools.training.model_summary import metric_rows
    from gh_tools.training.report import history_of, summarize_training

    store = open_store(path, "model")
    report = summarize_training(store)
    trained, metrics = store.attributes, store.attributes["validation"]
    seconds = store.history[-1]["notes"]["seconds"]
    table(
        [
            *metric_rows(trained),
            ["parameters", str(trained["n_parameters"])],
            ["steps", str(trained["steps"])],
            ["time", f"{seconds:.0f} s"],
        ],
        ["validation", f"best epoch {trained['best']['hamiltonian']['epoch']:.0f}"],
    )
    for name, title in (("by_species_pair", "species"), ("by_distance", "distance (Å)")):
        rows = [[key, f"{value:.3f}"] for key, value in report["errors"][name].items()]
        table(rows, [title, "validation H MAE (meV)"])
    level = logging.WARNING if report["verdict"]["kind"] == "unknown" else logging.INFO
    log.log(level, "%s", report["verdict"]["sentence"])
    if plot is not None:
        plot_learning_curve(plot, history_of(store))
    emit(
        path,
        json,
        validation=metrics,
        best=trained["best"],
        n_parameters=trained["n_parameters"],
        steps=trained["steps"],
        seconds=seconds,
        clock=history_of(store)["seconds"].tolist() if outcome is None else outcome.clock,
        **{name: report[name] for name in ("verdict", "errors", "learning_curve")},
    )


app = command(main, "gh-train wse2.scaleshift.zarr --budget 10m -o wse2.model.zarr", several=True)
