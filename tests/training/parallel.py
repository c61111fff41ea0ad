"""Train on several devices, and with plain batches on one, and print by how much they differ as JSON.

python parallel.py SCALESHIFT FOLDER PRECISION; a script, because devices are set up before JAX starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np

from gh_tools.labels.labels import read_labels
from gh_tools.model.build import build_model
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.trained_model.runtime import configure_jax
from gh_tools.training.config import TrainConfig
from gh_tools.training.data.batches import collate, make_buckets, plan_epoch, sizes_of
from gh_tools.training.data.labelled import LabelledSamples
from gh_tools.training.data.samples import SampleMaker
from gh_tools.training.devices import join_processes
from gh_tools.training.inputs import open_inputs
from gh_tools.training.loop import Training
from gh_tools.training.optimizers import build_optimizer
from gh_tools.training.step import initial_state, make_step

RATE, EPOCHS = 0.02, 3
NETWORK = {
    "model": "gears-h",
    "atom_centered": {"n_tensor_dense": 0, "radial_basis": {"n_radial": 4}},
    "bond_centered": {"n_radial": 4, "features": 4},
    "mlp": {"layers": [4]},
}


def main(scaleshift: str, folder: str, precision: str) -> None:
    join_processes()
    configure_jax(precision)
    config = TrainConfig.model_validate(
        {
            "model": NETWORK,
            "data": {"batch_size": 2, "bucket_count": 1},
            "optimizer": {"name": "adam", "learning_rate": RATE},
            "schedule": {"name": "constant"},
            "metrics": {"interval": 1, "eigenvalue_interval": None},
            "epochs": EPOCHS,
            "checkpoint_interval": "1h",
            "precision": precision,
        }
    )
    inputs = open_inputs(Path(scaleshift))
    layout = IrrepLayout(inputs.basis, inputs.n_spins)
    maker = SampleMaker(
        layout,
        inputs.scaleshifts["global"],
        config.model.cutoffs(inputs.basis),
        config.loss.scale_power,
        np.dtype(precision).type,
    )
    labels = list(read_labels(inputs.readers, range(4)))
    samples = [maker(label, name) for label, name in zip(labels, inputs.names, strict=True)]
    # Three structures in batches of two: the second batch leaves one device without any.
    train, rest = samples[:3], samples[3:]
    validation = LabelledSamples(rest, lambda index: labels[3 + index], maker, 2**30)

    training = Training(config, layout, train, validation, Path(folder))
    graph = collate(train[:1], training.buckets[0].size).graph
    outcome = training.run()
    if not training.devices.is_first:
        return

    model = build_model(config.model, layout.basis)
    optimizer = build_optimizer(config.optimizer, config.schedule, 2)
    step = make_step(model, optimizer, config.loss, 0.0)
    state = initial_state(model, optimizer, graph, config.seed, 0.0)
    buckets = make_buckets(sizes_of(train), 2, 1)
    losses = []
    for epoch in range(EPOCHS):
        plan = plan_epoch(buckets, 2, config.seed, epoch)
        parts = []
        for size, members in plan:
            state, loss = step(state, collate([train[m] for m in members], size), RATE)
            parts.append(float(loss))
        losses.append(float(np.mean(parts)))
    leaves = zip(jax.tree.leaves(training.state.params), jax.tree.leaves(state.params), strict=True)
    found = {
        "devices": training.devices.count,
        "processes": jax.process_count(),
        "steps": outcome.steps,
        "weights": max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in leaves),
        "loss": max(
            abs(record["loss"] / expected - 1)
            for record, expected in zip(outcome.history[1:], losses, strict=True)
        ),
        "checkpoints": sorted(path.name for path in Path(folder).iterdir()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
