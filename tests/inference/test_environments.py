"""Out-of-domain scores of predictions: what the network says of atoms, and where it is stored."""

from __future__ import annotations

import numpy as np
import pytest

from gh_tools.inference.predict import Predictor
from gh_tools.inference.run import environments_before, predict_structures
from gh_tools.inference.structure import StructureWork, predict_structure
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures
from gh_tools.structures import registry
from gh_tools.structures.generate import generate
from gh_tools.trained_model.domain_plot import plot_outside
from gh_tools.trained_model.outside import atom_scores, environments_outside
from gh_tools.trained_model.store import load_model
from gh_tools.training.environments import learn_environments


@pytest.fixture(scope="module", params=["random_model", "random_bond_model"])
def predictor(request):
    """A network of random weights that knows the environments of twelve cells."""
    loaded = load_model(request.getfixturevalue(request.param))
    recipe = registry.get_recipe("wse2")
    config = recipe.config(size=(1, 1), orthogonal=False, se_vacancies=0, rattle=0.04)
    atoms = generate(recipe, config, 12, seed=3).atoms
    known = learn_environments(
        loaded.config.model,
        IrrepLayout(loaded.basis, loaded.n_spins),
        loaded.params,
        atoms[:10],
        atoms[10:],
    )
    predictor = Predictor(loaded)
    assert predictor.environments is None  # models of before have none
    predictor.environments = known
    return predictor


@pytest.fixture(scope="module")
def cell(tiny_labels):
    return read_structures(open_store(tiny_labels)).atoms[0].repeat((3, 2, 1))


def scores(predictor, atoms):
    return StructureWork(predictor, None, atoms, np.inf).scores()


def test_scores_do_not_change_under_rotation_and_order(predictor, cell):
    rotated = cell[::-1]
    rotated.rotate(37, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(
        scores(predictor, rotated)[::-1], scores(predictor, cell), rtol=2e-3, atol=2e-3
    )


def test_atoms_that_were_trained_on_are_near_and_others_are_not(predictor, cell):
    assert scores(predictor, cell).max() < 1
    close, vacancy = cell.copy(), cell.copy()
    close.positions[4] += 0.6 * (close.positions[5] - close.positions[4])
    assert scores(predictor, close)[[4, 5]].min() > 1
    del vacancy[next(atom.index for atom in vacancy if atom.symbol == "W")]
    assert scores(predictor, vacancy).max() > 1


def test_the_store_has_them_by_atom_and_structure_however_it_was_divided(
    predictor, cell, tmp_path, monkeypatch
):
    from gh_tools.inference import domain_size

    close = cell.copy()
    close.positions[4] += 0.6 * (close.positions[5] - close.positions[4])
    structures = Structures([cell, close], ["alike", "close"]).with_charges(np.zeros(2))
    stores = []
    for name, domain_bytes in (("whole", domain_size.DOMAIN_BYTES), ("pieces", (1e5, 1e5))):
        monkeypatch.setattr(domain_size, "DOMAIN_BYTES", domain_bytes)
        path, failures = predict_structures(
            predictor, structures, tmp_path / f"{name}.zarr", Provenance("gh-infer"), memory=2**33
        )
        assert failures == []
        stores.append(open_store(path, "hamiltonians"))
    for store in stores:
        assert list(check_arrays(store)) == []
        for index, atoms in enumerate(structures.atoms):
            expected = scores(predictor, atoms)
            found = HamiltonianReader(store).read(index)
            np.testing.assert_allclose(found.out_of_domain, expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(atom_scores(store, index), found.out_of_domain)
            assert found.scalars["out_of_domain"] == found.out_of_domain.max()
        told = environments_outside(store)
        assert list(told) == ["close"] and {4, 5} <= set(told["close"][0].atoms)
        assert environments_before(predictor, structures).keys() == told.keys()
    alone = predict_structure(predictor, close)
    assert alone.scalars["out_of_domain"] == pytest.approx(found.scalars["out_of_domain"], rel=1e-4)
    plot_outside(tmp_path / "x.png", stores[0])
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_an_ensemble_describes_environments_by_all_its_members(random_bond_model, cell):
    import jax

    loaded = load_model(random_bond_model)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: np.stack([leaf, leaf * (1 + 0.1 * rng.normal(size=leaf.shape))]).astype(
            leaf.dtype
        ),
        loaded.params,
    )
    config = loaded.config.model_copy(update={"ensemble": 2})
    many = [cell.copy() for _ in range(5)]
    for atoms in many:
        atoms.rattle(0.03, rng=rng)
    known = learn_environments(
        config.model,
        IrrepLayout(loaded.basis, 1),
        params,
        many,
        (),
        members=2,
    )
    predictor = Predictor(replace_model(loaded, config, params))
    predictor.environments = known
    # Trained on: nothing but rounding is left.
    assert scores(predictor, many[0]).max() < 0.05
    assert scores(predictor, cell).max() < 1


def replace_model(loaded, config, params):
    return loaded._replace(config=config, params=params)
