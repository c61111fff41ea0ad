"""Last layers drawn from their posterior against linear regression with the whole Jacobian."""

from __future__ import annotations

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gh_tools.model import last_layer
from gh_tools.model.build import build_model
from gh_tools.model.config import BondFrameConfig, GearsHConfig
from gh_tools.model.graph import build_graph
from gh_tools.model.initial import draw_weights
from gh_tools.model.last_layer import GRAMS, PRIOR, CompactGram, LastLayerPosterior, draw_rows
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from tests.conftest import BOND_FRAME, GEARS_H

DRAWS = 3000


@pytest.fixture(scope="module", params=["bond-frame", "gears-h"])
def network(request):
    """A tiny network, its weights, and a structure with more pairs than it has features."""
    shells = Shell(0, 3.0), Shell(1, 3.0)
    basis = Basis({z: ElementBasis(z, shells, 3.0) for z in (5, 7)})
    atoms = ase.Atoms("B6N6", np.random.default_rng(1).uniform(0, 5.5, (12, 3)))
    of_kind = BondFrameConfig if request.param == "bond-frame" else GearsHConfig
    config = of_kind.model_validate(BOND_FRAME if request.param == "bond-frame" else GEARS_H)
    model = build_model(config, basis)
    graph = build_graph(atoms, basis, config.cutoffs(basis))
    graph = graph._replace(
        vector=graph.vector.astype(np.float32), pair_vector=graph.pair_vector.astype(np.float32)
    )
    return model, jax.device_put(draw_weights(model, graph, 0)), graph


def test_deviations_of_predictions_are_those_of_the_regression(network, monkeypatch):
    model, params, graph = network
    # So little that what is compared hardly depends on it.
    monkeypatch.setattr(last_layer, "PRIOR", 1e-6)
    grams = jax.jit(lambda p: model.apply(p, graph, mutable=[GRAMS])[1][GRAMS])(params)
    grams = jax.tree.map(lambda one: np.asarray(one, float), grams)
    noise = dict.fromkeys(("onsite_readout", "bond_readout", "pair_readout"), 1.0)
    drawn = LastLayerPosterior.of(grams, noise, DRAWS, seed=0).draw(model, params)
    names = sorted(drawn)
    mean = {name: params["params"][name] for name in names}
    back = ravel_pytree(jax.tree.map(np.asarray, mean))[1]
    flatten = jax.jit(lambda member: ravel_pytree(member)[0])
    mean = flatten(mean)

    @jax.jit
    def predict(vector):
        last = back(vector)
        prediction = model.apply({"params": {**params["params"], **last}}, graph)
        return jnp.concatenate([part.ravel() for part in prediction])

    jacobian = np.asarray(jax.jit(jax.jacrev(predict))(mean), float)
    # Linear: what is drawn moves predictions by the Jacobian.
    flat = np.asarray(jax.jit(jax.vmap(flatten))({name: drawn[name] for name in names}))
    deviations = flat.astype(float) - np.asarray(mean, float)
    np.testing.assert_allclose(deviations.mean(axis=0), 0, atol=1e-4 * np.abs(deviations).max())
    np.testing.assert_allclose(
        np.asarray(predict(flat[0])) - np.asarray(predict(mean)),
        jacobian @ deviations[0],
        atol=1e-4 * np.abs(flat[0]).max(),
    )
    found = np.mean((deviations @ jacobian.T) ** 2, axis=0)
    # Leverages: diagonal of J (JᵀJ)⁻¹ Jᵀ, in the directions that the data tell more of than the prior.
    left, values, _ = np.linalg.svd(jacobian, full_matrices=False)
    wanted = np.sum((left * (values > 1e-2 * values[0])) ** 2, axis=1)
    told = np.sum(left[:, values > 1e-5 * values[0]] ** 2, axis=1)
    some = wanted > 0.05
    if "pair_readout" in drawn:
        # Pairs of like atoms, whose weights are read twice, are approximate in this network.
        prediction = jax.jit(model.apply)(params, graph)
        like = np.isin(graph.pair_type, (0, 2))[:, None] & np.ones(prediction.pairs.shape, bool)
        some &= ~np.concatenate([np.zeros(prediction.onsite.size, bool), like.ravel()])
    assert some.sum() > 50
    # 3000 draws: a variance is known to 2.6 %, and the weakest directions are the prior's in part.
    assert np.all(found[some] > 0.85 * wanted[some])
    assert np.all(found[some] < 1.15 * told[some])


def test_rows_have_the_covariance_of_the_inverse(monkeypatch):
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)) @ np.diag([1.0, 10.0, 0.1])
    gram = x.T @ x
    monkeypatch.setattr(last_layer, "PRIOR", 1e-9)
    rows = draw_rows(gram[None], (20000, 1), random)[:, 0]
    wanted = np.linalg.inv(gram)
    unit = np.sqrt(np.diag(wanted))
    # Correlations of 20000 draws are known to 0.01.
    np.testing.assert_allclose(
        np.cov(rows.T) / np.outer(unit, unit), wanted / np.outer(unit, unit), atol=0.05
    )


def test_rounding_moves_eigenvalues_by_less_than_the_prior():
    """Features as alike as those of networks: a third of them are sums of others."""
    random = np.random.default_rng(2)
    x = random.normal(size=(2, 500, 120)) * np.geomspace(1e-3, 1e3, 120)
    x[..., :40] = x[..., 40:80] + x[..., 80:]
    x[1, :, 7] = 0
    gram = x.swapaxes(1, 2) @ x
    found = CompactGram.of(gram)
    assert found.nbytes < 0.3 * gram.astype(np.float32).nbytes
    whole = found.whole()
    # What never occurs has no length, and so no products.
    assert not whole[1, 7].any()
    length = np.sqrt(np.einsum("tff->tf", gram))
    unit = np.where(length > 0, length, 1.0)
    error = (whole - gram) / (unit[:, :, None] * unit[:, None, :])
    assert np.abs(np.linalg.eigvalsh(error)).max() < 0.3 * PRIOR


def test_a_readout_is_drawn_alike_with_others_and_alone(network):
    model, params, graph = network
    grams = jax.jit(lambda p: model.apply(p, graph, mutable=[GRAMS])[1][GRAMS])(params)
    grams = jax.tree.map(lambda one: np.asarray(one, float), grams)
    noise = dict.fromkeys(("onsite_readout", "bond_readout", "pair_readout"), 0.1)
    posterior = LastLayerPosterior.of(grams, noise, 3, seed=5)
    together = posterior.draw(model, params)
    for name, matrices in posterior.grams.items():
        alone = posterior._replace(grams={name: matrices}).draw(model, params)
        jax.tree.map(np.testing.assert_array_equal, alone[name], together[name])
