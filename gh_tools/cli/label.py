"""gh-label: computes Hamiltonians of structures with GPAW."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.configuration import load_config, show_config
from gh_tools.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    PrintConfigOption,
    QuietOption,
    ResumeOption,
    SchedulerOption,
    SetOption,
    ShardOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_stores, input_paths, output_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up
from gh_tools.cli.sharing import find_executor, mpi_process, parse_shard
from gh_tools.tables import counted


def main(
    structures: Annotated[list[str] | None, input_argument("STRUCTURES")] = None,
    output: OutputOption = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Settings for a kind of material, below --config and --set: "
            "agau, hfo2, hfo2-wse2, litfsi, sio2, tmd or wse2.",
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    print_config: PrintConfigOption = False,
    logs: Annotated[
        bool,
        typer.Option(
            "--logs",
            help="Keep GPAW's text output of all structures, in OUTPUT.logs; that of failed ones is always kept.",
        ),
    ] = False,
    jobs: JobsOption = 1,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    convergence: Annotated[
        bool,
        typer.Option(
            "--convergence",
            help="Label the cheapest structure again with more k-points, a finer grid and so on, say by how much H and "
            "eigenvalues change, and stop.",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Compute H(R) and S(R) of structures with GPAW in LCAO mode.

    A structure that fails does not stop the others: the store is written without it, the reason
    goes to standard error, and the exit code is 75. --resume tries it again.

    With --shard, several runs share the work: they write no store and print nothing, and a last one with
    --resume joins what they did. Under mpiexec, all processes work on one structure at a time, if GPAW
    was built with MPI.
    """
    ranks = _ranks(shard)
    if ranks is not None and ranks.rank > 0:
        ranks.follow()
        return
    try:
        from gh_tools.dft.config import LabelConfig

        structures, earlier = take_up("gh-label", structures, output, resume)
        base = {**(earlier.config if earlier else {}), **_preset(preset)}
        options = load_config(LabelConfig, config, settings, base=base)
        if print_config:
            show_config(options)
            return

        from gh_tools.errors import TryAgainError, UsageError
        from gh_tools.store.read import open_store
        from gh_tools.store.structures import KINDS, read_structures
        from gh_tools.workers.processes import Processes

        share = parse_shard(shard)
        sources = earlier.paths() if earlier else input_paths(structures)
        paths = output_paths(earlier.output if earlier else output, sources, "hamiltonians")
        stores = [open_store(source, KINDS) for source in sources]
        if convergence:
            if ranks is not None or dry_run:
                raise UsageError(
                    "--convergence runs GPAW in one process: leave out --dry-run, and start without mpiexec"
                )
            for store in stores:
                _converge(read_structures(store), options, as_json)
            return
        claim_stores(paths, sources, overwrite=overwrite, resume=resume, shared=shard is not None)
        if dry_run:
            from gh_tools.labels.periodicity import warn_if_mixed

            found = [read_structures(store) for store in stores]
            for one, path in zip(found, paths, strict=True):
                _describe(one, options, path, jobs, timed=ranks is None)
            # Stores that are labelled together are those of one model.
            warn_if_mixed(
                [atoms for one in found for atoms in one.atoms],
                [
                    name if len(found) == 1 else f"{name} in {source}"
                    for one, source in zip(found, sources, strict=True)
                    for name in one.names
                ],
            )
            return
        if ranks is not None and (jobs > 1 or scheduler is not None):
            raise UsageError(
                "under mpiexec all processes work on one structure: leave out --jobs and --scheduler"
            )

        from gh_tools.dft.label import label_structures

        failed = []
        with find_executor(scheduler, jobs, lambda: ranks or Processes(jobs)) as executor:
            for store, path in zip(stores, paths, strict=True):
                done, failures = label_structures(
                    path,
                    read_structures(store),
                    options,
                    describe_run(config=options, inputs=[store]),
                    starts=store,
                    executor=executor,
                    shard=share,
                    keep_logs=logs,
                    resume=resume,
                    overwrite=overwrite,
                )
                if done is not None:
                    emit(path, as_json, failed=failures)
                failed += [f"{failure['name']} ({failure['reason']})" for failure in failures]
        if failed:
            raise TryAgainError(
                f"{counted(len(failed), 'structure')} failed: {'; '.join(failed)}; --resume tries them again"
            )
    finally:
        if ranks is not None:
            ranks.release()


def _ranks(shard: str | None):
    """Return the executor of the processes that MPI started, if there are some."""
    from gh_tools.errors import UsageError

    rank, size = mpi_process()
    if size == 1:
        return None
    from gh_tools.dft.mpi import MPI

    ranks = MPI()
    if ranks.size == size:
        return ranks
    if shard is not None:
        return None  # each process is a run of its own
    if rank > 0:
        raise typer.Exit(UsageError.exit_code)  # the first process tells
    raise UsageError(
        f"MPI started {size} processes, but GPAW was built without this MPI, so that each would do all of "
        "the work; install GPAW with MPI (see docs/how-to/clusters.md), or start without mpiexec"
    )


def _preset(name: str | None) -> dict:
    from gh_tools.errors import NoInputError, UsageError
    from gh_tools.resources import share_path

    if name is None:
        return {}
    try:
        return tomllib.loads(share_path(f"presets/{name}.toml").read_text())
    except NoInputError:
        known = sorted(file.stem for file in share_path("presets").glob("*.toml"))
        raise UsageError(f"no preset is called {name!r}; there are {', '.join(known)}") from None


def _describe(structures, options, path: Path, jobs: int, timed: bool) -> None:
    """Say what labelling structures will do, without doing it."""
    from gh_tools import console
    from gh_tools.dft.basis_sets import basis_table
    from gh_tools.dft.charged import charged
    from gh_tools.dft.forecast import describe_conditioning, measure, sampling, warn_of_gamma
    from gh_tools.dft.scf import basis_rows
    from gh_tools.errors import DataError
    from gh_tools.labels.periodicity import describe_kinds

    log = console.log
    basis = basis_table(options, structures.numbers)
    charges = charged(structures, options.charge, basis).charges
    console.table(
        basis_rows(basis),
        ["element", "basis", "setup", "orbitals", "shells (cutoff in Å)"],
        title=f"Basis of {path}",
    )
    counts = sampling(structures.atoms, options)
    if charges.any():
        counts += f", {(charges != 0).sum()} of them charged"
    log.info("%s; functional %s, h = %g Å", describe_kinds(structures.atoms), options.xc, options.h)
    warn_of_gamma(structures.atoms, options)
    describe_conditioning(structures.atoms, options, basis)
    if timed:
        try:
            cost = measure(structures.atoms, options, basis, charges.tolist())
            log.info("time: %s", cost.describe(structures.names, jobs))
        except DataError as error:
            log.warning("time: not measured: %s", error)
    number = counted(len(structures), "structure")
    log.info("would label %s (%s) and write %s", number, counts, path)


def _converge(structures, options, as_json: bool) -> None:
    """Say how far the labels of the cheapest structure move when the calculation is made finer."""
    from dataclasses import asdict

    from gh_tools import console
    from gh_tools.api.convergence import convergence
    from gh_tools.dft.basis_sets import basis_table
    from gh_tools.dft.charged import charged
    from gh_tools.dft.forecast import cheapest
    from gh_tools.units import MEV

    charges = charged(structures, options.charge, basis_table(options, structures.numbers)).charges
    index = cheapest(structures.atoms, options)
    name, atoms = structures.names[index], structures.atoms[index]
    settings = options.model_dump(exclude_unset=True) | {"charge": float(charges[index])}
    records = []
    for change in convergence(atoms, **settings):
        setting, *values = asdict(change).items()
        mev = {key: None if math.isnan(value) else MEV * value for key, value in values}
        records.append(dict([setting]) | mev)
    if as_json:
        print(json.dumps({"name": name, "changes": records}))
        return
    cells = [
        [
            "-" if value is None else value if isinstance(value, str) else f"{value:.2f}"
            for value in record.values()
        ]
        for record in records
    ]
    console.table(cells, _CHANGES, title=f"By how much (meV) finer settings change {name}")
    console.log.info(
        "a model learns such changes as noise, because they differ from structure to structure; where they are larger than the "
        "errors that you want, make the setting finer"
    )


# Columns of the table: mean absolute changes of elements and eigenvalues, and changes of single numbers.
_CHANGES = ["setting", "H", "on-site", "eigenvalues,\nE_F ± 5 eV", "aligned", "E_F", "gap"]

app = command(
    main,
    "gh-label train.structures.zarr --preset wse2 -j 4 -o train.hamiltonians.zarr",
    several=True,
)
