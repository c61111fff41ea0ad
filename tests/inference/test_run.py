"""Stores of predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gh_tools.errors import CannotCreateError, DataError
from gh_tools.inference.checks import check_structures
from gh_tools.inference.predict import Predictor
from gh_tools.inference.run import predict_structures
from gh_tools.orbitals.basis import Basis
from gh_tools.store import schema
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.io import open_store
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import read_structures
from gh_tools.training.model_store import load_model


@pytest.fixture(scope="module")
def predictor(random_model):
    return Predictor(load_model(random_model))


@pytest.fixture(scope="module")
def result(predictor, tiny_labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("predicted") / "tiny.predicted.zarr"
    source = open_store(tiny_labels)
    provenance = Provenance("gh-infer", inputs=[source])
    return predict_structures(predictor, read_structures(source), path, provenance, n_workers=2)


def test_shaped_like_labels(result, tiny_labels):
    store = open_store(result, "hamiltonians")
    assert schema.check(store) == []
    mine, labels = HamiltonianReader(store), HamiltonianReader(tiny_labels)
    assert mine.predicted and not labels.predicted
    assert mine.names == labels.names
    for column, values in labels.structures.columns.items():
        np.testing.assert_array_equal(mine.structures.columns[column].values, values.values)
    mine.basis.check_same(labels.basis, "prediction")
    blocks = {key.rsplit("/", 1)[0] for key in labels.store.keys() if "/hamiltonian" in key}
    assert blocks == {key.rsplit("/", 1)[0] for key in store.keys() if "/hamiltonian" in key}
    assert store["onsite/74/hamiltonian"].dtype == np.float32


def test_overlap_is_that_of_the_labels(result, tiny_labels):
    """S of the labels comes from GPAW's own SCF run, that of predictions from the basis table."""
    mine, label = HamiltonianReader(result).read(1), HamiltonianReader(tiny_labels).read(1)
    for number, blocks in label.onsite.items():
        np.testing.assert_allclose(mine.onsite[number].overlap, blocks.overlap, atol=1e-6)
    for key, blocks in label.pairs.items():
        here, there = (
            {
                (i, j, *shift): s
                for i, j, shift, s in zip(b.i, b.j, b.shift.tolist(), b.overlap, strict=True)
            }
            for b in (mine.pairs[key], blocks)
        )
        assert len(here) > 0.8 * len(there)
        # Labels drop what is below 1e-7, predictions what is beyond the orbitals' reach.
        nothing = np.zeros(blocks.overlap.shape[1:])
        for place in here.keys() | there.keys():
            found, expected = here.get(place, nothing), there.get(place, nothing)
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_resume_keeps_what_is_done(predictor, tiny_labels, result, tmp_path, monkeypatch):
    source = open_store(tiny_labels)
    structures = read_structures(source)
    provenance = Provenance("gh-infer", inputs=[source])
    path = tmp_path / "x.predicted.zarr"
    predict_one, calls = predictor.predict, []

    def stop_after_two(atoms):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(atoms)
        return predict_one(atoms)

    monkeypatch.setattr(predictor, "predict", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        predict_structures(predictor, structures, path, provenance)
    assert not path.exists()
    with pytest.raises(CannotCreateError, match="--resume"):
        predict_structures(predictor, structures, path, provenance)
    calls.clear()
    monkeypatch.setattr(predictor, "predict", lambda atoms: calls.append(0) or predict_one(atoms))
    predict_structures(predictor, structures, path, provenance, resume=True)
    assert len(calls) == 2
    assert open_store(path).id == open_store(result).id


def test_elements_and_bases_that_the_model_lacks(predictor, tiny_labels):
    source = open_store(tiny_labels)
    structures = read_structures(source)
    check_structures(source, structures, predictor.basis)
    only_selenium = Basis({34: predictor.basis[34]})
    with pytest.raises(DataError, match=r"tiny\.hamiltonians\.zarr.* W, only for Se"):
        check_structures(source, structures, only_selenium)
    other = Basis({**predictor.basis.elements, 74: replace(predictor.basis[74], setup="14")})
    with pytest.raises(DataError, match="the basis of W differs in setup"):
        check_structures(source, structures, other)
