"""Metrics against direct NumPy on the stored matrices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.training.objective.metrics import Reference, eigenvalue_mae, hamiltonian_mae


def changed(label, change):
    """A copy of a label whose H blocks are those of ``change(blocks)``."""

    def of(groups):
        return {
            key: dataclasses.replace(blocks, hamiltonian=change(blocks))
            for key, blocks in groups.items()
        }

    return dataclasses.replace(label, onsite=of(label.onsite), pairs=of(label.pairs))


@pytest.fixture(scope="module")
def noisy(samples):
    random = np.random.default_rng(0)

    def add(blocks):
        noise = 0.01 * random.normal(size=blocks.hamiltonian.shape)
        symmetric = hasattr(blocks, "atom")
        noise = noise + np.swapaxes(noise, 1, 2) if symmetric else noise
        return blocks.hamiltonian + noise

    return [changed(sample.label, add) for sample in samples[:2]]


def test_every_element_of_h_counts_once(samples, noisy):
    labels = [sample.label for sample in samples[:2]]
    onsite, pairs = [], []
    for predicted, label in zip(noisy, labels, strict=True):
        for key, blocks in label.onsite.items():
            onsite.append((predicted.onsite[key].hamiltonian - blocks.hamiltonian).ravel())
        for key, blocks in label.pairs.items():
            pairs.append((predicted.pairs[key].hamiltonian - blocks.hamiltonian).ravel())
    onsite, pairs = (np.abs(np.concatenate(parts)) for parts in (onsite, pairs))
    metrics = hamiltonian_mae(zip(noisy, labels, strict=True))
    assert metrics["onsite"] == pytest.approx(1e3 * onsite.mean(), rel=1e-10)
    assert metrics["pairs"] == pytest.approx(1e3 * pairs.mean(), rel=1e-10)
    # A stored pair stands for its opposite as well.
    everything = np.concatenate([onsite, pairs, pairs])
    assert metrics["hamiltonian"] == pytest.approx(1e3 * everything.mean(), rel=1e-10)


def test_eigenvalues_are_those_of_the_generalised_problem(samples, noisy):
    label = samples[0].label
    window, fermi = 5.0, label.scalars["fermi_level"]
    errors, weights = [], []
    for k, weight in zip(label.bands.kpoint, label.bands.weight, strict=True):
        overlap = bloch_matrix(label, k, "overlap")
        true, found = (
            scipy.linalg.eigvalsh(bloch_matrix(h, k), overlap) for h in (label, noisy[0])
        )
        inside = np.abs(true - fermi) <= window
        errors.append(np.abs(found - true)[inside])
        weights.append(np.full(inside.sum(), weight))
    expected = np.average(np.concatenate(errors), weights=np.concatenate(weights))
    metrics = eigenvalue_mae(noisy[:1], [Reference.of(label)], window, 0.3)
    # The label's own Fermi level may differ by meV from that of its eigenvalues: no eigenvalue is at the
    # edge of the window.
    assert metrics["eigenvalue"] == pytest.approx(1e3 * expected, rel=1e-6)


def test_a_constant_times_the_overlap_shifts_all_eigenvalues(samples):
    label = samples[0].label
    shifted = changed(label, lambda blocks: blocks.hamiltonian + 0.05 * blocks.overlap)
    metrics = eigenvalue_mae([shifted], [Reference.of(label)], 5.0, 0.3)
    # Labels are float32.
    assert metrics["eigenvalue"] == pytest.approx(50.0, abs=0.02)
    assert metrics["fermi"] == pytest.approx(50.0, abs=0.02)
    assert metrics["eigenvalue_shifted"] == pytest.approx(0.0, abs=0.02)
    assert metrics["ghosts"] == 0


def test_an_eigenvalue_without_counterpart_is_a_ghost(samples):
    """A shift by more than the ghost distance of eigenvalues in a gap makes ghosts; a perfect one none."""
    label = samples[0].label
    reference = Reference.of(label)
    assert eigenvalue_mae([label], [reference], 5.0, 1e-6)["ghosts"] == 0
    far = changed(label, lambda blocks: blocks.hamiltonian + 0.05 * blocks.overlap)
    assert eigenvalue_mae([far], [reference], 5.0, 0.03)["ghosts"] > 0
