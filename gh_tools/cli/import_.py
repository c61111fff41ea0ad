"""gh-import: Hamiltonians of other programs become labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
)
from gh_tools.cli.paths import claim_stores
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import recorded, take_up
from gh_tools.tables import counted


def main(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FORMAT] PATHS",
            help="Files or folders, searched with all that they hold, or quoted patterns. FORMAT, before "
            "them, is a name of --format.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="auto, abacus, deeph, deeph-legacy, deeptb, fhi-aims, gears-h, npz, openmx, siesta or wannier90; "
            "auto tells them by content.",
        ),
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Store to write.", show_default=False),
    ] = None,
    valence: Annotated[
        str | None,
        typer.Option(
            "--valence",
            metavar="EL=N,...",
            help="Valence electrons of neutral atoms, as in Mo=14,Te=16, where the files do not say.",
        ),
    ] = None,
    spin_independent: Annotated[
        bool,
        typer.Option(
            "--spin-independent",
            help="Of non-collinear runs, and with spin-orbit coupling, import (H↑↑ + H↓↓)/2 and leave out all else.",
        ),
    ] = False,
    jobs: JobsOption = 1,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where an interrupted or partly failed run stopped; files that have changed are read again. "
            "With -o alone, with its files and options.",
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Import H(R) and S(R) that another program computed.

    Orbitals are put into one order with one choice of signs, lattice vectors are counted from positions in the
    cell, and both directions of each pair become one. The largest difference between them is told, and the
    largest element that one of them lacks; where the files hold eigenvalues, those of what was read are compared
    with them. No pickle is executed.

    A structure that cannot be read does not stop the others: the store is written without it, the reason goes to
    standard error, and the exit code is 75.
    """
    from gh_tools.console import log
    from gh_tools.errors import TryAgainError, UsageError
    from gh_tools.formats import table
    from gh_tools.formats.search import find_sources, identity

    paths, earlier = take_up("gh-import", paths, output, resume, piped=False)
    if earlier is not None:
        paths, output = list(earlier.files), earlier.output
        form = str(earlier.config.get("format", form))
        spin_independent = bool(earlier.config.get("spin_independent", spin_independent))
    given = list(paths or [])
    if len(given) > 1 and form == table.AUTO and given[0] in (*table.NAMES, table.AUTO):
        form, given = given[0], given[1:]
    if not given:
        raise UsageError("no input: name the files or folders to import")
    formats = table.chosen(form)
    if output is None:
        raise UsageError("no output: name the store to write with --output NAME.hamiltonians.zarr")
    electrons = _parse_valence(valence)
    if earlier is not None:
        known = earlier.config.get("valence") or {}
        electrons = {int(z): float(count) for z, count in known.items()}
    claim_stores([output], [], overwrite=overwrite, resume=resume)
    sources, names = find_sources(given, formats)
    if dry_run:
        for name, (found, _) in zip(names, sources, strict=True):
            log.info("%s: %s", name, found.title)
        log.info("would import %s and write %s", counted(len(names), "structure"), output)
        return

    from gh_tools.formats.importing import import_structures
    from gh_tools.workers.local import Local
    from gh_tools.workers.processes import Processes

    config = {
        "format": form,
        "structures": len(sources),
        "sources": identity(sources, names),
        "valence": electrons,
        "spin_independent": spin_independent,
    }
    done = import_structures(
        output,
        sources,
        names,
        describe_run(config=config, notes={"files": recorded(output, given)}),
        valence=electrons,
        spin_independent=spin_independent,
        # A process of its own guards the others against what one structure does to it.
        executor=Local() if len(sources) == 1 else Processes(jobs),
        resume=resume,
        overwrite=overwrite,
    )
    _tell(done.facts)
    if done.unknown:
        log.warning(
            "%s: the files do not tell the number of valence electrons of %s, without which there is no Fermi level "
            "and no training; give it with --overwrite --valence %s",
            *(output, " and ".join(done.unknown), ",".join(f"{name}=N" for name in done.unknown)),
        )
    emit(output, as_json, failed=done.failures, **done.facts)
    if done.failures:
        told = "; ".join(f"{failure['name']} ({failure['reason']})" for failure in done.failures)
        raise TryAgainError(
            f"{counted(len(done.failures), 'structure')} could not be read: {told}; --resume tries them again"
        )


def _parse_valence(given: str | None) -> dict[int, float]:
    from ase.data import atomic_numbers

    from gh_tools.errors import UsageError

    found: dict[int, float] = {}
    for part in filter(None, (given or "").split(",")):
        symbol, _, count = part.partition("=")
        z = atomic_numbers.get(symbol.strip(), 0)
        try:
            found[z] = float(count)
        except ValueError:
            z = 0
        if not 0 < z or not 0 < found[z] <= z:
            raise UsageError(
                f"--valence {given}: expected elements and their electrons, as in Mo=14,Te=16"
            )
    return found


def _tell(facts: dict) -> None:
    from gh_tools.console import log

    log.info(
        "both directions of a pair differ by up to %.2g eV in H and %.2g in S; the largest elements that one of "
        "them lacks, or that were left out, are %.2g eV and %.2g",
        *(facts[key] for key in ("asymmetry", "asymmetry_overlap", "dropped", "dropped_overlap")),
    )
    if facts.get("eigenvalues") is not None:
        log.info("eigenvalues are those in the files within %.2g eV", facts["eigenvalues"])


app = command(main, "gh-import run-*/ -j 4 -o silicon.hamiltonians.zarr")
