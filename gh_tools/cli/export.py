"""gh-export: stores become files of other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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
            "columns, structures and spectra; zip for a model.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write; a file for sisl (.nc), csv, json, extxyz and zip.",
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
    about: Annotated[
        Path | None,
        typer.Option(
            "--about",
            metavar="FILE.toml",
            help="With zip: words of the model's card: title, structures (how they were made), licence and citation.",
            show_default=False,
        ),
    ] = None,
    errors: Annotated[
        list[Path] | None,
        typer.Option(
            "--errors",
            metavar="FILE.json",
            help="With zip: errors of the test set for the card, from gh-eval --json; may be repeated.",
            show_default=False,
        ),
    ] = None,
    larger: Annotated[
        list[Path] | None,
        typer.Option(
            "--larger",
            metavar="FILE.json",
            help="With zip: the same of larger structures; may be repeated.",
            show_default=False,
        ),
    ] = None,
    error_bars: Annotated[
        bool,
        typer.Option(
            "--error-bars/--no-error-bars",
            help="With zip: whether the file keeps what error bars of a single network are made of, half of it and more.",
        ),
    ] = True,
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

    A model becomes one small file with its card, NAME.zip, which others give to gh-infer --model: without what predictions do not
    need, and with numbers of single precision.
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
    if form == "zip":
        _export_model(source, output, about, errors, larger, error_bars, overwrite, dry_run)
        emit(output, as_json)
        return
    if about or errors or larger or not error_bars:
        raise UsageError(
            "--about, --errors, --larger and --no-error-bars are of a model, with --to zip alone"
        )
    points = [_parse_kpoint(text) for text in kpoint or []]
    formats = None if form in TABLES else table.get_format(form)
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


def _export_model(
    source: Path,
    output: Path,
    about: Path | None,
    errors: Sequence[Path] | None,
    larger: Sequence[Path] | None,
    error_bars: bool,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Write a model with its card as one file."""
    from gh_tools.cli.configuration import load_config
    from gh_tools.cli.results import describe_run
    from gh_tools.console import log
    from gh_tools.errors import UsageError
    from gh_tools.outputs.claim import claim
    from gh_tools.outputs.publish import check_output_file, sweep
    from gh_tools.store.read import open_store
    from gh_tools.trained_model.card import Words, make_card
    from gh_tools.trained_model.packing import pack_model

    if about is None or not errors:
        raise UsageError(
            "a model's card takes words with --about, and the errors of its test set with --errors"
        )
    if output.suffix != ".zip":
        raise UsageError(
            f"{output}: expected a name that ends in .zip, which the model is called by"
        )
    store = open_store(source, "model")
    words = load_config(Words, about, None)
    card = make_card(store, words, [*map(_read_errors, errors)], [*map(_read_errors, larger or ())])
    held = claim(output)
    check_output_file(output, overwrite)
    if held.certain:
        sweep(output)
    if dry_run:
        log.info("would write %s to %s as a packed model", source, output)
        return
    provenance = describe_run(inputs=[store])
    pack_model(store, output, card, provenance, error_bars=error_bars, overwrite=overwrite)
    log.info("%s: %.2f MB", output, output.stat().st_size / 1e6)


def _read_errors(file: Path) -> dict[str, Any]:
    from gh_tools.errors import DataError
    from gh_tools.files import read_text

    try:
        found = json.loads(read_text(file, "file of errors", most=64))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{file}: expected the object that gh-eval --json prints, found something else"
        )
    return {**found, "predicted": str(file)}


def _parse_kpoint(text: str) -> tuple[float, float, float]:
    from gh_tools.errors import UsageError

    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--kpoint {text}: expected three numbers, as in 0,0.5,0") from None
    return a, b, c


app = command(main, "gh-export wse2.predicted.zarr --to deeph -o wse2-deeph")
