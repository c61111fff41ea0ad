"""gh-infer: structures and a model in, predicted Hamiltonians out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    MemoryOption,
    OutputOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SchedulerOption,
    ShardOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_stores, input_paths, output_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up
from gh_tools.cli.sharing import find_executor, parse_shard
from gh_tools.tables import counted

if TYPE_CHECKING:
    from gh_tools.store.read import Store
    from gh_tools.store.structures import Structures
    from gh_tools.trained_model.departures import Departure

    Found = dict[str, list[Departure]]


class Part(StrEnum):
    """Parts of a split."""

    train = "train"
    validation = "validation"
    test = "test"


def main(
    structures: Annotated[list[str] | None, input_argument("STRUCTURES")] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Trained model: a store, or the name of one that comes with gh-tools (required).",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        Part | None,
        typer.Option(
            "--part", help="Predict only the structures of this part of the model's split."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Predict nothing and end with code 65 if a structure is unlike the training set.",
        ),
    ] = False,
    error_bars: Annotated[
        bool | None,
        typer.Option(
            "--error-bars/--no-error-bars",
            help="Predict uncertainties, too, which gh-dos and gh-bands take to what they compute. Default: by ensembles.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Predict H(R) of structures of any size; S(R) is computed from the model's basis.

    Large structures are divided into domains, as many as --memory asks for, and an interrupted run goes on
    from the last finished one. With --shard, several runs share the work: they write no store and print
    nothing, and a last one with --resume joins what they did. With --scheduler, domains go to all workers of
    a cluster, and --memory is that of each of them.

    With --error-bars, each matrix element has its uncertainty, and the store holds what the members of an ensemble differ by: of whole
    networks, or of last layers that gh-train drew from their posterior. It is then several times larger.

    Structures that leave what the model was trained on are warned of: by shorter distances, another coordination,
    composition, density, strain or periodicity, and by atoms whose environments, as the network describes them, are
    unlike any of training; with --strict they are refused. The store holds a score of each atom and structure, above 1
    outside, which gh-info --plot draws. Bulk crystals by a model of layers, wires or molecules, and the reverse,
    are refused, because their energies count from different zeros of the potential.

    A structure that fails does not stop the others: the store is written without it, the reason
    goes to standard error, and the exit code is 75. --resume tries it again.

    Stores that hold structures among other things, such as labels, do as well, and so do files that gh-build reads, such as
    my.cif, for which my.predicted.zarr is made. gh-info --models lists the models that come with gh-tools. The result is a
    store like that of gh-label, and without a Fermi level: gh-dos finds it.
    """
    from gh_tools.cli.structure_files import named_like, stored
    from gh_tools.console import log
    from gh_tools.errors import TryAgainError, UsageError
    from gh_tools.labels.periodicity import counts_from_vacuum
    from gh_tools.orbitals.basis import Basis
    from gh_tools.resources import memory_limit
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS, read_structures
    from gh_tools.trained_model.outside import read_domain
    from gh_tools.trained_model.shipped import open_model

    structures, earlier = take_up("gh-infer", structures, output, resume)
    if earlier is not None:
        model = model or next(iter(earlier.paths("model")), None)
        recorded = earlier.config.get("part")
        part = part or (Part(recorded) if recorded else None)
        error_bars = earlier.config.get("error_bars") if error_bars is None else error_bars
    if model is None:
        raise UsageError(
            "no model: name one with --model; gh-train makes it, and gh-info --models lists those that come with gh-tools"
        )
    share = parse_shard(shard)
    # Without a word on memory, workers of a cluster get domains of a size that suits any.
    limit = None if memory is None and scheduler is not None else memory_limit(memory)
    sources = earlier.paths(*KINDS) if earlier else input_paths(structures)
    named = [named_like(source) for source in sources]
    paths = output_paths(earlier.output if earlier else output, named, "predicted")
    model_store = open_model(model)
    model = model_store.path
    if any(source.is_file() for source in sources):
        domain = read_domain(model_store)
        in_vacuum = domain is not None and all(map(counts_from_vacuum, domain.kinds))
        sources = [stored(source, in_vacuum) for source in sources]
    stores = [open_store(source, KINDS) for source in sources]
    sets = [read_structures(store) for store in stores]
    from gh_tools.inference.checks import charged_like, check_model_covers, select_part

    basis = Basis.from_arrays(model_store)
    for store, found in zip(stores, sets, strict=True):
        check_model_covers(store, found, basis)
    sets = [charged_like(model_store, found) for found in sets]
    if part is not None:
        sets = select_part(model_store, stores, sets, part.value)
        # Of several stores, those that have none of the part are left out.
        kept = [index for index, found in enumerate(sets) if len(found)]
        stores, sets = [stores[index] for index in kept], [sets[index] for index in kept]
        paths = [paths[index] for index in kept]
    claim_stores(
        paths, [*sources, model], overwrite=overwrite, resume=resume, shared=shard is not None
    )
    outside: list[Found]
    outside = _outside(model_store, sets) if share[0] == 1 or strict else [{} for _ in sets]
    if strict:
        _refuse(outside, model)
    if dry_run:
        for found, path in zip(sets, paths, strict=True):
            largest = max(map(len, found.atoms))
            log.info(
                "would predict %s (up to %s) and write %s",
                counted(len(found), "structure"),
                counted(largest, "atom"),
                path,
            )
        return

    failed = []
    with find_executor(scheduler, jobs, lambda: None) as cluster:
        from gh_tools.inference.predict import Predictor
        from gh_tools.inference.run import environments_before, predict_structures
        from gh_tools.store.read import open_store
        from gh_tools.trained_model.outside import environments_outside, warn_of
        from gh_tools.trained_model.store import load_model

        predictor = Predictor(load_model(model_store), error_bars)
        if strict and predictor.environments is not None:
            described = [environments_before(predictor, found) for found in sets]
            for told in described:
                warn_of(told)
            _refuse(described, model)
        for store, found, path, unlike in zip(stores, sets, paths, outside, strict=True):
            provenance = describe_run(
                config={"part": part, "error_bars": error_bars}, inputs=[store, model_store]
            )
            done, failures = predict_structures(
                predictor,
                found,
                path,
                provenance,
                n_workers=jobs,
                cluster=cluster,
                model=model_store,
                memory=limit,
                shard=share,
                resume=resume,
                overwrite=overwrite,
            )
            if done is not None:
                count = len(found) - len(failures)
                environments = environments_outside(open_store(done))
                warn_of(environments)
                texts = {
                    name: [d.text for d in (*unlike.get(name, ()), *environments.get(name, ()))]
                    for name in found.names
                    if name in unlike or name in environments
                }
                facts = {"atoms": sum(map(len, found.atoms)), "outside": texts}
                emit(path, as_json, n=count, **facts, failed=failures)
            failed += [f"{failure['name']} ({failure['reason']})" for failure in failures]
    if failed:
        raise TryAgainError(
            f"{counted(len(failed), 'structure')} failed: {'; '.join(failed)}; --resume tries them again"
        )


def _outside(model: Store, sets: Sequence[Structures]) -> list[Found]:
    """Warn of structures unlike those that the model was trained on, and return how they are, by name."""
    from gh_tools.trained_model.outside import (
        check_zero,
        read_domain,
        warn_outside,
        warn_unknown,
        warn_without_environments,
    )

    domain = read_domain(model)
    if domain is None:
        warn_unknown(model)
        return [{} for _ in sets]
    if domain.environments is None:
        warn_without_environments(model)
    for found in sets:
        check_zero(model, domain, found)
    return [warn_outside(domain, found) for found in sets]


def _refuse(outside: Sequence[Found], model: Path) -> None:
    """Raise an error where structures are unlike the training set."""
    from gh_tools.errors import DataError

    names = [name for one in outside for name in one]
    if names:
        raise DataError(
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}: unlike the training set of {model}; train on "
            "such structures, leave them out, or predict without --strict"
        )


app = command(main, "gh-infer large.structures.zarr -m wse2.model.zarr -o large.predicted.zarr")
