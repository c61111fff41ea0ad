"""Labels for many structures: one store, each structure safe as soon as it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gh_tools.console import log, progress
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import label
from gh_tools.errors import NoInputError
from gh_tools.orbitals.basis import Basis
from gh_tools.store.hamiltonians import HamiltonianWriter
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures
from gh_tools.workers import Failure, run_tasks


def label_structures(
    path: Path,
    structures: Structures,
    config: LabelConfig,
    provenance: Provenance,
    *,
    n_workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path, list[dict]]:
    """Label all structures and write a store of kind ``hamiltonians``.

    GPAW's text of structures under way and of failed ones stands in the folder ``NAME.zarr.logs``.

    Args:
        path: of the store.
        structures: what to label.
        config: the calculation.
        provenance: how the store is being made.
        n_workers: structures worked on at once.
        resume: keep what an earlier run finished; failed structures are tried again.
        overwrite: discard it.

    Returns:
        The path, and the failures: index, name and reason of each.

    Raises:
        NoInputError: there are no structures.
        TryAgainError: not one structure was finished.
    """
    if not len(structures):
        raise NoInputError("there are no structures to label")
    basis = basis_table(config, structures.numbers)
    writer = HamiltonianWriter(path, structures, provenance, resume=resume, overwrite=overwrite)
    writer.partial.forget_failures()
    logs = path.with_name(path.name + ".logs")
    tasks = {
        index: (atoms, config, basis, logs / f"{name.replace('/', '_')}.txt")
        for index, (atoms, name) in enumerate(zip(structures.atoms, structures.names, strict=True))
        if not writer.done(index)
    }
    if len(tasks) < len(structures):
        log.info(
            "%d of %d structures are there already", len(structures) - len(tasks), len(structures)
        )
    if resume and not tasks and path.exists():
        writer.partial.discard()  # all is there, and an unchanged store keeps its date
        return path, []
    logs.mkdir(exist_ok=True)
    with progress("labelling", len(tasks)) as shown:
        for index, result in run_tasks(label, tasks, min(n_workers, len(tasks))):
            if isinstance(result, Failure):
                log.error("%s failed: %s", structures.names[index], result)
                writer.fail(index, str(result))
            else:
                writer.write(index, result)
                tasks[index][-1].unlink(missing_ok=True)
            shown.advance()
    failures = writer.partial.failures()
    path = writer.publish(basis, _attributes(config, basis))
    if not any(logs.iterdir()):
        logs.rmdir()
    return path, failures


def _attributes(config: LabelConfig, basis: Basis) -> dict:
    cutoffs: Sequence = [
        (f"{zi}-{zj}", min(basis.pair_cutoff(zi, zj), config.pair_cutoff or float("inf")))
        for zi, zj in basis.species_pairs()
    ]
    return {
        "predicted": False,
        "spins": 2 if config.spin == "collinear" else 1,
        "label": config.model_dump(mode="json"),
        "cutoffs": dict(cutoffs),
        "threshold": config.threshold,
    }
