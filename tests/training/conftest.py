"""Samples of real labels for the smallest network of the paper's kind."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def maker(inputs, make_config):
    """What makes samples of labels."""
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.training.data.samples import SampleMaker

    model = make_config().model
    return SampleMaker(
        IrrepLayout(inputs.basis),
        inputs.scaleshifts["global"],
        model.cutoffs(inputs.basis),
    )


@pytest.fixture(scope="session")
def samples(inputs, maker):
    """Samples of all labels."""
    from gh_tools.labels.labels import read_labels

    labels = read_labels(inputs.readers, range(4))
    return [
        maker.labelled(maker(label, name), label)
        for label, name in zip(labels, inputs.names, strict=True)
    ]


@pytest.fixture(scope="session")
def make_training(maker, samples, tmp_path_factory):
    """A function that makes a run on two structures, validated with the other two."""
    from gh_tools.trained_model.runtime import configure_jax
    from gh_tools.training.loop import Training

    configure_jax("float32")

    def make(config, directory=None) -> Training:
        directory = directory or tmp_path_factory.mktemp("checkpoints")
        return Training(config, maker.layout, samples[:2], samples[2:], directory)

    return make
