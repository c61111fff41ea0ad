"""What a model must share with the labels that it is fine-tuned to."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.basis import Basis, Shell
from gh_tools.trained_model.store import load_model
from gh_tools.training.config import TrainConfig
from gh_tools.training.parent import continue_from, defaults
from gh_tools.training.weights import load_weights


@pytest.fixture(scope="module")
def parent(random_model):
    return load_model(random_model)


@pytest.fixture(scope="module")
def config(parent):
    return TrainConfig.model_validate(defaults(parent))


def with_basis(inputs, basis):
    """The inputs as if their labels had another basis table."""
    reader = copy.copy(inputs.readers[0])
    reader.basis = basis
    return dataclasses.replace(inputs, readers=[reader], basis=basis)


def test_a_run_starts_with_the_parents_network_scales_and_weights(
    inputs, parent, config, random_model
):
    assert config.model == parent.config.model
    assert config.optimizer.learning_rate < TrainConfig().optimizer.learning_rate
    found = continue_from(inputs, Path(random_model), parent, config)
    assert found.weights is parent.params
    assert found.scaleshifts == {"global": parent.scaleshift}
    assert [store.kind for store in found.stores] == ["scaleshift", "hamiltonians", "model"]


def test_labels_of_fewer_elements_keep_the_parents_table(inputs, parent, config, random_model):
    only_w = Basis({74: inputs.basis[74]})
    found = continue_from(with_basis(inputs, only_w), Path(random_model), parent, config)
    assert found.basis.numbers == (34, 74)


def test_an_element_that_the_parent_does_not_know_is_named(inputs, parent, config, random_model):
    mo = dataclasses.replace(inputs.basis[74], number=42)
    with pytest.raises(DataError, match="knows Se, W, but the labels also hold Mo"):
        continue_from(
            with_basis(inputs, Basis({42: mo, 34: inputs.basis[34]})),
            *(Path(random_model), parent, config),
        )


def test_another_basis_of_an_element_is_named(inputs, parent, config, random_model):
    shells = (*inputs.basis[34].shells, Shell(2, 3.0))
    basis = Basis({34: dataclasses.replace(inputs.basis[34], shells=shells)})
    with pytest.raises(DataError, match="basis of Se differs in shells"):
        continue_from(with_basis(inputs, basis), Path(random_model), parent, config)


def test_spins_and_networks_must_agree(inputs, parent, config, random_model):
    with pytest.raises(DataError, match="expected 2 spin channels"):
        spins = dataclasses.replace(inputs, n_spins=2)
        continue_from(spins, Path(random_model), parent, config)
    with pytest.raises(UsageError, match=r"model\.model"):
        continue_from(inputs, Path(random_model), parent, TrainConfig())


def test_weights_come_in_the_precision_of_the_run(parent):
    drawn = jax.tree.map(lambda w: np.zeros(w.shape, np.float64), parent.params)
    loaded = load_weights(drawn, parent.params)
    for own, given in zip(jax.tree.leaves(loaded), jax.tree.leaves(parent.params), strict=True):
        assert own.dtype == np.float64
        np.testing.assert_array_equal(own, given)
    with pytest.raises(DataError, match="do not fit"):
        load_weights({"params": {"other": np.zeros(3)}}, parent.params)
