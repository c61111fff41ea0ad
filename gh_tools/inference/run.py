"""From structures and a model to a store of predicted Hamiltonians."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np

from gh_tools.console import log, progress
from gh_tools.dft.conditioning import warn_if_poor
from gh_tools.dft.overlap import Overlap
from gh_tools.errors import UsageError
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import StructureWork
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.resources import memory_used
from gh_tools.store.hamiltonians import HamiltonianWriter, write_piece
from gh_tools.store.partial import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures
from gh_tools.training.model_store import load_model

# Bytes of H and S of a domain, at least and at most: in smaller ones halos outweigh what is wanted, larger
# ones save little.
DOMAIN_BYTES = (8 * 2**20, 64 * 2**20)
# Memory that a domain takes while it is worked on: for its halo, and in units of its H and S.
HALO_BYTES, WORKING = 80 * 2**20, 7.0
# Memory of compiled programs and their chunks, of buffers to write, and per atom besides descriptors.
PROGRAM_BYTES, ATOM_BYTES = 600 * 2**20, 2000


class Task(NamedTuple):
    """A domain to be predicted.

    Attributes:
        index: of the structure.
        work: on the structure.
        number: of the domain.
        todo: all domains of the structure that this run predicts.
    """

    index: int
    work: StructureWork
    number: int
    todo: Sequence[int]


def predict_structures(
    predictor: Predictor,
    structures: Structures,
    output: Path,
    provenance: Provenance,
    *,
    n_workers: int = 1,
    memory: int | None = None,
    shard: tuple[int, int] = (1, 1),
    resume: bool = False,
    overwrite: bool = False,
) -> Path | None:
    """Predict H, compute S, and write a store of kind ``hamiltonians``.

    Large structures are divided into domains; each is written as soon as it is finished, and is safe then.

    Args:
        predictor: the model.
        structures: of any size; the model must know their elements.
        output: where the store will appear.
        provenance: how it is being made.
        n_workers: domains (small structures are one each) at once, as far as memory allows.
        memory: bytes to use at most; bounds the size of domains. None for no bound.
        shard: number I of N runs that share the work. They may go on at once, on several machines; none
            of them joins the store: a last run with ``resume`` does.
        resume: keep what interrupted runs finished.
        overwrite: replace what is there.

    Returns:
        The path; None of a shard.

    Raises:
        CannotCreateError: something is at ``output``.
        DataError: a PAW setup of the basis table is not this machine's.
        UsageError: the memory is too little.
    """
    shared = shard[1] > 1
    free = _free(predictor, structures, memory)
    writer = HamiltonianWriter(
        output, structures, provenance, resume=resume or shared, overwrite=overwrite
    )
    overlap = Overlap(predictor.basis, structures.numbers)
    if shard[0] == 1:
        warn_if_poor(overlap, predictor.basis, predictor.pair_cutoffs, structures.atoms)
    plan = writer.partial.directory / "domains.json"
    domain_bytes, n_workers = _plan(plan, free, n_workers)
    tasks = _tasks(writer, predictor, overlap, domain_bytes, shard)
    with (
        progress("predicting atoms", sum(map(len, structures.atoms))) as shown,
        ThreadPoolExecutor(n_workers) as pool,
    ):
        flying: deque = deque()

        def land() -> None:
            task, future = flying.popleft()
            _write(writer, task, future.result())
            shown.advance(len(task.work.domains[task.number]))

        try:
            for task in tasks:
                flying.append((task, pool.submit(task.work.blocks, task.number, task.todo)))
                # What is written waits for no one, but not more than that is held.
                if len(flying) > n_workers:
                    land()
            while flying:
                land()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if shared:
        return None
    attributes = {
        "predicted": True,
        "spins": predictor.layout.n_spins,
        "cutoffs": {f"{zi}-{zj}": r for (zi, zj), r in predictor.pair_cutoffs.items()},
    }
    return writer.publish(predictor.basis, attributes)


def predict_domains(
    model: Path,
    atoms: ase.Atoms,
    index: int,
    domains: Sequence[int],
    folder: Path,
    domain_bytes: float,
) -> None:
    """Predict some domains of a structure into a folder of parts: a unit of work for any scheduler.

    Args:
        model: path of the model store.
        atoms: the structure.
        index: of the structure in the store to be made.
        domains: their numbers; those that are there already are left alone.
        folder: ``parts`` in the directory of the unfinished store.
        domain_bytes: of H and S of a domain, at most; decides how the structure is divided.
    """
    predictor, overlap = _load(model)
    work, parts = StructureWork(predictor, overlap, atoms, domain_bytes), Parts(folder)
    todo = [number for number in domains if not parts.has_part(index, number)]
    for number in todo:
        write_piece(parts, index, number, work.blocks(number, todo))


@lru_cache(maxsize=1)
def _load(model: Path) -> tuple[Predictor, Overlap]:
    predictor = Predictor(load_model(model))
    return predictor, Overlap(predictor.basis, predictor.basis.numbers)


def _tasks(
    writer: HamiltonianWriter,
    predictor: Predictor,
    overlap: Overlap,
    domain_bytes: float,
    shard: tuple[int, int],
) -> Iterator[Task]:
    """Yield what is not there yet, structure by structure; finish structures that lack nothing."""

    def divide(atoms: ase.Atoms) -> StructureWork:
        return StructureWork(predictor, overlap, atoms, domain_bytes)

    structures = writer.structures.atoms
    starts, first, last = np.zeros(len(structures), dtype=int), 0, np.inf
    if shard[1] > 1:
        # Over all structures, finished or not: all runs must count alike.
        ends = np.cumsum([len(divide(atoms).domains) for atoms in structures])
        starts[1:] = ends[:-1]
        first, last = (int(ends[-1]) * part // shard[1] for part in (shard[0] - 1, shard[0]))
    for index, (atoms, start) in enumerate(zip(structures, starts.tolist(), strict=True)):
        if writer.done(index):
            continue
        work = divide(atoms)
        mine = [n for n in range(len(work.domains)) if first <= start + n < last]
        todo = [number for number in mine if not writer.partial.has_part(index, number)]
        for number in todo:
            yield Task(index, work, number, todo)
        if not todo:
            writer.join_pieces(index, work.head(), len(work.domains))


def _write(writer: HamiltonianWriter, task: Task, blocks: Hamiltonian) -> None:
    head, n_domains = task.work.head(), len(task.work.domains)
    if n_domains == 1:
        writer.write(task.index, replace(blocks, scalars=head.scalars))
        return
    write_piece(writer.partial, task.index, task.number, blocks)
    if task.number == task.todo[-1]:
        writer.join_pieces(task.index, head, n_domains)


def _free(predictor: Predictor, structures: Structures, memory: int | None) -> float:
    """Return the bytes left for domains; refuse what is too little for the smallest."""
    largest = max(map(len, structures.atoms))
    fixed = memory_used() + PROGRAM_BYTES + largest * (ATOM_BYTES + predictor.atom_bytes)
    free = np.inf if memory is None else memory - fixed
    needed = 2 * _domain_memory(DOMAIN_BYTES[0])
    if free < needed:
        raise UsageError(
            f"--memory: {memory / 2**30:.2f} GiB are too little for {largest} atoms; "
            f"give {(fixed + needed) / 2**30 + 0.05:.1f}G or more"
        )
    return free


def _domain_memory(domain_bytes: float) -> float:
    """Memory that a domain takes while it is worked on."""
    return HALO_BYTES + WORKING * domain_bytes


def _plan(file: Path, free: float, n_workers: int) -> tuple[float, int]:
    """Choose the size of domains and how many are worked on at once.

    Runs that share a store divide its structures alike: the first one's choice is kept in ``file``.
    """
    # One more than workers: what is being written
    share = free / (n_workers + 1) - HALO_BYTES
    choice = float(np.clip(share / WORKING, *DOMAIN_BYTES))
    if not file.exists():
        own = file.with_name(f".{file.name}.{os.getpid()}")
        own.write_text(json.dumps({"domain_bytes": choice}))
        with contextlib.suppress(FileExistsError):
            os.link(own, file)  # unlike a rename, refuses where another run was faster
        own.unlink()
    domain_bytes = json.loads(file.read_text())["domain_bytes"]
    possible = free / _domain_memory(domain_bytes) - 1
    if possible < 1:
        raise UsageError(
            f"--memory: the unfinished {file.parent.name} was divided for more memory; "
            f"give {_domain_memory(domain_bytes) * 2 / 2**30 - free / 2**30 + 0.05:.1f}G more, "
            "or start anew with --overwrite"
        )
    if possible < n_workers:
        log.info("memory allows for %d at once", possible)
    return domain_bytes, int(min(n_workers, possible))
