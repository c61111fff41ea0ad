"""Labels for many structures: one store, each structure safe as soon as it is finished."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import ase

from gh_tools.console import log, progress
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.charged import charged
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.forecast import warn_of_gamma
from gh_tools.dft.scf import label_structure
from gh_tools.dft.start import starts_in
from gh_tools.errors import CannotCreateError, NoInputError
from gh_tools.orbitals.basis import Basis
from gh_tools.store.hamiltonian_parts import hamiltonian_to_part
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures
from gh_tools.workers.processes import Processes
from gh_tools.workers.task import Executor


def label_structures(
    path: Path,
    structures: Structures,
    config: LabelConfig,
    provenance: Provenance,
    *,
    starts: Store | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    keep_logs: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path | None, list[dict]]:
    """Label all structures and write a store of kind ``hamiltonians``.

    GPAW's text of structures under way and of failed ones stands in the folder ``NAME.zarr.logs``, and that of
    all where it is asked for.

    Args:
        path: of the store.
        structures: what to label.
        config: the calculation.
        provenance: how the store is being made.
        starts: the store of the structures; where it holds their H, predicted or of other settings, in the same basis,
            self-consistent cycles begin with the densities of those.
        executor: who works; one process of this machine if not given.
        shard: number I of N runs that share the work. They may go on at once, on several machines; none
            of them joins the store: a last run with ``resume`` does.
        keep_logs: whether to keep GPAW's text of structures that went well, too.
        resume: keep what an earlier run finished; failed structures are tried again.
        overwrite: discard it.

    Returns:
        The path (None of a shard), and the failures of these structures: index, name and reason of each.

    Raises:
        CannotCreateError: something is at ``path`` or where its logs would be.
        DataError: a charge is not known, contradicts the configuration, or cannot be.
        NoInputError: there are no structures.
        TryAgainError: not one structure was finished, or nobody is left to do it.
    """
    if not len(structures):
        raise NoInputError("there are no structures to label")
    basis = basis_table(config, structures.numbers)
    structures = charged(structures, config.charge, basis)
    charges = structures.charges
    shared = shard[1] > 1
    logs = path.absolute().with_name(path.name + ".logs")
    if logs.is_symlink():
        raise CannotCreateError(
            f"{logs}: a symbolic link is where the folder of logs would be, and is not followed; remove it"
        )
    writer = HamiltonianWriter(
        path, structures, provenance, resume=resume, overwrite=overwrite, shared=shared
    )
    if writer.partial.finished:
        return None if shared else path, []
    mine = range(shard[0] - 1, len(structures), shard[1])
    left = [index for index in mine if not writer.done(index)]
    writer.partial.forget_failures(left)
    if len(left) < len(mine):
        log.info("%d of %d structures are there already", len(mine) - len(left), len(mine))
    warn_of_gamma([structures.atoms[index] for index in left], config)
    logs.mkdir(exist_ok=True)
    known = (
        starts.path.absolute()
        if starts is not None and left and starts_in(starts, config, basis)
        else None
    )
    tasks = [
        (index, (parts, index, structures.atoms[index], own, basis, file, known, keep_logs))
        for parts in [writer.partial.parts]
        for index in left
        for own in [config.model_copy(update={"charge": float(charges[index])})]
        for file in [logs / _log_name(structures.names[index], index)]
    ]
    with progress("labelling", len(tasks)) as shown:
        for index, result in (executor or Processes(1)).run(label_part, tasks):
            writer.partial.record_outcome(index, structures.names[index], result)
            shown.advance()
    failures = [failure for failure in writer.partial.failures() if failure["index"] in mine]
    if shared:
        return None, failures
    path = writer.publish(basis, _attributes(config, basis))
    if not any(logs.iterdir()):
        logs.rmdir()
    return path, failures


def _log_name(name: str, index: int) -> str:
    """Name of the file for GPAW's text: the structure's where that can be one, else with its number."""
    plain = re.sub(r"[^\w.+=@-]", "_", name)[:60].lstrip(".")
    return f"{name}.txt" if plain == name else f"{index}-{plain}.txt"


def label_part(
    parts: Parts,
    index: int,
    atoms: ase.Atoms,
    config: LabelConfig,
    basis: Basis,
    text: Path,
    starts: Path | None = None,
    keep_text: bool = False,
) -> None:
    """Label one structure into the unfinished store.

    Args:
        parts: of the unfinished store.
        index: of the structure.
        atoms: the structure.
        config: the calculation, with the charge of this structure.
        basis: the basis table.
        text: file for GPAW's own text; removed if all goes well, unless it is to be kept.
        starts: the store whose H of the same index the cycle begins from the density of; free atoms' without one.
        keep_text: whether it is.

    Raises:
        DataError: the run did not converge.
        TryAgainError: this machine does not see the unfinished store.
    """
    parts.check()
    if parts.has_part(index):
        return
    start = None if starts is None else HamiltonianReader(starts).read(index)
    result = label_structure(atoms, config, basis, text, start)
    if result is not None:
        parts.write_part(index, hamiltonian_to_part(result))
        if not keep_text:
            text.unlink(missing_ok=True)


def _attributes(config: LabelConfig, basis: Basis) -> dict:
    cutoffs: Sequence = [
        (f"{zi}-{zj}", min(basis.pair_range(zi, zj), config.pair_cutoff or float("inf")))
        for zi, zj in basis.species_pairs()
    ]
    return {
        "predicted": False,
        "spins": 2 if config.spin == "collinear" else 1,
        "label": config.model_dump(mode="json"),
        "cutoffs": dict(cutoffs),
        "threshold": config.threshold,
    }
