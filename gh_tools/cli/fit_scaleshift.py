"""gh-fit-scaleshift: labels in, split and scale-shift layers out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gh_tools import aliases
from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_stores, derived, input_paths
from gh_tools.cli.results import describe_run, emit


def main(
    hamiltonians: Annotated[list[str] | None, input_argument("HAMILTONIANS")] = None,
    output: OutputOption = None,
    fractions: Annotated[
        str,
        typer.Option(
            "--fractions",
            metavar="TRAIN,VALIDATION,TEST",
            help="Shares of the training, validation and test set.",
        ),
    ] = "0.8,0.1,0.1",
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="JSON object with the lists train, validation and test of structure names or "
            "indices, instead of drawing them.",
        ),
    ] = None,
    onsite_energies: Annotated[
        bool,
        typer.Option(
            "--onsite-fit/--no-onsite-fit",
            help="Fit first a model of the atoms' on-site energies, of neighbours up to 12 Å and of theirs up to "
            "6.5 Å. Without it models depend on atoms within their cutoff alone.",
        ),
    ] = True,
    before: Annotated[bool | None, typer.Option(aliases.ONSITE_ENERGIES, hidden=True)] = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Split labelled structures, and fit the scale-shift layers to the training set.

    On-site scalars are shifted by their mean over each species, and scaled by their standard deviation. Pairs get functions of the distance for
    each species pair: stretched exponentials for gears-h, and two-centre integrals in the frame of the
    bond for bond-frame. Several stores are fitted together.
    """
    from gh_tools.console import log, table
    from gh_tools.labels.labels import open_labels
    from gh_tools.scaleshift.fit import choose_split, fit_store
    from gh_tools.store.read import open_store

    sources = input_paths(hamiltonians)
    path = output or derived(sources[0], "scaleshift")
    labels = open_labels([open_store(source, "hamiltonians") for source in sources])
    claim_stores([path], sources, overwrite=overwrite)
    chosen = choose_split(labels, split, fractions, seed)
    sizes = {part: getattr(chosen, part).size for part in ("train", "validation", "test")}
    described = ", ".join(f"{size} {part}" for part, size in sizes.items())
    if dry_run:
        log.info("would fit to %s structures and write %s", described, path)
        return
    config: dict[str, Any] = {"split": str(split)} if split else {"fractions": fractions}
    onsite_energies = onsite_energies if before is None else before
    config["onsite_energies"] = onsite_energies
    provenance = describe_run(None if split else seed, config, labels.stores)
    path, explained = fit_store(labels, chosen, path, provenance, overwrite, onsite_energies)
    log.info("%s: %s structures", path, described)
    table(
        [
            [part, *(f"{mae[name]:.1f}" for name in ("onsite", "pairs", "pairs_bond_frame"))]
            for part, mae in explained.items()
        ],
        ["part", "on-site", "pairs", "pairs, bond frame"],
        title="H MAE of the shift alone (meV)",
    )
    emit(path, as_json, **sizes, mae_of_shift_mev=explained)


app = command(main, "gh-fit-scaleshift wse2.hamiltonians.zarr --seed 1")
