"""From structures and a model to a store of predicted Hamiltonians."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np

from gh_tools.console import progress
from gh_tools.dft.overlap import overlap
from gh_tools.inference.predict import Predictor
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonians import HamiltonianWriter
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures


def predict_structures(
    predictor: Predictor,
    structures: Structures,
    output: Path,
    provenance: Provenance,
    *,
    n_workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Predict H, compute S, and write a store of kind ``hamiltonians``.

    Args:
        predictor: the model.
        structures: of any size; the model must know their elements.
        output: where the store will appear.
        provenance: how it is being made.
        n_workers: structures at once; each adds its blocks to the memory that is needed.
        resume: keep what an interrupted run finished.
        overwrite: replace what is there.

    Returns:
        The path.

    Raises:
        CannotCreateError: something is at ``output``.
        DataError: a PAW setup of the basis table is not this machine's.
    """
    writer = HamiltonianWriter(output, structures, provenance, resume=resume, overwrite=overwrite)

    def work(index: int) -> None:
        hamiltonian = with_overlap(predictor.predict(structures.atoms[index]))
        writer.write(index, hamiltonian)

    todo = [index for index in range(len(structures)) if not writer.done(index)]
    with progress("predicting", len(todo)) as shown, ThreadPoolExecutor(n_workers) as pool:
        try:
            for done in as_completed([pool.submit(work, index) for index in todo]):
                done.result()
                shown.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    attributes = {
        "predicted": True,
        "spins": predictor.layout.n_spins,
        "cutoffs": {f"{zi}-{zj}": r for (zi, zj), r in predictor.pair_cutoffs.items()},
    }
    return writer.publish(predictor.basis, attributes)


def with_overlap(hamiltonian: Hamiltonian) -> Hamiltonian:
    """Add S, computed from the basis table for the same blocks.

    Args:
        hamiltonian: H(R) of a structure.

    Returns:
        H(R) and S(R), both in single precision.
    """
    places = {key: (b.i, b.j, b.shift) for key, b in hamiltonian.pairs.items()}
    onsite, pairs = overlap(hamiltonian.atoms, hamiltonian.basis, places)
    return replace(
        hamiltonian,
        onsite={
            key: replace(blocks, overlap=onsite[key].astype(np.float32))
            for key, blocks in hamiltonian.onsite.items()
        },
        pairs={
            key: replace(blocks, overlap=pairs[key].astype(np.float32))
            for key, blocks in hamiltonian.pairs.items()
        },
    )
