"""Bases with f shells, several shells of one degree and the heaviest elements, with one spin and with two."""

from __future__ import annotations

import ase
import jax
import numpy as np
import pytest

from gh_tools.model.build import build_model
from gh_tools.orbitals.bond_frame import FRAMES
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.training.batches import SampleMaker, collate, predicted_hamiltonian
from gh_tools.training.config import TrainConfig
from gh_tools.training.scaleshift import fit_scaleshift
from tests.conftest import BOND_FRAME, GEARS_H
from tests.orbitals.tables import basis, random_hamiltonian

CUTOFF = 4.0
TABLE = basis(
    H=[(0, 1.5), (0, 1.2), (1, 1.5)],
    Ce=[(3, 1.4), (0, 2.0)],
    Og=[(0, 2.0), (2, 1.8), (1, 1.9), (1, 1.6), (3, 1.5)],
)
ATOMS = ase.Atoms(
    ["Og", "H", "Ce", "Og", "Ce"],
    [[0, 0, 0], [1.1, 0, 0.9], [0, 1.7, 1.0], [0, 0, 2.3], [1.6, 1.2, -0.4]],
    cell=[12.0] * 3,
)


class Labels:
    """One random Hamiltonian, as a store gives it."""

    def __init__(self, n_spins: int):
        self.label = random_hamiltonian(ATOMS, TABLE, spins=n_spins)

    def __len__(self) -> int:
        return 1

    def read(self, index: int):
        return self.label


def made(n_spins: int, frame: str):
    """Layout, maker, label and sample."""
    labels, layout = Labels(n_spins), IrrepLayout(TABLE, n_spins)
    scaleshift = fit_scaleshift([labels], np.arange(1), layout, FRAMES)[frame]
    cutoffs = {key: TABLE.pair_cutoff(*key) for key in TABLE.species_pairs()}
    maker = SampleMaker(layout, scaleshift, CUTOFF, cutoffs)
    return layout, maker, labels.label, maker(labels.label, "x")


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("n_spins", [1, 2])
def test_samples_compose_to_the_labels(n_spins, frame):
    layout, maker, label, sample = made(n_spins, frame)
    assert layout.max_degree == 6
    found = predicted_hamiltonian(
        maker.labelled(sample, label), sample.onsite, sample.pairs, layout, frame
    )
    assert found.n_spins == n_spins
    for key, blocks in label.groups():
        # Up to twice 7 × 7 terms of order one in single precision.
        np.testing.assert_allclose(
            dict(found.groups())[key].hamiltonian, blocks.hamiltonian, atol=1e-5
        )


@pytest.mark.parametrize("network", [BOND_FRAME, GEARS_H], ids=lambda network: network["model"])
def test_networks_predict_every_component(network):
    """Of both spins, with weights that are not zero."""
    if network is GEARS_H:
        degree = {"max_degree": 6}
        network = {
            **network,
            "atom_centered": {
                **degree,
                "n_tensor_dense": 0,
                "radial_basis": {"n_radial": 2, **degree},
            },
            "bond_centered": {**network["bond_centered"], **degree},
        }
    config = TrainConfig.model_validate({"model": network}).model
    *_, sample = made(2, config.frame)
    n_atoms, n_edges, n_pairs = sample.size
    graph = collate([sample], (n_atoms + 1, n_edges, n_pairs)).graph
    model = build_model(config, TABLE, n_spins=2)
    shapes = jax.eval_shape(model.init, jax.random.key(0), graph)
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    # Compiled once and run once: better compiled fast than well.
    apply = jax.jit(model.apply, compiler_options={"xla_backend_optimization_level": 0})
    prediction = apply(weights, graph)
    onsite, pairs = np.asarray(prediction.onsite)[:n_atoms], np.asarray(prediction.pairs)
    assert np.isfinite(onsite).all() and np.isfinite(pairs).all()
    np.testing.assert_array_equal(onsite != 0, sample.onsite_weight != 0)
    np.testing.assert_array_equal(pairs != 0, sample.pairs_weight != 0)
