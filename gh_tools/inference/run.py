"""From structures and a model to a store of predicted Hamiltonians."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np

from gh_tools.console import progress
from gh_tools.dft.overlap import OverlapSource
from gh_tools.errors import DataError
from gh_tools.inference.domain_size import PLAN, choose_size, memory_for_domains, was_enough
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import StructureWork
from gh_tools.overlap.source import overlap_source, warn_of_overlap
from gh_tools.store.hamiltonian_parts import hamiltonian_to_part, write_piece
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store, partial_path, read_json
from gh_tools.store.structures import Structures
from gh_tools.trained_model.departures import Departure, departures_in_environment
from gh_tools.trained_model.shipped import open_model
from gh_tools.trained_model.store import load_model
from gh_tools.workers.local import Local
from gh_tools.workers.task import Executor


class Pending(NamedTuple):
    """A structure under way.

    Attributes:
        work: on the structure.
        todo: its domains that this run predicts.
        left: those of them that are not finished.
    """

    work: StructureWork
    todo: Sequence[int]
    left: set[int]


def predict_structures(
    predictor: Predictor,
    structures: Structures,
    output: Path,
    provenance: Provenance,
    *,
    n_workers: int = 1,
    cluster: Executor | None = None,
    model: Store | None = None,
    memory: int | None = None,
    shard: tuple[int, int] = (1, 1),
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path | None, list[dict]]:
    """Predict H, compute S, and write a store of kind ``hamiltonians``.

    Large structures are divided into domains; each is written as soon as it is finished, and is safe then.

    Args:
        predictor: the model.
        structures: of any size; the model must know their elements. Their column ``charge`` says how many
            electrons each has, see `charged_like`.
        output: where the store will appear.
        provenance: how it is being made.
        n_workers: domains (small structures are one each) at once, as far as memory allows.
        cluster: who works instead of threads of this process.
        model: the store of the model, from which a cluster's workers load it.
        memory: bytes to use at most, by each worker of a cluster; bounds the size of domains. None for no
            bound.
        shard: number I of N runs that share the work. They may go on at once, on several machines; none
            of them joins the store: a last run with ``resume`` does.
        resume: keep what interrupted runs finished; structures that failed are tried again.
        overwrite: replace what is there.

    Returns:
        The path (None of a shard), and the failures: index, name and reason of each.

    Raises:
        CannotCreateError: something is at ``output``.
        DataError: a PAW setup of the basis table is not this machine's, or S is not known.
        TryAgainError: not one structure was finished, or nobody is left to do it.
        UsageError: the memory is too little.
    """
    shared = shard[1] > 1
    known = read_json(partial_path(output) / PLAN) if resume or shared else None
    free = memory_for_domains(predictor, structures, memory, was_enough(known, memory))
    writer = HamiltonianWriter(
        output, structures, provenance, resume=resume, overwrite=overwrite, shared=shared
    )
    if writer.partial.finished:
        return None if shared else output, []
    overlap = overlap_source(predictor.basis, structures.numbers)
    if shard[0] == 1:
        warn_of_overlap(overlap, predictor.basis, predictor.cutoffs.pairs, structures.atoms)
    domain_bytes, n_workers = choose_size(writer.partial.directory / PLAN, memory, free, n_workers)

    charges = structures.charges.tolist()

    def divide(index: int) -> StructureWork:
        atoms = structures.atoms[index]
        return StructureWork(predictor, overlap, atoms, domain_bytes, charges[index])

    pending: dict[int, Pending] = {}
    domains = _todo(writer, divide, shard, pending)
    parts = writer.partial.parts
    executor: Executor
    function: Callable[..., None]
    tasks: Iterator[tuple[tuple[int, int], tuple]]
    if cluster is None:
        # One more thread than workers: one may be writing.
        executor, function = Local(n_workers + 1), _predict
        tasks = (((i, n), (parts, i, n, pending[i].work, pending[i].todo)) for i, n in domains)
    else:
        executor, function = cluster, predict_domain
        assert model is not None  # it is given with a cluster
        error_bars = predictor.calibration is not None
        whose = model.path.absolute(), model.id, domain_bytes, error_bars
        tasks = (
            ((i, n), (parts, i, n, structures.atoms[i], charges[i], *whose)) for i, n in domains
        )
    failed = set()
    with progress("predicting atoms", sum(map(len, structures.atoms))) as shown:
        for (index, number), result in executor.run(function, tasks):
            work, _, left = pending[index]
            piece = _piece(work, number)
            if not writer.partial.record_outcome(index, structures.names[index], result, piece):
                failed.add(index)
            left.remove(number)
            if not left:
                del pending[index]
                if piece is not None:
                    writer.join_pieces(index, work.head(), len(work.domains))
            shown.advance(len(work.domains[number]))
    failures = [record for record in writer.partial.failures() if record["index"] in failed]
    if shared:
        return None, failures
    attributes = {
        "predicted": True,
        "spins": predictor.layout.n_spins,
        "cutoffs": {f"{zi}-{zj}": r for (zi, zj), r in predictor.cutoffs.pairs.items()},
        **({} if (factors := predictor.calibration) is None else {"calibration": factors.spectra}),
    }
    return writer.publish(predictor.basis, attributes), failures


def environments_before(predictor: Predictor, structures: Structures) -> dict[str, list[Departure]]:
    """Return in which structures environments are unlike any of training, by name, before anything is predicted.

    Args:
        predictor: a model that has environments of its training set.
        structures: to be predicted.
    """
    found = {}
    for name, atoms in zip(structures.names, structures.atoms, strict=True):
        scores = StructureWork(predictor, None, atoms, np.inf).scores()
        assert scores is not None  # the model has environments
        if departures := list(departures_in_environment(atoms, scores)):
            found[name] = departures
    return found


def predict_domain(
    parts: Parts,
    index: int,
    number: int,
    atoms: ase.Atoms,
    charge: float,
    model: Path,
    model_id: str,
    domain_bytes: float,
    error_bars: bool,
) -> None:
    """Predict a domain of a structure into the unfinished store: a unit of work for any scheduler.

    Args:
        parts: of the unfinished store.
        index: of the structure in the store to be made.
        number: of the domain; one that is there already is left alone.
        atoms: the structure.
        charge: of the structure, in |e|.
        model: path of the model store.
        model_id: what its ``id`` must be.
        domain_bytes: of H and S of a domain, at most; decides how the structure is divided.
        error_bars: whether to predict what members differ by, too.

    Raises:
        DataError: the model there is another one.
        TryAgainError: this machine does not see the unfinished store.
    """
    parts.check()
    predictor, overlap = _load(model, model_id, error_bars)
    key = parts.token, index
    if key not in _latest:
        _latest.clear()
        _latest[key] = StructureWork(predictor, overlap, atoms, domain_bytes, charge)
    _predict(parts, index, number, _latest[key], [number])


# The structure of which this process predicted a domain last: the next is often another one of it.
_latest: dict[tuple[str, int], StructureWork] = {}


@lru_cache(maxsize=1)
def _load(model: Path, model_id: str, error_bars: bool) -> tuple[Predictor, OverlapSource]:
    store = open_model(model)
    if store.id != model_id:
        raise DataError(f"{model}: has changed, or is another model on {socket.gethostname()}")
    predictor = Predictor(load_model(store), error_bars)
    return predictor, overlap_source(predictor.basis, predictor.basis.numbers)


def _predict(
    parts: Parts, index: int, number: int, work: StructureWork, todo: Sequence[int]
) -> None:
    """Predict a domain into the unfinished store, unless it is there."""
    piece = _piece(work, number)
    if parts.has_part(index, piece):
        return
    blocks = work.blocks(number, todo)
    if piece is None:
        parts.write_part(index, hamiltonian_to_part(replace(blocks, scalars=work.head().scalars)))
    else:
        write_piece(parts, index, piece, blocks)


def _piece(work: StructureWork, number: int) -> int | None:
    """Piece of the structure's part that holds a domain; None where one domain is all."""
    return number if len(work.domains) > 1 else None


def _todo(
    writer: HamiltonianWriter,
    divide: Callable[[int], StructureWork],
    shard: tuple[int, int],
    pending: dict[int, Pending],
) -> Iterator[tuple[int, int]]:
    """Yield structure and domain of what is not there yet; finish structures that lack nothing.

    A structure stands in ``pending`` before its first domain is yielded.
    """
    n_structures = len(writer.structures)
    starts, first, last = np.zeros(n_structures, dtype=int), 0, np.inf
    if shard[1] > 1:
        # Over all structures, finished or not: all runs must count alike.
        ends = np.cumsum([len(divide(index).domains) for index in range(n_structures)])
        starts[1:] = ends[:-1]
        first, last = (int(ends[-1]) * part // shard[1] for part in (shard[0] - 1, shard[0]))
    for index, start in enumerate(starts.tolist()):
        if writer.done(index):
            continue
        writer.partial.forget_failures([index])
        work = divide(index)
        mine = [n for n in range(len(work.domains)) if first <= start + n < last]
        todo = [n for n in mine if not writer.partial.has_part(index, _piece(work, n))]
        if not todo:
            writer.join_pieces(index, work.head(), len(work.domains))
            continue
        pending[index] = Pending(work, todo, set(todo))
        for number in todo:
            yield index, number
