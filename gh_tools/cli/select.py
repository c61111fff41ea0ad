"""gh-select: the structures of a pool that a model would learn most from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import claim_stores, input_paths, output_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.tables import counted

if TYPE_CHECKING:
    from gh_tools.store.read import Store


def main(
    pool: Annotated[list[str] | None, input_argument("POOL")] = None,
    number: Annotated[
        int, typer.Option("--number", "-n", min=1, help="How many structures to choose.")
    ] = 10,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Model that is to learn: a store, or the name of one that comes with gh-tools. Default: the one that made "
            "the predictions.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Choose the structures of a pool that a model would learn most from, as a store that gh-label takes.

    The pool is a store of structures or of predictions. Structures are chosen one after the other, each the one whose atoms
    are on average farthest, by the model's own descriptors, from those of training and of what is chosen already. Of
    predictions by an ensemble, only three times as many as are wanted are chosen from: those whose members differ most.
    """
    from gh_tools.console import log, table
    from gh_tools.errors import DataError
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS, read_structures, write_structures

    sources = input_paths(pool)
    paths = output_paths(output, sources, "selected")
    stores = [open_store(source, KINDS) for source in sources]
    models = [_model(store, model) for store in stores]
    sets = [read_structures(store) for store in stores]
    claim_stores(paths, [*sources, model], overwrite=overwrite)

    from gh_tools.inference.checks import check_model_covers
    from gh_tools.inference.predict import Predictor
    from gh_tools.inference.select import select_structures, uncertainties
    from gh_tools.store.hamiltonians import HamiltonianReader
    from gh_tools.trained_model.store import load_model
    from gh_tools.units import MEV

    for store, known, structures, path in zip(stores, models, sets, paths, strict=True):
        predictor = Predictor(load_model(known))
        check_model_covers(store, structures, predictor.basis)
        if predictor.environments is None:
            raise DataError(
                f"{known.path}: does not tell the environments of its training set, being made by an earlier version or of "
                "too few structures; train it anew, so that structures can be compared with them"
            )
        uncertainty = (
            uncertainties(HamiltonianReader(store)) if store.kind == "hamiltonians" else None
        )
        found = select_structures(
            predictor, predictor.environments, structures, number, uncertainty
        )
        if len(found.indices) < number:
            held = counted(len(structures), "structure")
            log.warning("%s: holds %s: all are chosen", store.path, held)
        chosen = structures.select(found.indices)
        write_structures(
            path,
            chosen,
            describe_run(config={"number": number}, inputs=[store, known]),
            overwrite=overwrite,
        )
        head = ["structure", "novelty"]
        rows = [
            [name, f"{x:.3g}"] for name, x in zip(chosen.names, found.novelty.tolist(), strict=True)
        ]
        if uncertainty is not None:
            head.append("uncertainty (meV)")
            for row, x in zip(rows, found.uncertainty.tolist(), strict=True):
                row.append(f"{MEV * x:.3g}")
        table(rows, head)
        emit(
            path,
            as_json,
            n=len(chosen),
            names=chosen.names,
            novelty=found.novelty.tolist(),
            uncertainty_mev=None if uncertainty is None else (MEV * found.uncertainty).tolist(),
        )


def _model(store: Store, given: Path | None) -> Store:
    """Return the model that is to learn: the one that is given, or that made the predictions."""
    from gh_tools.errors import NoInputError, UsageError
    from gh_tools.store.provenance import find_inputs
    from gh_tools.trained_model.shipped import open_model

    if given is not None:
        return open_model(given)
    try:
        return find_inputs(store, "model")[0]
    except NoInputError as error:
        raise UsageError(f"{error}: name the model that is to learn with --model") from None


app = command(main, "gh-select wse2.predicted.zarr -n 20 -o next.structures.zarr")
