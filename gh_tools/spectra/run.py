"""Spectra of all structures of a store, several at once, resumable."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from gh_tools.console import configure, log, progress
from gh_tools.errors import CannotCreateError, DataError, NoInputError, TryAgainError
from gh_tools.resources import free_memory
from gh_tools.spectra.choice import Solver, choose_solver
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.factor import available_engines
from gh_tools.spectra.spectrum import Spectrum, compute_spectrum, kpoints_for
from gh_tools.spectra.store import Spectra, SpectraWriter, already_done, gather, read_spectra
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.io import open_store
from gh_tools.store.provenance import Provenance

Outcome = Spectrum | DataError


def make_spectra(
    source: Path,
    output: Path,
    config: DosConfig,
    provenance: Provenance,
    *,
    jobs: int = 1,
    memory: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Compute the spectra of a store's structures and write them as a store.

    Args:
        source: store of kind ``hamiltonians``.
        output: store of kind ``spectra``.
        config: what is computed.
        provenance: how it is being made.
        jobs: structures worked on at once, each in a process of its own.
        memory: bytes that all of them may use; None for what is free.
        resume: keep what an earlier run finished.
        overwrite: replace an existing output.

    Returns:
        One sentence for each structure that failed; the others are in the store.

    Raises:
        CannotCreateError: the output exists, or `resume` finds that of another run.
        DataError: no structure worked.
        NoInputError: there is none.
        TryAgainError: a process died.
    """
    reader = HamiltonianReader(source)
    if len(reader) == 0:
        raise NoInputError(f"{source}: structures/name: the store holds no structure")
    check_carriers(reader, config)
    if resume and output.exists():
        if not already_done(output, provenance):
            raise CannotCreateError(
                f"{output}: was made with another configuration or from other inputs; "
                "use --overwrite or another --output"
            )
        return _sentences(open_store(output).attributes["failed"])
    writer = SpectraWriter(
        output, reader.structures, config, provenance, resume=resume, overwrite=overwrite
    )
    missing = writer.missing()
    memory = free_memory() if memory is None else memory
    dense = _announce(reader, missing, config, memory // min(jobs, max(1, len(missing))))
    # Slices show their own progress, in this process.
    bar = progress("spectra", len(missing)) if dense or jobs > 1 else nullcontext()
    with bar as shown:
        for index, outcome in compute(reader, missing, config, jobs, memory):
            if isinstance(outcome, Spectrum):
                writer.write(index, outcome)
            else:
                writer.fail(index, str(outcome))
                log.warning("%s: %s", reader.names[index], outcome)
            if shown is not None:
                shown.advance()
    failed = _sentences(writer.partial.failures())
    writer.publish()
    return failed


def compute(
    reader: HamiltonianReader,
    indices: Sequence[int],
    config: DosConfig,
    jobs: int = 1,
    memory: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Compute spectra and yield each with its index as it is finished, or why it cannot be had.

    Args:
        reader: the Hamiltonians.
        indices: which structures.
        config: what is computed.
        jobs: number of processes; 1 for this one.
        memory: bytes that all of them may use; None for what is free.
    """
    memory = free_memory() if memory is None else memory
    if jobs == 1 or len(indices) < 2:
        for index in indices:
            yield index, _attempt(reader, index, config, memory)
        return
    jobs = min(jobs, len(indices))
    # Spawned, not forked: Zarr runs threads. Each process gets its share of the cores, which BLAS
    # reads from its surroundings when it is loaded.
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), share)
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update({name: value for name, value in limits.items() if before[name] is None})
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        initializer=_open,
        initargs=(reader.store.path, config, memory // jobs, log.getEffectiveLevel()),
    )
    try:
        futures = {pool.submit(_work, index): index for index in indices}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise TryAgainError(
            f"{reader.store.path}: a worker process died (out of memory?); "
            "what is finished is kept: go on with --resume and fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def reference_spectra(
    path: Path, names: Sequence[str], config: DosConfig, jobs: int = 1
) -> Spectra:
    """Return the spectra of structures with given names from a store of Hamiltonians or spectra.

    Args:
        path: the reference, such as the labels of predicted structures.
        names: of the structures; the reference may know only some.
        config: what is computed for Hamiltonians.
        jobs: processes.

    Raises:
        DataError: the reference knows none of the structures, or its spectrum is ill-defined.
    """
    store = open_store(path, ("hamiltonians", "spectra"))
    reader = HamiltonianReader(store) if store.kind == "hamiltonians" else None
    known = reader.names if reader else (spectra := read_spectra(store)).names
    shared = [known.index(name) for name in names if name in known]
    if not shared:
        raise DataError(
            f"{path}: structures/name: the reference holds none of the structures "
            f"({', '.join(names[:3])}, ...); name the store that they were labelled in"
        )
    if reader is None:
        return spectra.select(shared)
    found = {}
    for index, outcome in compute(reader, shared, config, jobs):
        if not isinstance(outcome, Spectrum):
            raise DataError(f"{path}: {reader.names[index]}: {outcome}")
        found[index] = outcome
    return gather(reader.structures.select(shared), config, [found[index] for index in shared])


def check_carriers(reader: HamiltonianReader, config: DosConfig) -> None:
    """Raise `DataError` if a carrier species is in none of the structures."""
    present = reader.structures.numbers
    for symbol, number in zip(config.carriers, config.carrier_numbers, strict=True):
        if number not in present:
            raise DataError(
                f"{reader.store.path}: no structure contains {symbol}; "
                "name carrier species that are there"
            )


def _solver(reader: HamiltonianReader, index: int, config: DosConfig, memory: int) -> Solver:
    atoms = reader.structures.atoms[index]
    n_orbitals = int(reader.basis.n_orbitals(atoms.numbers).sum())
    doubled = 2 * kpoints_for(atoms, config).points
    real = bool(np.all(doubled == np.round(doubled)))
    return choose_solver(config.solver, n_orbitals, real, memory)


def _announce(
    reader: HamiltonianReader, indices: Sequence[int], config: DosConfig, memory: int
) -> bool:
    """Say which solver the structures get, and return whether all are solved densely."""
    chosen: list[str] = []
    for index in indices:
        try:
            chosen.append(_solver(reader, index, config, memory))
        except DataError:  # told when its turn comes
            continue
    for solver, count in sorted(Counter(chosen).items()):
        how = solver
        if solver != "dense":
            engine = available_engines()[0] if config.engine == "auto" else config.engine
            how = f"{solver}, factorised by {engine}"
        log.info("%d of %d structures: solver %s", count, len(indices), how)
    return set(chosen) <= {"dense"}


def _attempt(reader: HamiltonianReader, index: int, config: DosConfig, memory: int) -> Outcome:
    try:
        solver = _solver(reader, index, config, memory)
        return compute_spectrum(reader.read(index), config, solver, memory)
    except DataError as error:
        return error


_worker: tuple[HamiltonianReader, DosConfig, int]


def _open(path: Path, config: DosConfig, memory: int, level: int) -> None:
    global _worker
    # Ctrl-C reaches the whole group of processes: workers die at once and silently, the parent tells.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    configure(quiet=True)  # the parent shows progress
    log.setLevel(max(level, logging.WARNING))
    # If the parent is killed outright, nobody else would end the workers.
    threading.Thread(target=_follow_parent, daemon=True).start()
    _worker = HamiltonianReader(path), config, memory


def _follow_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(index: int) -> Outcome:
    reader, config, memory = _worker
    return _attempt(reader, index, config, memory)


def _sentences(failures: Sequence[dict]) -> list[str]:
    return [f"{failure['name']}: {failure['reason']}" for failure in failures]
