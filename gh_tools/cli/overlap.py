"""gh-overlap: overlap matrices of structures, without DFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_stores, input_paths, output_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up

_WITH_BASIS = ("hamiltonians", "model", "overlap", "scaleshift")


def main(
    structures: Annotated[list[str] | None, input_argument("STRUCTURES")] = None,
    basis: Annotated[
        Path | None,
        typer.Option(
            "--basis",
            "-b",
            metavar="STORE",
            help="Labels, model or other store whose basis table counts. Default: the input's own.",
        ),
    ] = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Compute S(R) of structures from two-centre integrals of a basis table.

    It is that of a DFT run with this basis, PAW correction included, and takes no density, no grid and
    no self-consistency. Of labels of programs without PAW, S is taken from their blocks, or from radial functions
    that lay beside them. Where the basis is nearly dependent, a warning names it.
    """
    from gh_tools.console import log
    from gh_tools.errors import UsageError
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS, read_structures
    from gh_tools.trained_model.shipped import model_path

    structures, earlier = take_up("gh-overlap", structures, output, resume)
    sources = earlier.paths()[:1] if earlier else input_paths(structures)
    if earlier is not None:
        basis = basis or next(iter(earlier.paths()[1:]), None)
    paths = output_paths(earlier.output if earlier else output, sources, "overlap")
    stores = [open_store(source, KINDS) for source in sources]
    given = None if basis is None else open_store(model_path(basis), _WITH_BASIS)
    claim_stores(paths, [*sources, basis], overwrite=overwrite, resume=resume)
    for store in stores:
        if given is None and store.kind not in _WITH_BASIS:
            raise UsageError(
                f"{store.path}: has no basis table; name a store that has one with --basis"
            )
    if dry_run:
        for store, path in zip(stores, paths, strict=True):
            log.info("would write S of the structures of %s to %s", store.path, path)
        return

    from gh_tools.overlap.stores import known_overlap, write_overlaps

    for store, path in zip(stores, paths, strict=True):
        table = store if given is None else given
        write_overlaps(
            path,
            read_structures(store),
            known_overlap(table),
            describe_run(inputs=[store] if table is store else [store, table]),
            resume=resume,
            overwrite=overwrite,
        )
        emit(path, as_json)


app = command(
    main, "gh-overlap device.structures.zarr --basis wse2.model.zarr -o device.overlap.zarr"
)
