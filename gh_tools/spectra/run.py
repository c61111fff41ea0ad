"""Spectra of all structures of a store, several at once, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from gh_tools.console import log, progress, track
from gh_tools.errors import DataError, NoInputError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.resources import free_memory
from gh_tools.spectra.choice import DEEPEST_STATE_LIMIT, Solver, choose_solver
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.groups import check_elements
from gh_tools.spectra.sparse.factor import available_engines
from gh_tools.spectra.spectra import Spectra, gather, read_spectra
from gh_tools.spectra.spectrum import (
    Spectrum,
    compute_spectrum,
    describe_grid,
    kpoints_for,
    prepared,
)
from gh_tools.spectra.store import SpectraWriter, spectrum_to_part
from gh_tools.spectra.window import whole_window
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.identity import match
from gh_tools.store.parts import Parts, Pieces
from gh_tools.store.provenance import Provenance, origin_of
from gh_tools.store.read import Store, open_store
from gh_tools.workers.cluster import free_here
from gh_tools.workers.local import Local
from gh_tools.workers.task import Executor, Failure

# Structures of one set of elements that tell how deep its states lie.
_LOOKED_AT = 8
_GRIDS_TOLD = 3  # those of most structures


def make_spectra(
    source: Store | Path,
    output: Path,
    config: DosConfig,
    provenance: Provenance,
    *,
    executor: Executor | None = None,
    memory: int | None = None,
    shard: tuple[int, int] = (1, 1),
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path | None, list[dict]]:
    """Compute the spectra of a store's structures and write them as a store.

    Args:
        source: store of kind ``hamiltonians``.
        output: store of kind ``spectra``.
        config: what is computed.
        provenance: how it is being made.
        executor: who works; this process, one structure after the other, if not given.
        memory: bytes that a machine's tasks may use together, or each worker of a cluster; None for what is
            free.
        shard: number I of N runs that share the work. They may go on at once, on several machines; none
            of them joins the store: a last run with ``resume`` does.
        resume: keep what an earlier run finished; structures that failed are tried again.
        overwrite: replace an existing output.

    Returns:
        The path (None of a shard), and the failures of these structures: index, name and reason of each, and
        whether a worker `died` of it.

    Raises:
        CannotCreateError: the output exists, or `resume` finds that of another run.
        DataError: no structure worked.
        NoInputError: there is none.
        TryAgainError: nobody is left to work.
    """
    workers: Executor = executor or Local()
    shared = shard[1] > 1
    reader = HamiltonianReader(source, spinors=True)
    if len(reader) == 0:
        raise NoInputError(f"{reader.store.path}: structures/name: the store holds no structure")
    check_carriers(reader, config)
    check_elements(config, reader.structures.numbers, str(reader.store.path))
    writer = SpectraWriter(
        output,
        reader.structures,
        config,
        provenance,
        resume=resume,
        overwrite=overwrite,
        shared=shared,
    )
    if writer.partial.finished:
        return None if shared else output, []
    config = writer.choose_window(lambda: _window(reader, config))
    mine = range(shard[0] - 1, len(reader), shard[1])
    left = [index for index in mine if not writer.partial.has_part(index)]
    writer.partial.forget_failures(left)
    grids = Counter(describe_grid(reader.structures.atoms[index], config) for index in left)
    for grid, count in grids.most_common(_GRIDS_TOLD):
        log.info("%d of %d structures: Γ-centred k grid %s", count, len(left), grid)
    share, dense = _share(memory, workers, len(left)), True
    if share is not None and workers.at_once is not None:
        dense = _announce(reader, left, config, share)
    tasks = (
        (index, (writer.partial.parts, *task))
        for index, task in _tasks(reader, left, config, share)
    )
    # Slices show their own progress, in this process.
    bar = progress("spectra", len(left)) if dense or workers.at_once != 1 else nullcontext()
    with bar as shown:
        for index, result in workers.run(spectrum_part, tasks):
            writer.partial.record_outcome(index, reader.names[index], result)
            if shown is not None:
                shown.advance()
    failures = [failure for failure in writer.partial.failures() if failure["index"] in mine]
    return None if shared else writer.publish(), failures


def _window(reader: HamiltonianReader, config: DosConfig) -> tuple[float, float]:
    """Return a window that holds the valence states of all structures, by some of each set of elements."""
    kinds: dict[frozenset[int], list[int]] = {}
    for index, atoms in enumerate(reader.structures.atoms):
        if reader.basis.n_orbitals(atoms.numbers).sum() <= DEEPEST_STATE_LIMIT:
            kinds.setdefault(frozenset(atoms.numbers.tolist()), []).append(index)
    chosen = sorted(index for indices in kinds.values() for index in indices[:_LOOKED_AT])

    def read() -> Iterator[Hamiltonian]:
        for index in track(chosen, "deepest states"):
            with suppress(DataError):  # told when its turn comes
                yield prepared(reader.read(index), config)[0]

    window = whole_window(config, read()).window
    assert window is not None
    return window


def spectrum_part(
    parts: Parts, source: Path, source_id: str, index: int, config: DosConfig, memory: int | None
) -> None:
    """Compute one structure's spectrum into the unfinished store, unless it is there: a unit of work for any scheduler.

    Args:
        parts: of the unfinished store.
        source: path of the store with H.
        source_id: what its ``id`` must be.
        index: of the structure in it.
        config: what is computed.
        memory: bytes that may be used; None for what is free.

    Raises:
        TryAgainError: this machine does not see the unfinished store.
    """
    parts.check()
    if not parts.has_part(index):
        kept = Pieces(parts, index)
        spectrum = one_spectrum(source, source_id, index, config, memory, kept)
        parts.write_part(index, spectrum_to_part(spectrum))


def one_spectrum(
    source: Path,
    source_id: str,
    index: int,
    config: DosConfig,
    memory: int | None,
    kept: Pieces | None = None,
) -> Spectrum:
    """Compute the spectrum of one structure of a store.

    Args:
        source: the store of Hamiltonians.
        source_id: what its ``id`` must be.
        index: of the structure.
        config: what is computed.
        memory: bytes to use; None for what is free where this runs.
        kept: where finished slices are put, and found after an interruption.

    Raises:
        DataError: the store is another one, or the spectrum is ill-defined or too large.
    """
    reader = _reader(source, source_id)
    memory = free_here() if memory is None else memory
    solver = _solver(reader, index, config, memory)
    return compute_spectrum(reader.read(index), config, solver, memory, kept)


@lru_cache(maxsize=1)
def _reader(source: Path, source_id: str) -> HamiltonianReader:
    reader = HamiltonianReader(source, spinors=True)
    if reader.store.id != source_id:
        raise DataError(f"{source}: has changed since the command began")
    return reader


def _tasks(
    reader: HamiltonianReader, indices: Sequence[int], config: DosConfig, memory: int | None
) -> Iterator[tuple[int, tuple]]:
    store = reader.store
    for index in indices:
        yield index, (store.path.absolute(), store.id, index, config, memory)


def _share(memory: int | None, executor: Executor, n_tasks: int) -> int | None:
    """Memory of each task; None where its machine decides."""
    if executor.at_once is None:
        return memory
    memory = free_memory() if memory is None else memory
    return memory // min(executor.at_once, max(1, n_tasks))


def reference_spectra(
    path: Path, spectra: Spectra, config: DosConfig, executor: Executor | None = None
) -> tuple[Spectra, Spectra]:
    """Find what spectra are to be compared with in a store of Hamiltonians or spectra.

    Args:
        path: the reference, such as the labels of predicted structures.
        spectra: of the structures; the reference may know only some, by name.
        config: what is computed for Hamiltonians.
        executor: who works; this process if not given.

    Returns:
        The spectra of the structures that both know, and those of the reference, in the same order.

    Raises:
        DataError: the reference knows none of the structures, has another structure under the name of one or
            another number of spin channels, or its spectrum is ill-defined.
    """
    ends = float(spectra.energy[0]), float(spectra.energy[-1])
    config = config.model_copy(update={"window": ends, "points": len(spectra.energy)})
    store = open_store(path, ("hamiltonians", "spectra"))
    reader = HamiltonianReader(store, spinors=True) if store.kind == "hamiltonians" else None
    if reader is None:
        known = read_spectra(store)
        n_spins, structures = known.n_spins, known.structures
        if known.soc != spectra.soc:
            raise DataError(
                f"{path}: soc: expected spectra {'with' if spectra.soc else 'without'} spin-orbit coupling, "
                f"found some {'with' if known.soc else 'without'}; compare spectra of the same kind"
            )
    else:
        n_spins = 1 if config.soc else int(store.attributes.get("spins", 1))
        structures = reader.structures
    pairs = match(spectra.structures, structures, f"spectra against {path}", partly=True)
    if n_spins != spectra.n_spins:
        raise DataError(
            f"{path}: expected {spectra.n_spins} spin channels as in the spectra, found {n_spins}; name a "
            "reference with the same setting of spin"
        )
    mine, shared = map(list, zip(*pairs, strict=True))
    spectra = spectra.select(mine)
    if reader is None:
        return spectra, known.select(shared)
    workers: Executor = executor or Local()
    found: dict[int, Spectrum] = {}
    tasks = _tasks(reader, shared, config, _share(None, workers, len(shared)))
    for index, result in workers.run(one_spectrum, tasks):
        if isinstance(result, Failure):
            raise DataError(f"{path}: {reader.names[index]}: {result}")
        found[index] = result
    reference = [found[index] for index in shared]
    origin = origin_of(store.history)
    return spectra, gather(structures.select(shared), config, reference, origin)


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
    spinor = config.soc or reader.spinor
    n_orbitals = int(reader.basis.n_orbitals(atoms.numbers).sum()) * (2 if spinor else 1)
    doubled = 2 * kpoints_for(atoms, config).points
    real = bool(np.all(doubled == np.round(doubled))) and not spinor
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
