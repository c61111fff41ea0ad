"""The shallow ensemble about a trained network, and how far its standard deviations are off."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gh_tools.model.ensemble import of_last_layers, with_last_layers
from gh_tools.training.objective.calibration import IrrepErrors, _cautious, with_members


@pytest.fixture(scope="module")
def training(make_training, make_config):
    return make_training(make_config(epochs=5, last_layers=6))


@pytest.fixture(scope="module")
def outcome(training):
    return training.run()


def test_its_mean_is_the_network(training, outcome):
    params = outcome.params["hamiltonian"]["params"]
    assert outcome.last_layers
    for name, members in outcome.last_layers.items():
        for mean, own in zip(jax.tree.leaves(params[name]), jax.tree.leaves(members), strict=True):
            assert own.shape == (6, *mean.shape)
            np.testing.assert_allclose(
                own.astype(float).mean(axis=0), mean, atol=1e-6 * abs(own).max()
            )


def test_they_are_drawn_again_from_what_is_kept(training, outcome):
    drawn = outcome.posterior.draw(training.model, outcome.params["hamiltonian"])
    jax.tree.map(np.testing.assert_array_equal, drawn, outcome.last_layers)


def test_intervals_hold_their_part_of_the_validation_set(training, outcome):
    """By irrep and distance; here of all together, where the factors are fitted to the same errors."""
    best = outcome.params["hamiltonian"]
    predict = jax.jit(of_last_layers(training.model.apply, best, outcome.last_layers))
    every = jax.device_put(with_last_layers(best, outcome.last_layers))
    validation, calibration = training.validation, outcome.calibration
    inside = []
    for _, sample, onsite, pairs in validation._irreps(every, predict):
        ensemble = validation._ensemble(sample, onsite, pairs, calibration)
        for (_, found), (_, label) in zip(ensemble.groups(), sample.label.groups(), strict=True):
            error = abs(found.hamiltonian - label.hamiltonian)
            counts = np.maximum(error, found.uncertainty) > 1e-4
            inside.append((error <= 1.645 * found.uncertainty)[counts])
    # Elements are sums of several irreps: a few per cent beside the nine tenths.
    assert 0.82 < np.mean(np.concatenate(inside)) < 0.99
    assert set(calibration.spectra) == {"shift", "eigenvalues"}
    assert all(factor > 0 for factor in calibration.spectra.values())


def test_factors_are_found_again(training, samples):
    """Members whose deviations are right but for known factors."""
    validation = training.validation
    errors = IrrepErrors(validation.layout, validation.frame)
    random = np.random.default_rng(0)
    for sample in samples * 4:
        members = []
        for wanted, factor in ((sample.onsite, 4.0), (sample.pairs, 0.5)):
            size = random.lognormal(size=wanted.shape)
            error = factor * size * random.standard_normal(wanted.shape)
            # Many members know their own deviation.
            deviations = size * random.standard_normal((200, *wanted.shape))
            members.append(wanted + error + deviations - deviations.mean(axis=0))
        errors.add(sample, *members, (0.0, 0.0))
    found = errors.calibration()
    # Each from 50 errors at least: a quantile of so few is known to 20 %, and there are a hundred of them.
    for table, wanted in ((found.onsite, 4.0), (found.pairs, 0.5)):
        values = np.concatenate([np.ravel(own) for own in table.values()])
        assert abs(np.median(values) / wanted - 1) < 0.1
        assert np.all(abs(np.log(values / wanted)) < 1.0)


def test_what_is_known_to_deviate_is_not_asked_of_the_factors(training, samples):
    """Errors of members' deviations times a factor and, in quadrature, of what on-site energies are known to deviate by."""
    validation = training.validation
    errors = IrrepErrors(validation.layout, validation.frame)
    random = np.random.default_rng(1)
    for sample in samples * 4:
        members, known = [], []
        for wanted in (sample.onsite, sample.pairs):
            size, more = random.lognormal(size=(2, *wanted.shape))
            error = np.hypot(3.0 * size, more) * random.standard_normal(wanted.shape)
            deviations = size * random.standard_normal((200, *wanted.shape))
            members.append(wanted + error + deviations - deviations.mean(axis=0))
            known.append(more)
        errors.add(sample, *members, (known[0], known[1]))
    found = errors.calibration()
    values = np.concatenate([np.ravel(t) for t in [*found.onsite.values(), *found.pairs.values()]])
    assert abs(np.median(values) / 3.0 - 1) < 0.1


def unlike(random, wanted, factor):
    """Members whose mean is off by a normal error of a width, and many deviations of width one."""
    deviations = random.standard_normal((200, *wanted.shape))
    error = factor * random.standard_normal(wanted.shape)
    return wanted + error, deviations - deviations.mean(axis=0)


def test_members_that_agree_by_symmetry_do_not_widen_what_is_unlike(training, samples):
    """A factor found where members agree is not one of structures where they do not: it stays near those of all components."""
    validation = training.validation
    errors = IrrepErrors(validation.layout, validation.frame)
    random = np.random.default_rng(2)
    for sample in samples * 4:
        members = []
        for wanted in (sample.onsite, sample.pairs):
            mean, deviations = unlike(random, wanted, 2.0)
            deviations[..., 0] *= 1e-3
            members.append(mean + deviations)
        errors.add(sample, *members, (0.0, 0.0))
    found = errors.calibration()
    for table in (*found.onsite.values(), *found.pairs.values()):
        assert np.all(table[..., 0] > 2 * np.median(table))
        assert table.max() < 6 * np.median(table)


def test_a_species_pair_without_errors_has_the_factors_of_others_as_far_apart(training, samples):
    validation = training.validation
    errors = IrrepErrors(validation.layout, validation.frame)
    random = np.random.default_rng(3)
    for sample in samples * 4:
        distance = np.linalg.norm(sample.graph.pair_vector, axis=1)[:, None]
        onsite, pairs = (
            unlike(random, sample.onsite, 1.0),
            unlike(random, sample.pairs, np.exp(distance)),
        )
        errors.add(sample, sum(onsite), sum(pairs), (0.0, 0.0))
    left_out = next(iter(errors.calibration().pairs))
    for key in [key for key in errors._ratios if key[0] == left_out]:
        del errors._ratios[key]
    table = errors.calibration().pairs[left_out]
    counted = sorted({k for *_, k in errors._ratios if k is not None})
    expected = np.exp(np.array(counted, dtype=float))
    # Bins are 1 Å wide, within which factors differ by that much.
    assert np.all(abs(np.log(np.median(table[counted], axis=1) / expected)) < 0.7)


def test_few_structures_do_not_narrow_intervals_by_much():
    assert _cautious(2.0, 3) == 2.0
    few, many = _cautious(0.5, 2), _cautious(0.5, 2000)
    assert 0.85 < few < 0.9 and abs(many - 0.5) < 0.002


def test_members_that_agree_have_no_deviation(training, samples):
    label = samples[2].label
    found = with_members([label, label])
    for _, blocks in found.groups():
        assert not blocks.uncertainty.any()
        assert not blocks.members.any()
