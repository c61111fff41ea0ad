"""Predictions: what the network says, in blocks, at any size."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gh_tools.errors import DataError, UsageError
from gh_tools.inference import predict
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import predict_structure
from gh_tools.model.build import build_model
from gh_tools.model.graph import build_graph
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.bond_frame import from_frame
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.store import load_model


@pytest.fixture(scope="module", params=["random_model", "random_bond_model"])
def model(request):
    return load_model(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(model)


@pytest.fixture(scope="module")
def atoms(tiny_labels):
    return HamiltonianReader(tiny_labels).structures.atoms[3]


@pytest.fixture(scope="module")
def predicted(predictor, atoms):
    return predict_structure(predictor, atoms)


def differences(a, b) -> float:
    """Largest difference of matrix elements, eV."""
    assert a.onsite.keys() == b.onsite.keys() and a.pairs.keys() == b.pairs.keys()
    for key in a.pairs:
        for name in ("i", "j", "cell_offset"):
            np.testing.assert_array_equal(getattr(a.pairs[key], name), getattr(b.pairs[key], name))
    blocks = zip(a.groups(), b.groups(), strict=True)
    return max(abs(x.hamiltonian - y.hamiltonian).max() for (_, x), (_, y) in blocks)


def test_blocks_are_the_networks_own(model, predictor, predicted, atoms):
    """Applied directly to the whole graph, and put together by hand."""
    basis, layout = model.basis, predictor.layout
    graph = build_graph(atoms, basis, predictor.cutoffs)
    output = jax.jit(build_model(model.config.model, basis).apply)(model.params, graph)
    shift, scale = model.scaleshift.onsite(graph.species)
    onsite = shift + scale * np.asarray(output.onsite)
    for number, blocks in predicted.onsite.items():
        irreps = layout.onsite[number]
        expected = irreps.to_blocks(onsite[blocks.atom, : irreps.size])
        # Single precision: energies of 50 eV carry 4e-6
        np.testing.assert_allclose(blocks.hamiltonian, expected, atol=1e-5)
    distance = np.linalg.norm(graph.pair_vector.astype(float), axis=1)
    shift, scale = model.scaleshift.pairs(graph.pair_type, distance)
    pairs = shift + scale * np.asarray(output.pairs)
    for pair_type, key in enumerate(basis.species_pairs()):
        rows = graph.pair_type == pair_type
        irreps = layout.pair[key]
        components = from_frame(
            model.config.model.frame, irreps, pairs[rows, : irreps.size], graph.pair_vector[rows]
        )
        expected = irreps.to_blocks(components)
        np.testing.assert_array_equal(predicted.pairs[key].i, graph.i[rows])
        np.testing.assert_allclose(predicted.pairs[key].hamiltonian, expected, atol=1e-5)
    assert predicted.scalars["n_electrons"] == 18  # W 6, Se 6


def test_onsite_blocks_are_symmetric_bit_by_bit(predicted):
    for blocks in predicted.onsite.values():
        assert blocks.hamiltonian.dtype == np.float32
        np.testing.assert_array_equal(blocks.hamiltonian, np.swapaxes(blocks.hamiltonian, -1, -2))


def test_atoms_in_another_order_give_the_same_matrix(predictor, predicted, atoms):
    """Of each pair the other atom is then the first one: the network must give the transposed block."""
    other = predict_structure(predictor, atoms[::-1])
    start = predicted.basis.orbital_ptr(atoms.numbers)
    order = np.concatenate([np.arange(*start[n : n + 2]) for n in reversed(range(len(atoms)))])
    k = np.array([0.12, 0.34, 0.0])
    expected = bloch_matrix(predicted, k)[np.ix_(order, order)]
    # Single precision: elements of 50 eV carry 4e-6, and neighbours are summed in another order.
    np.testing.assert_allclose(bloch_matrix(other, k), expected, atol=2e-5)


def test_chunks_change_nothing(model, predicted, atoms, monkeypatch):
    monkeypatch.setattr(predict, "SMALL_ATOMS", (4, 16))
    monkeypatch.setattr(predict, "LARGE_ATOMS", (4, 32))
    monkeypatch.setattr(predict, "PAIR_SIZES", (64, 16))
    chunked = predict_structure(Predictor(model), atoms)
    # The same sums, in float32, in blocks of other sizes
    assert differences(chunked, predicted) < 1e-5


def test_larger_cells_than_in_training(predictor, predicted, atoms):
    """A 3 x 3 cell repeats the small one's blocks."""
    large = predict_structure(predictor, atoms.repeat((3, 3, 1)))
    assert large.n_orbitals == 9 * predicted.n_orbitals
    for number, blocks in predicted.onsite.items():
        repeated = large.onsite[number].hamiltonian.reshape(9, *blocks.hamiltonian.shape)
        np.testing.assert_allclose(repeated, np.stack([blocks.hamiltonian] * 9), atol=1e-5)
    k = np.array([0.3, 0.6, 0.0])
    few = np.linalg.eigvalsh(bloch_matrix(predicted, k / 3))
    many = np.linalg.eigvalsh(bloch_matrix(large, k))
    # Folded bands hold those of the small cell at k / 3. An eigenvalue moves by at most the norm of
    # the change of H(k): some hundred elements a row, each off by 1e-6 eV in single precision.
    assert abs(many[None] - few[:, None]).min(axis=1).max() < 1e-3


def test_positions_outside_of_the_cell(predictor, predicted, atoms):
    moved = atoms.copy()
    moved.positions[1] += 2 * moved.cell[0] - moved.cell[1]
    assert differences(predict_structure(predictor, moved), predicted) < 1e-5


def test_unknown_elements_are_named(predictor, atoms):
    other = atoms.copy()
    other.numbers[0] = 42
    with pytest.raises(DataError, match="Mo"):
        predict_structure(predictor, other)


@pytest.fixture(scope="module")
def calibration(predictor):
    layout = predictor.layout
    return Calibration(
        {z: np.full(irreps.size, 2.0) for z, irreps in layout.onsite.items()},
        {key: np.full((1, irreps.size), 3.0) for key, irreps in layout.pair.items()},
        {"shift": 1.5},
    )


@pytest.fixture(scope="module")
def ensemble(model, calibration):
    """Two networks that differ in all weights."""
    members = [model.params, jax.tree.map(lambda weights: 0.97 * weights, model.params)]
    return model._replace(
        config=model.config.model_copy(update={"ensemble": 2}),
        params=jax.tree.map(lambda *own: np.stack(own), *members),
        calibration=calibration,
    )


def test_an_ensemble_gives_mean_and_deviation(model, predictor, ensemble, atoms):
    """Those of its members, each of which predicts as it would alone."""
    found = predict_structure(Predictor(ensemble), atoms)
    second = jax.tree.map(lambda weights: weights[1], ensemble.params)
    alone = [
        predict_structure(predictor, atoms),
        predict_structure(Predictor(model._replace(params=second)), atoms),
    ]
    for group, factor in (("onsite", 2.0), ("pairs", 3.0)):
        for key, blocks in getattr(found, group).items():
            own = np.stack([getattr(one, group)[key].hamiltonian for one in alone]).astype(float)
            # Single precision, and the sums of blocks of another size
            np.testing.assert_allclose(blocks.hamiltonian, own.mean(axis=0), atol=2e-5)
            deviation = abs(own[1] - own[0]) / 2**0.5
            np.testing.assert_allclose(blocks.uncertainty, factor * deviation, atol=6e-5)
            np.testing.assert_allclose(
                blocks.members[:, 0], factor * (own - own.mean(axis=0)), atol=6e-5
            )
    assert found.calibration == {"shift": 1.5}
    assert alone[0].onsite[74].uncertainty is alone[0].onsite[74].members is None
    mean = predict_structure(Predictor(ensemble, error_bars=False), atoms)
    assert differences(mean, found) < 2e-5
    assert mean.onsite[74].members is None


def test_a_shallow_ensemble_is_one_of_networks_that_share_all_but_their_last_layers(
    model, ensemble, calibration, atoms
):
    names = [name for name in model.params["params"] if name.endswith("readout")]
    assert len(names) == 2
    random = np.random.default_rng(0)

    def moved(weights):
        by = 0.05 * np.std(weights) * random.standard_normal(np.shape(weights))
        return np.stack([weights + by, weights - by])

    last_layers = {name: jax.tree.map(moved, model.params["params"][name]) for name in names}
    whole = {
        name: last_layers.get(name) or jax.tree.map(lambda w: np.stack([w, w]), weights)
        for name, weights in model.params["params"].items()
    }
    shallow = model._replace(last_layers=last_layers, calibration=calibration)
    found = predict_structure(Predictor(shallow, error_bars=True), atoms)
    wanted = predict_structure(Predictor(ensemble._replace(params={"params": whole})), atoms)
    for (key, blocks), (other, expected) in zip(found.groups(), wanted.groups(), strict=True):
        assert key == other
        for name in ("hamiltonian", "uncertainty", "members"):
            # Single precision, and another order of the same sums
            np.testing.assert_allclose(getattr(blocks, name), getattr(expected, name), atol=6e-5)
        assert blocks.uncertainty.max() > 1e-3
    assert found.calibration == {"shift": 1.5}
    # The mean of the last layers is the network's own.
    assert differences(predict_structure(Predictor(shallow), atoms), found) < 2e-5


def test_error_bars_need_members(model):
    with pytest.raises(UsageError, match="no members that error bars could come from"):
        Predictor(model, error_bars=True)
