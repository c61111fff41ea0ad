"""gh-export: stores become files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import input_paths
from gh_tools.cli.results import emit


def main(
    sources: Annotated[list[str] | None, input_argument("store")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--to",
            "-t",
            metavar="FORMAT",
            help="abacus, deeph, deeph-legacy, deeptb, npz, sisl or wannier90 for H and S; csv, json or extxyz for "
            "columns, structures and spectra.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write; a file for sisl (.nc), csv, json and extxyz.",
            show_default=False,
        ),
    ] = None,
    kpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--kpoint",
            metavar="K1,K2,K3",
            help="With npz: H(k) and S(k) at this k-point, in reciprocal vectors, instead of H(R); may be repeated.",
        ),
    ] = None,
    soc: Annotated[
        bool,
        typer.Option(
            "--soc",
            help="Add spin-orbit coupling, from the PAW setups of the basis; with deeph and wannier90.",
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Export H(R) and S(R), columns, structures or spectra to files of other programs.

    Predictions and labels alike. Orbitals get the order and signs of the other program. wannier90 has no overlap, so
    that H is Löwdin-orthogonalised: its spectrum is that of H and S, its functions are others.

    Several structures go into a folder, each under its name.
    """
    from gh_tools.console import log
    from gh_tools.errors import UsageError
    from gh_tools.formats import table
    from gh_tools.formats.exporting import TABLES, check_export, export_matrices, export_table
    from gh_tools.outputs.claim import claim
    from gh_tools.outputs.publish import sweep
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS

    paths = input_paths(sources)
    if len(paths) > 1:
        raise UsageError(f"expected one store, found {len(paths)}")
    source = paths[0]
    if form is None or output is None:
        raise UsageError("name a format with --to and what to write with --output")
    points = [_parse_kpoint(text) for text in kpoint or []]
    formats = None if form in TABLES else table.get(form)
    store = open_store(source, KINDS if formats is None else "hamiltonians")
    held = claim(output)
    check_export(output, overwrite)
    if held.certain:
        sweep(output)
    if dry_run:
        log.info("would write %s to %s as %s", source, output, form)
        return
    if formats is None:
        if soc:
            raise UsageError(f"--soc: {form} holds no H")
        export_table(store, form, output, overwrite=overwrite)
        emit(output, as_json)
        return
    names = export_matrices(store, formats, output, kpoints=points, soc=soc, overwrite=overwrite)
    if form == "wannier90":
        log.info("%s: H is Löwdin-orthogonalised: the spectrum of H and S, other functions", output)
    emit(output, as_json, structures=names)


def _parse_kpoint(text: str) -> tuple[float, float, float]:
    from gh_tools.errors import UsageError

    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--kpoint {text}: expected three numbers, as in 0,0.5,0") from None
    return a, b, c


app = command(main, "gh-export wse2.predicted.zarr --to deeph -o wse2-deeph")
