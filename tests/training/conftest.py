"""Samples of real labels for a small network."""

from __future__ import annotations

import pytest


def maker_of(inputs, model):
    """What makes samples of labels for a network."""
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.training.data.samples import SampleMaker

    scaleshift = inputs.scaleshifts[model.frame]
    return SampleMaker(IrrepLayout(inputs.basis), scaleshift, model.cutoffs(inputs.basis))


def samples_of(inputs, maker):
    """Samples of all labels."""
    from gh_tools.labels.labels import read_labels

    labels = read_labels(inputs.readers, range(4))
    return [
        maker.labelled(maker(label, name), label)
        for label, name in zip(labels, inputs.names, strict=True)
    ]


@pytest.fixture(scope="session")
def maker(inputs, make_config):
    """What makes samples of labels."""
    return maker_of(inputs, make_config().model)


@pytest.fixture(scope="session")
def samples(inputs, maker):
    """Samples of all labels."""
    return samples_of(inputs, maker)


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
