"""Spin channels from real labels to predictions: oxygen molecules, rotated, learned and predicted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gh_tools.errors import DataError
from gh_tools.labels.labels import open_labels
from gh_tools.labels.split import Split
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.order import wigner_d
from gh_tools.scaleshift.fit import fit_store
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures
from gh_tools.training.config import TrainConfig
from tests.conftest import BOND_FRAME

N = 4


def rotated(label: Hamiltonian, rotation: np.ndarray) -> Hamiltonian:
    """A molecule and its blocks, both rotated about the cell's middle."""
    atoms = label.atoms.copy()
    middle = atoms.cell.array.sum(axis=0) / 2
    atoms.positions = (atoms.positions - middle) @ rotation.T + middle
    d = {number: wigner_d(label.basis[number].degrees, rotation) for number in label.basis.numbers}

    def rotate(blocks, a, b):
        matrices = {
            name: d[a] @ getattr(blocks, name) @ d[b].T for name in ("hamiltonian", "overlap")
        }
        return replace(blocks, **matrices)

    onsite = {number: rotate(blocks, number, number) for number, blocks in label.onsite.items()}
    pairs = {key: rotate(blocks, *key) for key, blocks in label.pairs.items()}
    return replace(label, atoms=atoms, onsite=onsite, pairs=pairs)


@pytest.fixture(scope="module")
def rotations():
    return Rotation.random(N, rng=np.random.default_rng(0)).as_matrix()


def write_labels(path, labels, spins):
    structures = Structures(
        [label.atoms for label in labels], [f"o2-{n}" for n in range(len(labels))]
    )
    writer = HamiltonianWriter(path, structures, Provenance("gh-label"))
    for index, label in enumerate(labels):
        writer.write(index, label)
    return writer.publish(labels[0].basis, {"spins": spins})


@pytest.fixture(scope="module")
def chain(case, rotations, tmp_path_factory):
    """Labels, a model trained on half of them, and its predictions, each by the library's own call."""
    from gh_tools.inference.predict import Predictor
    from gh_tools.inference.run import predict_structures
    from gh_tools.trained_model.store import load_model
    from gh_tools.training.inputs import open_inputs
    from gh_tools.training.run import train_model

    folder = tmp_path_factory.mktemp("spin")
    label = case("oxygen").hamiltonian
    path = write_labels(
        folder / "o2.hamiltonians.zarr", [rotated(label, r) for r in rotations], spins=2
    )
    labels = open_labels([open_store(path)])
    scaleshift, _ = fit_store(
        labels,
        Split(np.array([0, 1]), np.array([2]), np.array([3])),
        folder / "o2.scaleshift.zarr",
        Provenance("gh-fit-scaleshift", inputs=labels.stores),
    )
    config = TrainConfig.model_validate(
        {"model": BOND_FRAME, "epochs": 100, "metrics": {"eigenvalue_interval": None}}
    )
    inputs = open_inputs(scaleshift)
    provenance = Provenance("gh-train", inputs=inputs.stores)
    model, outcome = train_model(inputs, config, folder / "o2.model.zarr", provenance)
    loaded = load_model(model)
    predictor = Predictor(loaded)
    structures = HamiltonianReader(path).structures
    predicted, _ = predict_structures(
        predictor, structures, folder / "predicted.zarr", Provenance("gh-infer")
    )
    return SimpleNamespace(
        folder=folder,
        scaleshift=scaleshift,
        outcome=outcome,
        model=loaded,
        labels=HamiltonianReader(path),
        predicted=HamiltonianReader(predicted),
    )


def test_the_number_of_spins_is_recorded_all_along(chain):
    assert open_store(chain.scaleshift).attributes["spins"] == 2
    assert chain.model.n_spins == 2
    assert chain.predicted.attributes["spins"] == 2
    assert chain.predicted.read(0).n_spins == 2


def test_a_trained_model_predicts_both_spins(chain):
    """Errors are far below the splitting of up and down, which a model of one spin would miss."""
    from gh_tools.evaluation.evaluate import evaluate
    from gh_tools.evaluation.matrix_errors import hamiltonian_errors

    label, predicted = chain.labels.read(3), chain.predicted.read(3)
    up, down = label.onsite[8].hamiltonian
    splitting = np.abs(up - down).mean()
    assert splitting > 0.05
    mae = hamiltonian_errors(predicted, label).all_onsite.mae
    # All labels are one molecule, so the mean over rotations is nearly all there is to learn on-site.
    assert mae < 0.5 * splitting
    assert chain.outcome.metrics["onsite"] / 1000 < 0.5 * splitting
    evaluation = evaluate(chain.predicted, chain.labels)
    assert evaluation.hamiltonian[3].all_onsite.mae == mae
    assert all(np.isfinite(eigenvalues.window) for eigenvalues in evaluation.eigenvalues)


def test_predictions_rotate_with_the_molecule(chain, rotations):
    first, third = chain.predicted.read(0), chain.predicted.read(2)
    expected = rotated(first, rotations[2] @ rotations[0].T)
    for key, blocks in third.groups():
        other = dict(expected.groups())[key]
        # Networks work in single precision: some 1e-6 of blocks of up to 30 eV.
        np.testing.assert_allclose(blocks.hamiltonian, other.hamiltonian, atol=5e-5)


def test_labels_of_different_spin_do_not_mix(chain, case):
    label = case("oxygen").hamiltonian
    onsite, pairs = (
        {key: replace(b, hamiltonian=b.hamiltonian[0]) for key, b in part.items()}
        for part in (label.onsite, label.pairs)
    )
    paired = write_labels(
        chain.folder / "paired.zarr", [replace(label, onsite=onsite, pairs=pairs)], spins=1
    )
    with pytest.raises(DataError, match=r"paired.zarr: expected 2 spin channels .* found 1; label"):
        open_labels([chain.labels.store, open_store(paired)])


def test_the_scale_shift_of_all_spins_reversed_differs_in_sign_alone(chain, tmp_path):
    """Of the half differences' shifts; no scale changes."""
    flipped = []
    for index in range(N):
        label = chain.labels.read(index)
        onsite, pairs = (
            {key: replace(b, hamiltonian=b.hamiltonian[::-1]) for key, b in part.items()}
            for part in (label.onsite, label.pairs)
        )
        flipped.append(replace(label, onsite=onsite, pairs=pairs))
    labels = open_labels([open_store(write_labels(tmp_path / "flipped.zarr", flipped, 2))])
    split = Split(np.array([0, 1]), np.array([2]), np.array([3]))
    store, _ = fit_store(labels, split, tmp_path / "s.zarr", Provenance("gh-fit-scaleshift"))
    mine, theirs = (
        ScaleShift.from_arrays(open_store(path), labels.basis, frame="bond")
        for path in (chain.scaleshift, store)
    )
    distance = np.linalg.norm(labels.readers[0].read(0).vectors((8, 8)), axis=1)
    for (shift, scale), (other_shift, other_scale) in (
        (mine.onsite(np.array([0])), theirs.onsite(np.array([0]))),
        (mine.pairs(np.zeros(1, int), distance), theirs.pairs(np.zeros(1, int), distance)),
    ):
        mean, half = np.split(shift, 2, axis=1)
        assert np.abs(half).max() > 0.1
        # Rounding of least squares.
        np.testing.assert_allclose(other_shift, np.concatenate([mean, -half], axis=1), atol=1e-9)
        np.testing.assert_allclose(other_scale, scale, rtol=1e-6)
