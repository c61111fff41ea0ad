"""From structures and a model to a store of predicted Hamiltonians."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np

from gh_tools.console import log, progress
from gh_tools.dft.overlap import OverlapSource
from gh_tools.errors import DataError, UsageError
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import StructureWork
from gh_tools.overlap.source import overlap_source, warn_of_overlap
from gh_tools.resources import memory_used
from gh_tools.store.hamiltonian_parts import to_part, write_piece
from gh_tools.store.hamiltonians import HamiltonianWriter
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store, open_store, partial_path, read_json
from gh_tools.store.records import write_once
from gh_tools.store.structures import Structures
from gh_tools.trained_model.departures import Departure, departures_in_environment
from gh_tools.trained_model.store import load_model
from gh_tools.workers.local import Local
from gh_tools.workers.task import Executor

# Bytes of H and S of a domain, at least and at most: in smaller ones halos outweigh what is wanted, larger
# ones save little.
DOMAIN_BYTES = (8 * 2**20, 64 * 2**20)
# Memory that a domain takes while it is worked on: for its halo, and in units of its H and S.
HALO_BYTES, WORKING = 80 * 2**20, 7.0
# Memory of compiled programs and their chunks, of buffers to write, and per atom besides descriptors.
PROGRAM_BYTES, ATOM_BYTES = 600 * 2**20, 2000


# Of the free memory, what domains are made for: a run that goes on may find less of it.
_MARGIN = 0.9
# File of an unfinished store that says how structures were divided.
_PLAN = "domains.json"


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
    known = read_json(partial_path(output) / _PLAN) if resume or shared else None
    free = _free(predictor, structures, memory, _was_enough(known, memory))
    writer = HamiltonianWriter(
        output, structures, provenance, resume=resume, overwrite=overwrite, shared=shared
    )
    if writer.partial.finished:
        return None if shared else output, []
    overlap = overlap_source(predictor.basis, structures.numbers)
    if shard[0] == 1:
        warn_of_overlap(overlap, predictor.basis, predictor.cutoffs.pairs, structures.atoms)
    domain_bytes, n_workers = _plan(writer.partial.directory / _PLAN, memory, free, n_workers)

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
    store = open_store(model, "model")
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
        parts.write_part(index, to_part(replace(blocks, scalars=work.head().scalars)))
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


def _was_enough(plan: Any, memory: int | None) -> bool:
    """Tell whether a run with no more memory divided the structures: what a process takes itself varies."""
    least = plan.get("memory") if isinstance(plan, dict) else None
    return memory is not None and least is not None and memory >= least


def _free(predictor: Predictor, structures: Structures, memory: int | None, enough: bool) -> float:
    """Return the bytes left for domains; refuse what is too little for the smallest, unless it was ``enough``."""
    largest = max(map(len, structures.atoms))
    fixed = memory_used() + PROGRAM_BYTES + largest * (ATOM_BYTES + predictor.atom_bytes)
    free = np.inf if memory is None else memory - fixed
    needed = 2 * _domain_memory(DOMAIN_BYTES[0])
    if free < needed and not enough:
        raise UsageError(
            f"--memory: {(memory or 0) / 2**30:.2f} GiB are too little for {largest} atoms; "
            f"give {(fixed + needed) / 2**30 + 0.05:.1f}G or more"
        )
    return free


def _domain_memory(domain_bytes: float) -> float:
    """Memory that a domain takes while it is worked on."""
    return HALO_BYTES + WORKING * domain_bytes


def _plan(file: Path, memory: int | None, free: float, n_workers: int) -> tuple[float, int]:
    """Choose the size of domains and how many are worked on at once.

    Runs that share a store divide its structures alike: the first one's choice is kept in ``file``.
    """
    # One more than workers: what is being written
    share = _MARGIN * free / (n_workers + 1) - HALO_BYTES
    choice = float(np.clip(share / WORKING, *DOMAIN_BYTES))
    plan = write_once(file, {"domain_bytes": choice, "memory": memory})
    domain_bytes = plan["domain_bytes"]
    possible = free / _domain_memory(domain_bytes) - 1
    if possible < 1 and not _was_enough(plan, memory):
        raise UsageError(
            f"--memory: the unfinished {file.parent.name} was divided for more memory; "
            f"give {_domain_memory(domain_bytes) * 2 / 2**30 - free / 2**30 + 0.05:.1f}G more, "
            "or start anew with --overwrite"
        )
    if possible < n_workers:
        log.info("memory allows for %d at once", possible)
    return domain_bytes, int(min(n_workers, max(1, possible)))
