"""Labels as samples and batches: nothing is lost on the way, and padding changes nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import jax
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.model.build import build_model
from gh_tools.training.config import LossConfig
from gh_tools.training.data.batches import collate, make_buckets, plan_epoch, sizes_of
from gh_tools.training.data.samples import SampleMaker, predicted_hamiltonian
from gh_tools.training.objective.loss import hamiltonian_loss
from gh_tools.training.optimizers import build_optimizer
from gh_tools.training.step import initial_state
from tests.conftest import SMALL
from tests.training.conftest import maker_of, samples_of


@pytest.fixture(scope="module")
def maker(inputs, make_config):
    """What makes samples of blocks as they stand in the crystal, which compose to the labels without a rotation."""
    return maker_of(inputs, make_config(model=SMALL).model)


@pytest.fixture(scope="module")
def samples(inputs, maker):
    return samples_of(inputs, maker)


def test_references_compose_to_the_labels(samples, maker):
    """A model that predicts the references exactly predicts the labels exactly."""
    for sample in samples:
        found = predicted_hamiltonian(sample, sample.onsite, sample.pairs, maker.layout)
        for number, blocks in sample.label.onsite.items():
            # Scaled irreps are float32: 6e-8 of some 20 eV.
            np.testing.assert_allclose(
                found.onsite[number].hamiltonian, blocks.hamiltonian, atol=5e-6
            )
        for key, blocks in sample.label.pairs.items():
            near = sample.kept[key]
            np.testing.assert_allclose(
                found.pairs[key].hamiltonian[near], blocks.hamiltonian[near], atol=5e-6
            )
            np.testing.assert_array_equal(found.pairs[key].hamiltonian[~near], 0.0)


def test_a_shorter_pair_cutoff_drops_and_reports(samples, maker):
    cutoffs = replace(maker.cutoffs, pairs=dict.fromkeys(maker.cutoffs.pairs, 5.0))
    short = SampleMaker(maker.layout, maker.scaleshift, cutoffs)
    label = samples[0].label
    sample = short(label, "first")
    beyond = [
        np.abs(blocks.hamiltonian[np.linalg.norm(label.vectors(key), axis=1) >= 5.0]).max()
        for key, blocks in label.pairs.items()
    ]
    assert sample.dropped == pytest.approx(max(beyond), rel=1e-6)
    assert np.linalg.norm(sample.graph.pair_vector, axis=1).max() < 5.0


def test_weights_are_scales_to_a_power(samples, maker):
    weighted = SampleMaker(maker.layout, maker.scaleshift, maker.cutoffs, scale_power=0.5)(
        samples[0].label, "first"
    )
    _, scale = samples[0].pairs_terms
    np.testing.assert_allclose(
        weighted.pairs_weight, samples[0].pairs_weight * np.sqrt(scale), rtol=1e-6
    )


def test_labels_with_spin_channels_or_holes_are_refused(samples, maker):
    label = samples[0].label
    broken = {key: dataclasses.replace(blocks) for key, blocks in label.onsite.items()}
    broken[74].hamiltonian = broken[74].hamiltonian * np.nan
    with pytest.raises(DataError, match=r"structure broken: .* of 74"):
        maker(dataclasses.replace(label, onsite=broken), "broken")
    for blocks in broken.values():
        blocks.hamiltonian = np.stack([label.onsite[34].hamiltonian] * 2)
    with pytest.raises(DataError, match="2 spin channels"):
        maker(dataclasses.replace(label, onsite=broken), "magnetic")


def test_buckets_hold_any_batch_of_their_members(samples):
    many = [samples[index % 4] for index in range(11)]
    buckets = make_buckets(sizes_of(many), batch_size=3, count=3)
    assert sorted(m for bucket in buckets for m in bucket.members) == list(range(11))
    assert len({bucket.size for bucket in buckets}) == len(buckets) <= 3
    for bucket in buckets:
        largest = max(bucket.members, key=lambda m: len(many[m].graph.i))
        collate([many[largest]] * 3, bucket.size)


def test_an_epoch_shows_every_sample_once_and_depends_on_the_seed(samples):
    buckets = make_buckets(sizes_of([samples[index % 4] for index in range(11)]), 2, 2)
    plan = plan_epoch(buckets, 2, seed=5, epoch=1)
    assert sorted(m for _, members in plan for m in members) == list(range(11))
    assert plan == plan_epoch(buckets, 2, seed=5, epoch=1)
    assert plan != plan_epoch(buckets, 2, seed=6, epoch=1)
    assert plan != plan_epoch(buckets, 2, seed=5, epoch=2)


def test_padding_does_not_change_the_loss(samples, make_config, inputs):
    config = make_config()
    model = build_model(config.model, inputs.basis)
    atoms, edges, pairs = samples[0].size + samples[1].size
    tight = collate(samples[:2], (atoms, edges, pairs))
    loose = collate(samples[:2], (atoms + 3, edges + 50, pairs + 40))
    optimizer = build_optimizer(config.optimizer, config.schedule, 1)
    params = initial_state(model, optimizer, tight.graph, 0, 0.0).params

    @jax.jit
    def loss(params, batch):
        prediction = model.apply(params.tree, batch.graph)
        return hamiltonian_loss(prediction, batch, LossConfig())

    # Sums in another order: float32 rounding.
    assert float(loss(params, loose)) == pytest.approx(float(loss(params, tight)), rel=1e-5)
