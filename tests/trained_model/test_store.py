"""A model store gives back what went in, and refuses what it is not."""

from __future__ import annotations

import shutil

import jax
import numpy as np
import pytest
import zarr

from gh_tools.errors import DataError, NoInputError
from gh_tools.model.build import build_model
from gh_tools.model.graph import build_graph
from gh_tools.model.initial import draw_weights
from gh_tools.model.last_layer import GRAMS, LastLayerPosterior
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.config import NetworkConfig
from gh_tools.trained_model.packing import pack_model
from gh_tools.trained_model.shipped import model_path, read_card
from gh_tools.trained_model.store import load_model, save_model
from tests.conftest import SMALL
from tests.faults.mutate import seal


@pytest.fixture
def weights(inputs, make_config):
    """Weights of the network that the configuration describes."""
    network, basis = make_config(model=SMALL).model, inputs.basis
    atoms = inputs.readers[0].structures.atoms[0]
    graph = build_graph(atoms, basis, network.cutoffs(basis))
    return draw_weights(build_model(network, basis), graph, 0)


def last_layers(weights):
    """Two members of a shallow ensemble."""
    readout = weights["params"]["pair_readout"]
    return {"pair_readout": jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), readout)}


@pytest.fixture
def path(tmp_path, inputs, make_config, weights):
    other = jax.tree.map(np.zeros_like, weights)
    partial = PartialStore(tmp_path / "m.model.zarr", Provenance("gh-train", inputs=inputs.stores))
    return save_model(
        partial,
        basis=inputs.basis,
        scaleshift=inputs.scaleshifts["global"],
        split=inputs.split,
        structures=inputs.structures,
        params={"hamiltonian": weights, "eigenvalue": other},
        history={"loss": np.array([2.0, 1.0])},
        attributes={"config": make_config(model=SMALL).model_dump(mode="json")},
        last_layers=last_layers(weights),
        calibration=Calibration(
            {
                z: np.full(irreps.size, 2.0)
                for z, irreps in IrrepLayout(inputs.basis).onsite.items()
            },
            spectra={"shift": 3.0, "eigenvalues": 4.0},
        ),
    )


def test_what_goes_in_comes_out(path, inputs, make_config, weights):
    model = load_model(path)
    assert model.config == NetworkConfig.of_training(
        make_config(model=SMALL).model_dump(mode="json")
    )
    assert model.basis == inputs.basis
    jax.tree.map(np.testing.assert_array_equal, model.params, weights)
    jax.tree.map(np.testing.assert_array_equal, model.last_layers, last_layers(weights))
    assert all((factor == 2.0).all() for factor in model.calibration.onsite.values())
    assert all((factor == 1.0).all() for factor in model.calibration.pairs.values())
    assert model.calibration.spectra == {"shift": 3.0, "eigenvalues": 4.0}
    assert not any(map(np.any, jax.tree.leaves(load_model(path, best="eigenvalue").params)))
    distance = np.array([2.5, 4.0])
    for found, wanted in zip(
        model.scaleshift.pairs(np.array([0, 1]), distance),
        inputs.scaleshifts["global"].pairs(np.array([0, 1]), distance),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    store = open_store(path, "model")
    assert store["structures/name"].tolist() == inputs.names
    assert store["history/loss"].tolist() == [2.0, 1.0]
    assert not path.with_name(path.name + ".partial").exists()


def test_a_model_of_an_earlier_version_has_one_factor_of_all_blocks(random_model, tmp_path):
    path = tmp_path / "m.model.zarr"
    shutil.copytree(random_model, path)
    factors = {"onsite": 2.0, "pairs": 3.0, "shift": 4.0}
    zarr.open_group(path).attrs["calibration"] = factors
    seal(path)
    found = load_model(path).calibration
    assert {float(factor) for table in found.onsite.values() for factor in table} == {2.0}
    assert {float(factor) for table in found.pairs.values() for factor in table.flat} == {3.0}
    assert found.spectra == {"shift": 4.0}


def test_what_is_no_model_is_refused(path, tiny_scaleshift, tmp_path):
    with pytest.raises(NoInputError):
        load_model(tmp_path / "nothing.zarr")
    with pytest.raises(DataError, match="expected a store of kind model"):
        load_model(tiny_scaleshift)
    zarr.open_group(path).attrs["config"] = {"model": {"model": "another"}}
    seal(path)
    with pytest.raises(DataError, match="config describes no network"):
        load_model(path)


def test_weights_of_another_network_are_refused(path):
    group = zarr.open_group(path)
    key = next(key for key in open_store(path).keys("parameters/") if key.endswith("kernel"))
    values = group[key][...]
    del group[key]
    group.create_array(key, data=values[..., :-1], config={"write_empty_chunks": True})
    seal(path)
    with pytest.raises(DataError, match=rf"{key}: expected weights of shape .* found"):
        load_model(path)
    del group[key]
    seal(path)
    with pytest.raises(DataError, match=rf"{key}: expected weights of shape .* found none"):
        load_model(path)


def test_last_layers_of_another_network_are_refused(path):
    group = zarr.open_group(path)
    values = group["last_layers/pair_readout/kernel"][...]
    for wrong in (values[..., :-1], values[:1]):
        del group["last_layers/pair_readout/kernel"]
        group.create_array(
            "last_layers/pair_readout/kernel", data=wrong, config={"write_empty_chunks": True}
        )
        seal(path)
        with pytest.raises(
            DataError, match=r"last_layers/pair_readout/.*: expected weights of two"
        ):
            load_model(path)
    del group["last_layers/pair_readout/kernel"]
    seal(path)
    with pytest.raises(DataError, match="lacks last_layers/pair_readout/kernel"):
        load_model(path)


@pytest.fixture
def with_posterior(tmp_path, inputs, make_config, weights):
    """A model with so many members that what they are drawn from is smaller; and its last layers."""
    config = make_config(model=SMALL)
    atoms = inputs.readers[0].structures.atoms[0]
    graph = build_graph(atoms, inputs.basis, config.model.cutoffs(inputs.basis))
    network = build_model(config.model, inputs.basis)
    grams = network.apply(jax.device_put(weights), jax.device_put(graph), mutable=[GRAMS])[1][GRAMS]
    grams = jax.tree.map(lambda one: np.asarray(one, float), grams)
    noise = dict.fromkeys(("onsite_readout", "pair_readout"), 0.1)
    posterior = LastLayerPosterior.of(grams, noise, 60, seed=3)
    drawn = posterior.draw(network, weights)
    partial = PartialStore(tmp_path / "p.model.zarr", Provenance("gh-train", inputs=inputs.stores))
    path = save_model(
        partial,
        basis=inputs.basis,
        scaleshift=inputs.scaleshifts["global"],
        split=inputs.split,
        structures=inputs.structures,
        params={"hamiltonian": weights},
        history={"loss": np.array([1.0])},
        attributes={"config": config.model_dump(mode="json")},
        last_layers=drawn,
        posterior=posterior,
    )
    return path, drawn


def test_last_layers_that_are_left_out_are_drawn_again(with_posterior):
    path, drawn = with_posterior
    group = zarr.open_group(path)
    assert set(group["grams"]) == {"onsite_readout", "pair_readout"}
    for name in group["grams"]:
        del group[f"last_layers/{name}"]
    seal(path)
    jax.tree.map(np.testing.assert_array_equal, load_model(path).last_layers, drawn)


def test_a_file_of_a_model_has_what_its_members_are_drawn_from(with_posterior, tmp_path):
    path, drawn = with_posterior
    file = tmp_path / "p.zip"
    pack_model(open_store(path), file, read_card("wse2"), Provenance("test"))
    kept = open_store(model_path(file))
    assert kept.keys("grams/") and not kept.keys("last_layers/")
    for found, wanted in zip(
        jax.tree.leaves(load_model(kept).last_layers), jax.tree.leaves(drawn), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_grams_of_another_network_are_refused(with_posterior):
    path, _ = with_posterior
    group = zarr.open_group(path)
    del group["last_layers"]
    seal(path)
    key = next(key for key in open_store(path).keys("grams/") if key.endswith("cosine"))
    values = group[key][...]
    del group[key]
    group.create_array(key, data=values[..., :-1], config={"write_empty_chunks": True})
    seal(path)
    with pytest.raises(DataError, match="grams/ and the attribute last_layers are not those"):
        load_model(path)
    del group[key]
    group.create_array(key, data=values, config={"write_empty_chunks": True})
    del group.attrs["last_layers"]
    seal(path)
    with pytest.raises(DataError, match="grams/ and the attribute last_layers are not those"):
        load_model(path)
    group.attrs["last_layers"] = {"members": 10**9, "seed": 0, "noise": {}}
    seal(path)
    with pytest.raises(DataError, match="found 1000000000"):
        load_model(path)
