"""gh-dos: eigenvalues, densities of states, Fermi levels and carriers of Hamiltonians."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gh_tools.cli.command import command
from gh_tools.cli.configuration import as_settings, load_config, show_config
from gh_tools.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    MemoryOption,
    OutputOption,
    OverwriteOption,
    PrintConfigOption,
    ProjectOption,
    QuietOption,
    ResumeOption,
    SchedulerOption,
    SetOption,
    ShardOption,
    VerboseOption,
    Zero,
    ZeroOption,
    input_argument,
)
from gh_tools.cli.paths import claim_files, claim_stores, input_paths, output_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up
from gh_tools.cli.sharing import find_executor, parse_shard
from gh_tools.console import log


def main(
    sources: Annotated[list[str] | None, input_argument("hamiltonians")] = None,
    kpts: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--kpts", help="Γ-centred Monkhorst-Pack grid, such as 6 6 1."),
    ] = None,
    kpoint_density: Annotated[
        float | None,
        typer.Option("--kpt-density", help="k-points per Å⁻¹ instead of a grid. Default: 5."),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option("--width", help="Standard deviation of the Gaussians in eV. Default: 0.05."),
    ] = None,
    points: Annotated[
        int | None, typer.Option("--points", help="Number of energies. Default: 20000.")
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--window",
            help="First and last energy, eV from E_F. Default: from below all valence states (at least -10) to 10.",
        ),
    ] = None,
    soc: Annotated[
        bool,
        typer.Option("--soc", help="Add spin-orbit coupling, from the PAW setups of the basis."),
    ] = False,
    fermi: Annotated[
        str | None,
        typer.Option(
            "--fermi",
            help="E_F from the electron 'count', or that of the 'label'. Default: count.",
        ),
    ] = None,
    smearing: Annotated[
        float | None,
        typer.Option("--smearing", help="Fermi-Dirac width for E_F in eV. Default: 0, sharp."),
    ] = None,
    carriers: Annotated[
        str | None,
        typer.Option(
            "--carriers",
            metavar="SYMBOLS",
            help="Elements whose states count as carriers, such as W,Se. Default: all.",
        ),
    ] = None,
    carrier_window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--carrier-window", help="Where they are counted, eV from E_F. Default: 0 0.2."
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            "--solver",
            help="'dense', 'slices', 'kpm', or 'auto': by size and memory. Default: auto.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="Sparse library: 'pardiso', 'mumps' or 'superlu'. Default: the first installed.",
        ),
    ] = None,
    project: ProjectOption = None,
    along: Annotated[
        str | None,
        typer.Option(
            "--along",
            metavar="DIRECTION",
            help="Density against position along x, y, z, or across layers: a, b, c.",
        ),
    ] = None,
    states: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--states",
            help="List the states between two energies (eV from E_F), and which atoms share each.",
        ),
    ] = None,
    projection: Annotated[
        str | None,
        typer.Option("--projection", help="'mulliken' or 'lowdin'. Default: mulliken."),
    ] = None,
    memory: MemoryOption = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture (.png, .pdf, .svg) or its numbers (.csv, .json)."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="STORE",
            help="Hamiltonians or spectra (such as the labels) that the picture shows dashed.",
        ),
    ] = None,
    zero: ZeroOption = Zero.auto,
    output: OutputOption = None,
    jobs: JobsOption = 1,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    print_config: PrintConfigOption = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Solve H(k) c = E S(k) c on a k grid; project, broaden and count.

    Writes eigenvalues, total and species-projected densities of states against E - E_F, the
    Fermi level, band gap and band edges, and the carriers: the states that the chosen elements
    hold in a window above (or below) E_F, broadened and sharp, per cell, area and volume.

    Small structures are solved densely. Large ones are cut into slices of energy, certified by inertia
    and residuals; all eigenvalues of --window are found, so narrow it to what is needed.

    --project divides densities among other groups than species, and --along resolves them by position, for a band
    diagram; both tell local band edges and offsets. --states tells how many atoms share a state, by the inverse
    participation ratio, and which, so that those of defects are found.

    With --shard, several runs share the work: they write no store and print nothing, and a last one with
    --resume joins what they did. With --scheduler, structures go to all workers of a cluster, and --memory
    is that of each of them.
    """
    from gh_tools.spectra.config import DosConfig
    from gh_tools.spectra.groups import parse_project

    flags = {
        "kpts": kpts,
        "kpoint_density": kpoint_density,
        "width": width,
        "points": points,
        "window": window,
        "soc": soc or None,
        "fermi": fermi,
        "smearing": smearing,
        "carriers": carriers and [symbol.strip() for symbol in carriers.split(",")],
        "carrier_window": carrier_window,
        "solver": solver,
        "engine": engine,
        "projection": projection,
        "along": along,
        "states": states,
        **(parse_project(project) if project else {}),
    }
    sources, earlier = take_up("gh-dos", sources, output, resume)
    usual = DosConfig().model_dump(mode="json")
    base = {k: v for k, v in (earlier.config if earlier else {}).items() if v != usual.get(k)}
    options = load_config(DosConfig, config, as_settings(settings, flags), base)
    if print_config:
        show_config(options)
        return

    from gh_tools.errors import UsageError
    from gh_tools.store.read import open_store

    share = parse_shard(shard)
    paths = earlier.paths() if earlier else input_paths(sources)
    targets = output_paths(earlier.output if earlier else output, paths, "spectra")
    if plot is not None:
        if len(paths) > 1:
            raise UsageError(f"--plot draws one store, but there are {len(paths)} inputs")
        if shard is not None:
            raise UsageError(
                "--plot draws a whole store: ask the last run for it, that with --resume"
            )
    elif reference is not None:
        raise UsageError("--reference is drawn into a picture: give its name with --plot")
    numbers = plot is not None and plot.suffix.lower() in (".csv", ".json")
    if reference is not None and (options.along or options.project != "species" or numbers):
        raise UsageError(
            "--reference is drawn with densities by species: leave out --project and --along and name a picture, or "
            "leave out --reference"
        )
    stores = [open_store(path, "hamiltonians") for path in paths]
    if reference is not None:
        open_store(reference, ("hamiltonians", "spectra"))  # not after all the work
    claim_files([plot], overwrite=overwrite or resume, data=(".json", ".csv"))
    claim_stores(
        targets,
        [*paths, reference],
        overwrite=overwrite,
        resume=resume,
        shared=shard is not None,
    )
    if dry_run:
        for path, target in zip(paths, targets, strict=True):
            log.info("would write the spectra of %s to %s", path, target)
        return

    from gh_tools.errors import DataError, TryAgainError
    from gh_tools.resources import cores, memory_limit
    from gh_tools.spectra.report import draw, records, tell_spectra
    from gh_tools.spectra.report_local import local_records, tell_local
    from gh_tools.spectra.run import make_spectra
    from gh_tools.spectra.spectra import read_spectra
    from gh_tools.workers.local import Local
    from gh_tools.workers.processes import Processes

    # Without a word on memory, each worker of a cluster takes what it has.
    limit = None if memory is None and scheduler is not None else memory_limit(memory)
    # They are always in the store, but shown to those who ask for them.
    asked = bool({"carriers", "carrier_window"} & options.model_fields_set)
    failed = []
    at_once = min(jobs, max(store.shape("structures/name")[0] for store in stores))

    def here():
        return Processes(at_once, max(1, cores() // at_once)) if at_once > 1 else Local()

    with find_executor(scheduler, jobs, here) as executor:
        for store, target in zip(stores, targets, strict=True):
            provenance = describe_run(config=options, inputs=[store])
            done, failures = make_spectra(
                store,
                target,
                options,
                provenance,
                executor=executor,
                memory=limit,
                shard=share,
                resume=resume,
                overwrite=overwrite,
            )
            failed += failures
            if done is not None:
                spectra = read_spectra(done)
                opened = open_store(done, "spectra")
                tell_spectra(spectra, asked)
                tell_local(opened, spectra)
                facts: dict[str, Any] = {}
                if plot is not None:
                    facts = draw(
                        plot, target, reference, options, executor, carriers=asked, zero=zero.value
                    )
                results = [
                    one | local_records(opened, spectra, row)
                    for row, one in enumerate(records(spectra) if as_json else ())
                ]
                emit(target, as_json, structures=results, **facts)
    if failed:
        # A worker that died may do better next time; a spectrum that is ill-defined will not.
        again = any(failure.get("died") for failure in failed)
        reasons = "; ".join(f"{failure['name']}: {failure['reason']}" for failure in failed[:3])
        raise (TryAgainError if again else DataError)(
            f"{len(failed)} of the structures have no spectrum and are not in the store: {reasons}"
            + ("; --resume tries them again" if again else "")
        )


app = command(main, "gh-dos wse2.predicted.zarr --kpts 6 6 1 --carriers W,Se --plot dos.png")
