"""A model store gives back what went in, and refuses what it is not."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from gh_tools.errors import DataError, NoInputError
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.trained_model.config import NetworkConfig
from gh_tools.trained_model.store import load_model, save_model

PARAMS = {"params": {"layer": {"kernel": np.arange(6.0).reshape(2, 3)}, "scale": np.ones(2)}}
OTHER = {"params": {"layer": {"kernel": np.zeros((2, 3))}, "scale": np.zeros(2)}}


@pytest.fixture
def path(tmp_path, inputs, make_config):
    partial = PartialStore(tmp_path / "m.model.zarr", Provenance("gh-train", inputs=inputs.stores))
    return save_model(
        partial,
        basis=inputs.basis,
        scaleshift=inputs.scaleshifts["global"],
        split=inputs.split,
        names=inputs.names,
        params={"hamiltonian": PARAMS, "eigenvalue": OTHER},
        history={"loss": np.array([2.0, 1.0])},
        attributes={"config": make_config().model_dump(mode="json")},
    )


def test_what_goes_in_comes_out(path, inputs, make_config):
    model = load_model(path)
    assert model.config == NetworkConfig.of_training(make_config().model_dump(mode="json"))
    assert model.basis == inputs.basis
    np.testing.assert_array_equal(
        model.params["params"]["layer"]["kernel"], PARAMS["params"]["layer"]["kernel"]
    )
    assert load_model(path, best="eigenvalue").params["params"]["scale"].sum() == 0
    distance = np.array([2.5, 4.0])
    for found, wanted in zip(
        model.scaleshift.pairs(np.array([0, 1]), distance),
        inputs.scaleshifts["global"].pairs(np.array([0, 1]), distance),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    store = open_store(path, "model")
    assert store["split/train_name"].tolist() == inputs.names[:2]
    assert store["history/loss"].tolist() == [2.0, 1.0]
    assert not path.with_name(path.name + ".partial").exists()


def test_what_is_no_model_is_refused(path, tiny_scaleshift, tmp_path):
    with pytest.raises(NoInputError):
        load_model(tmp_path / "nothing.zarr")
    with pytest.raises(DataError, match="expected a store of kind model"):
        load_model(tiny_scaleshift)
    zarr.open_group(path).attrs["config"] = {"model": {"model": "another"}}
    with pytest.raises(DataError, match="config describes no network"):
        load_model(path)
