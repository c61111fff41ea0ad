"""From label stores and a scale-shift to a model store."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from ase.data import chemical_symbols

from gh_tools.console import log, track
from gh_tools.labels.labels import read_labels
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.resources import free_memory
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import partial_path
from gh_tools.trained_model.environments import Environments
from gh_tools.trained_model.runtime import configure_jax
from gh_tools.trained_model.store import save_model
from gh_tools.training.config import TrainConfig
from gh_tools.training.data.cache import CachedSamples, cached_samples
from gh_tools.training.data.labelled import LabelledSamples
from gh_tools.training.data.samples import Sample, SampleMaker
from gh_tools.training.devices import Devices
from gh_tools.training.environments import learn_environments
from gh_tools.training.inputs import Inputs
from gh_tools.training.loop import Training
from gh_tools.training.outcome import Outcome
from gh_tools.training.report import error_table, thin_clock
from gh_tools.units import MEV

# One part in so many of the free memory holds labels of the validation set; others are read again.
_SHARE_OF_MEMORY = 4


def train_model(
    inputs: Inputs,
    config: TrainConfig,
    output: Path,
    provenance: Provenance,
    *,
    resume: bool = False,
    overwrite: bool = False,
    started: float | None = None,
) -> tuple[Path, Outcome | None]:
    """Train a model and publish it.

    Args:
        inputs: labels, scale-shift and split.
        config: everything else that decides the run.
        output: where the model store will appear.
        provenance: how it is being made.
        resume: go on from the last checkpoint.
        overwrite: replace what is there.
        started: ``time.monotonic()`` when the clock of the budget began; now if not given.

    Returns:
        The path and what training gave; None instead where a run to be resumed had finished. Of several processes that train together, the first one writes.

    Raises:
        CannotCreateError: something is at ``output`` and neither was asked for.
        KeyboardInterrupt: asked to stop; ``resume`` goes on from there.
    """
    started = time.monotonic() if started is None else started
    configure_jax(config.precision)
    devices = Devices(config.data.batch_size)
    directory = partial_path(output)
    if devices.is_first:
        partial = PartialStore(output, provenance, resume=resume, overwrite=overwrite)
    # The others do not look for themselves: the first process may have begun the directory by then.
    if devices.agree(np.array([devices.is_first and partial.finished], dtype=float))[0]:
        return output, None
    layout = IrrepLayout(inputs.basis, inputs.n_spins)
    scaleshift = inputs.scaleshifts[config.model.frame]
    maker = SampleMaker(
        layout,
        scaleshift,
        config.model.cutoffs(inputs.basis),
        config.loss.scale_power,
        np.dtype(config.precision).type,
    )
    train = load_samples(inputs, maker, "train", eigenvalues=config.loss.eigenvalues > 0)
    validation = load_samples(inputs, maker, "validation")
    dropped = max(float(sample.dropped) for part in (train, validation) for sample in part)
    room = free_memory() // _SHARE_OF_MEMORY

    def labelled(samples: Sequence[Sample], indices: np.ndarray) -> LabelledSamples:
        def read(index: int) -> Hamiltonian:
            return next(read_labels(inputs.readers, indices[index : index + 1]))

        return LabelledSamples(samples, read, maker, room // 2)

    training_subset = [train[index] for index in range(min(len(train), len(validation)))]
    if dropped > 0.0:
        # Tails that projectors of a third atom carry are there in every label, and far below any
        # model's error; a cutoff that is too short costs more than a meV.
        log.log(
            logging.WARNING if MEV * dropped > 1.0 else logging.INFO,
            "pairs beyond the model's pair cutoff are taken as zero: up to %.3g meV is lost",
            MEV * dropped,
        )
    training = Training(
        config,
        layout,
        train,
        labelled(validation, inputs.split.validation),
        directory / "checkpoints",
        started,
        devices,
        labelled(training_subset, inputs.split.train),
        inputs.weights,
    )
    outcome = training.run()
    if not devices.is_first:
        return output, outcome
    notes = {
        "seconds": round(outcome.seconds, 3),
        "clock": thin_clock(outcome.history, outcome.clock),
        "devices": f"{devices.count} {jax.devices()[0].device_kind}",
    }
    partial.provenance = dataclasses.replace(provenance, notes=notes)
    path = save_model(
        partial,
        basis=inputs.basis,
        scaleshift=scaleshift,
        split=inputs.split,
        structures=inputs.structures,
        params=outcome.params,
        history=history_columns(outcome.history),
        domain=dataclasses.replace(
            inputs.domain, environments=_environments(inputs, config, layout, outcome)
        ),
        last_layers=outcome.last_layers,
        posterior=outcome.posterior,
        calibration=outcome.calibration,
        attributes={
            "config": config.model_dump(mode="json"),
            "spins": inputs.n_spins,
            "charges": inputs.charges,
            "species": [chemical_symbols[number] for number in inputs.basis.numbers],
            "n_parameters": outcome.n_parameters,
            "steps": outcome.steps,
            "validation": outcome.metrics,
            "best": outcome.best,
            "errors": error_table(outcome.errors),
            "lost_beyond_cutoff_mev": MEV * dropped,
            "cutoffs": label_cutoffs(inputs.readers),
        },
    )
    return path, outcome


def _environments(
    inputs: Inputs, config: TrainConfig, layout: IrrepLayout, outcome: Outcome
) -> Environments | None:
    """Learn the environments of the training set, and of what a parent was trained on; None where that is not known."""
    if inputs.inherited is None:
        log.info("it is not known what all was trained on: environments are not stored")
        return None
    chosen = [
        inputs.structures.select(part).atoms
        for part in (inputs.split.train, inputs.split.validation)
    ]
    return learn_environments(
        config.model,
        layout,
        outcome.params["hamiltonian"],
        [*chosen[0], *inputs.inherited],
        chosen[1],
        config.ensemble,
        np.dtype(config.precision).type,
    )


def load_samples(
    inputs: Inputs,
    maker: SampleMaker,
    part: str,
    cache: Path | None = None,
    eigenvalues: bool = False,
) -> CachedSamples:
    """Find the samples of a part of the split in the cache, or make them of the labels.

    Args:
        inputs: labels, scale-shift and split.
        maker: makes samples of labels.
        part: ``train``, ``validation`` or ``test``.
        cache: folder; the user's cache if not given.
        eigenvalues: whether the loss counts errors of eigenvalues.
    """
    indices = getattr(inputs.split, part)

    def make() -> Iterator[Sample]:
        labels = track(read_labels(inputs.readers, indices), f"reading {part} labels", len(indices))
        for index, label in zip(indices, labels, strict=True):
            yield maker(label, inputs.names[index], eigenvalues)

    key = {"stores": [store.id for store in inputs.stores], "structures": indices.tolist()}
    return cached_samples({**key, "eigenvalues": eigenvalues, **maker.settings()}, make, cache)


def label_cutoffs(readers: Sequence[HamiltonianReader]) -> dict[str, float]:
    """Return the distance in Å up to which labels hold each species pair ("Zi-Zj"), the least of all."""
    cutoffs: dict[str, float] = {}
    for reader in readers:
        for pair, cutoff in reader.attributes.get("cutoffs", {}).items():
            cutoffs[pair] = min(cutoff, cutoffs.get(pair, cutoff))
    return cutoffs


def history_columns(history: Sequence[dict[str, float]]) -> dict[str, np.ndarray]:
    """Return records as columns, with NaN where a record lacks a metric."""
    names = dict.fromkeys(name for record in history for name in record)
    return {name: np.array([record.get(name, np.nan) for record in history]) for name in names}
