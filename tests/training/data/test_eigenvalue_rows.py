"""First-order shifts of eigenvalues against the generalised eigenproblem itself."""

from __future__ import annotations

import dataclasses
import zlib

import jax
import numpy as np
import pytest
import scipy.linalg

from gh_tools.evaluation.eigenvalue_errors import WINDOW
from gh_tools.model.prediction import Prediction
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.bond_frame import to_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.training.config import LossConfig
from gh_tools.training.data.batches import collate
from gh_tools.training.data.eigenvalue_rows import (
    N_KPOINTS,
    PER_KPOINT,
    _choose,
    make_eigenvalue_rows,
)
from gh_tools.training.objective.eigenvalues import first_order_errors
from gh_tools.training.objective.loss import hamiltonian_loss
from gh_tools.training.run import load_samples

CASES = [(1, "global"), (1, "bond"), (2, "bond")]


def changed(label, change):
    """A copy of a label with H blocks that ``change(blocks)`` gives."""

    def of(groups):
        return {
            key: dataclasses.replace(blocks, hamiltonian=change(blocks))
            for key, blocks in groups.items()
        }

    return dataclasses.replace(label, onsite=of(label.onsite), pairs=of(label.pairs))


def noise(label, kept, size: float):
    """Random blocks, symmetric on site, of the pairs that networks predict."""
    random = np.random.default_rng(1)
    near = {id(label.pairs[key]): mask for key, mask in kept.items()}

    def draw(blocks):
        values = size * random.normal(size=blocks.hamiltonian.shape)
        if id(blocks) in near:
            return values * near[id(blocks)][:, None, None]
        return values + np.swapaxes(values, -1, -2)

    return changed(label, draw)


def total(label, error):
    """The sum of two Hamiltonians."""
    both = {
        id(blocks): other
        for (_, blocks), (_, other) in zip(label.groups(), error.groups(), strict=True)
    }
    return changed(label, lambda blocks: blocks.hamiltonian + both[id(blocks)].hamiltonian)


def shifts(rows, error, sample, layout, frame):
    """What rows of scale one say of blocks of errors."""
    onsite = np.zeros((len(rows.onsite), layout.onsite_size))
    for number, blocks in error.onsite.items():
        irreps = layout.onsite[number]
        onsite[blocks.atom, : irreps.size] = irreps.to_irreps(blocks.hamiltonian)
    pairs, start = np.zeros((len(rows.pairs), layout.pair_size)), 0
    for key, near in sample.kept.items():
        irreps = layout.pair[key]
        part = slice(start, start := start + int(near.sum()))
        components = irreps.to_irreps(error.pairs[key].hamiltonian[..., near, :, :])
        pairs[part, : irreps.size] = to_frame(
            frame, irreps, components, sample.graph.pair_vector[part]
        )
    return np.einsum("arc,ac->r", rows.onsite, onsite) + np.einsum("arc,ac->r", rows.pairs, pairs)


def polarised(label, n_spins: int):
    """The label in double precision, with a second spin channel that differs from the first."""
    exact = changed(label, lambda blocks: blocks.hamiltonian.astype(float))
    if n_spins == 1:
        return exact
    return changed(
        exact,
        lambda blocks: np.stack(
            [blocks.hamiltonian, 0.98 * blocks.hamiltonian + 0.3 * blocks.overlap]
        ),
    )


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]} {case[1]}")
def case(request, samples):
    """A real label, its rows for scales of one, and what they belong to."""
    n_spins, frame = request.param
    sample = samples[0]
    label = polarised(sample.label, n_spins)
    layout = IrrepLayout(label.basis, n_spins)
    ones = [np.ones((1, size)) for size in (layout.onsite_size, layout.pair_size)]
    rows = make_eigenvalue_rows(label, "x", sample.graph, sample.kept, tuple(ones), layout, frame)
    states = _choose(label, np.random.default_rng(zlib.crc32(b"x")))
    return label, sample, layout, frame, rows, states


def eigenvalues(hamiltonian, states):
    """All eigenvalues at the k-point and spin of each chosen state."""
    return np.array(
        [
            scipy.linalg.eigvalsh(
                bloch_matrix(hamiltonian, k, spin=spin), bloch_matrix(hamiltonian, k, "overlap")
            )
            for k, spin in zip(states.kpoints, states.spins, strict=True)
        ]
    )


def test_they_are_the_shifts_of_eigenvalues_to_first_order(case):
    label, sample, layout, frame, rows, states = case
    before = eigenvalues(label, states)
    own = np.array(
        [
            (c.conj() @ bloch_matrix(label, k, spin=spin) @ c).real
            for c, k, spin in zip(states.vectors.T, states.kpoints, states.spins, strict=True)
        ]
    )
    number = abs(before - own[:, None]).argmin(axis=1)
    row = np.arange(len(number))
    assert abs(before[row, number] - own).max() < 1e-10
    worst = []
    for size in (1e-5, 2e-5):
        error = noise(label, sample.kept, size)
        after = eigenvalues(total(label, error), states)
        exact = (after - before)[row, number]
        worst.append(abs(exact - shifts(rows, error, sample, layout, frame)).max())
        # Rows are float32; the second order is |δH|² over distances of eigenvalues.
        assert worst[-1] < 0.02 * abs(exact).max()
    assert worst[1] / worst[0] == pytest.approx(4.0, rel=0.1)


def test_a_constant_times_the_overlap_moves_all_eigenvalues_by_the_constant(case):
    label, sample, layout, frame, rows, _ = case
    channels = (2,) if label.n_spins == 2 else ()

    def overlap(blocks):
        return np.broadcast_to(0.7 * blocks.overlap, (*channels, *blocks.overlap.shape))

    found = shifts(rows, changed(label, overlap), sample, layout, frame)
    # Tails beyond the reach of pairs have overlaps of 1e-5.
    np.testing.assert_allclose(found, 0.7, rtol=1e-4)


def test_eigenvalues_are_near_the_fermi_level_and_of_all_kinds(case):
    label, _, _, _, _, states = case
    assert len(states.spins) == label.n_spins * N_KPOINTS * PER_KPOINT
    assert len(np.unique(states.kpoints, axis=0)) == N_KPOINTS
    assert np.all(states.kpoints[:, ~label.atoms.pbc] == 0.0)
    if label.n_spins == 1:
        energies = [
            (c.conj() @ bloch_matrix(label, k) @ c).real
            for c, k in zip(states.vectors.T, states.kpoints, strict=True)
        ]
        # Their own Fermi level is of other k-points than the label's.
        assert np.ptp(energies) > 1.0
        assert abs(np.array(energies) - label.scalars["fermi_level"]).max() < WINDOW + 0.5


@pytest.fixture(scope="module")
def with_rows(inputs, maker, tmp_path_factory):
    """Samples with rows, by way of the cache."""
    return load_samples(inputs, maker, "train", tmp_path_factory.mktemp("cache"), eigenvalues=True)


def guess(batch, seed=0):
    """A prediction that is off, in the rows that are no padding."""
    random = np.random.default_rng(seed)
    parts = (batch.onsite, batch.graph.atom_mask), (batch.pairs, batch.graph.pair_mask)
    return Prediction(
        *(part + mask[:, None] * random.normal(size=part.shape) for part, mask in parts)
    )


def test_structures_of_a_batch_and_its_padding_stay_apart(with_rows):
    both = [with_rows[0], with_rows[1]]
    size = sum(sample.size for sample in both)
    batch = collate(both, tuple(size + [4, 5, 6]))
    prediction = guess(batch)
    error, weight = first_order_errors(prediction, batch)
    first = [0, both[0].size[0]]
    assert np.flatnonzero(weight[:, 0]).tolist() == first
    start = np.zeros(3, dtype=int)
    for sample, row in zip(both, first, strict=True):
        stop = start + sample.size
        alone = collate([sample], tuple(sample.size))
        part = Prediction(
            prediction.onsite[start[0] : stop[0]], prediction.pairs[start[2] : stop[2]]
        )
        # float32 sums of some thousand terms of either sign
        np.testing.assert_allclose(
            error[row], first_order_errors(part, alone)[0][0], rtol=0, atol=1e-4
        )
        start = stop
    config = LossConfig(eigenvalues=3.0)
    tight = collate(both, tuple(size + [1, 0, 0]))
    cut = Prediction(prediction.onsite[: size[0] + 1], prediction.pairs[: size[2]])
    expected = float(hamiltonian_loss(prediction, batch, config))
    assert float(hamiltonian_loss(cut, tight, config)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_least_at_the_reference_and_has_a_slope_there(with_rows):
    batch = collate([with_rows[0]], tuple(with_rows[0].size))
    exact = Prediction(batch.onsite, batch.pairs)
    terms = [
        float(hamiltonian_loss(p, batch, LossConfig(eigenvalues=weight)))
        for p in (exact, guess(batch))
        for weight in (0.0, 1.0)
    ]
    # Roots are taken of values above zero: 1e-12 under each.
    assert terms[1] < 1e-5
    assert terms[3] > terms[2] + 1e-2
    slope = jax.grad(lambda p: hamiltonian_loss(p, batch, LossConfig(eigenvalues=1.0)))(exact)
    assert all(np.isfinite(part).all() for part in slope)


def test_without_them_a_batch_has_nothing_more_to_move(samples, with_rows):
    plain = collate([samples[0]], tuple(samples[0].size))
    rows = collate([with_rows[0]], tuple(with_rows[0].size))
    assert len(jax.tree.leaves(rows)) == len(jax.tree.leaves(plain)) + 3
