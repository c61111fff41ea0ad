"""The smallest network of the paper's kind, and samples of real labels for it."""

from __future__ import annotations

import pytest

from gh_tools.training.config import TrainConfig

SMALL = {
    "model": "gears-h",
    "atom_centered": {"n_tensor_dense": 0, "radial_basis": {"n_radial": 4}},
    "bond_centered": {"n_radial": 4, "features": 4},
    "mlp": {"layers": [4]},
}


@pytest.fixture(scope="session")
def make_config():
    """A function that makes a configuration with the smallest network."""

    def make(**values) -> TrainConfig:
        defaults = {
            "model": SMALL,
            "data": {"bucket_count": 1},
            "optimizer": {"name": "adam", "learning_rate": 0.02},
            "schedule": {"name": "constant"},
            "metrics": {"interval": 1, "eigenvalue_interval": None},
        }
        return TrainConfig.model_validate(defaults | values)

    return make


@pytest.fixture(scope="session")
def inputs(tiny_scaleshift):
    """The opened stores."""
    from gh_tools.training.run import open_inputs

    return open_inputs(tiny_scaleshift)


@pytest.fixture(scope="session")
def maker(inputs, make_config):
    """What turns labels into samples."""
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.training.batches import SampleMaker

    model = make_config().model
    return SampleMaker(
        IrrepLayout(inputs.basis),
        inputs.scaleshifts["global"],
        model.descriptor_cutoff(inputs.basis),
        model.pair_cutoffs(inputs.basis),
    )


@pytest.fixture(scope="session")
def samples(inputs, maker):
    """Samples of all labels."""
    from gh_tools.training.scaleshift import read_structures

    labels = read_structures(inputs.readers, range(4))
    return [
        maker.labelled(maker(label, name), label)
        for label, name in zip(labels, inputs.names, strict=True)
    ]


@pytest.fixture(scope="session")
def make_training(maker, samples, tmp_path_factory):
    """A function that makes a run on two structures, validated with the other two."""
    from gh_tools.training.loop import Training
    from gh_tools.training.step import configure_jax

    configure_jax("float32")

    def make(config, directory=None) -> Training:
        directory = directory or tmp_path_factory.mktemp("checkpoints")
        return Training(config, maker.layout, samples[:2], samples[2:], directory)

    return make
