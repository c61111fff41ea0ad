"""Whole runs on real labels: they learn, stop when they should, and go on as if nothing had happened."""

from __future__ import annotations

import itertools
import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.training import loop, pace

EPOCHS = 40


def same(a, b) -> bool:
    """Whether two trees of weights are equal bit by bit."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def interrupt_at(training, step: int) -> None:
    """Let the process send itself SIGINT when a training step begins."""
    compiled = training.step

    def stepping(*arguments):
        if training.progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return compiled(*arguments)

    training.step = stepping


@pytest.fixture(scope="module")
def whole(make_training, make_config):
    """A run without interruption."""
    return make_training(make_config(epochs=EPOCHS)).run()


def test_the_loss_falls_strongly_and_so_does_the_error_in_mev(whole):
    first, last = whole.history[1], whole.history[-1]
    # Eighty steps of the smallest network: runs from three seeds ended at 0.45 to 0.48 of the first loss.
    assert last["loss"] < 0.7 * first["loss"]
    assert whole.metrics["hamiltonian"] < 0.7 * first["hamiltonian"]
    assert whole.best["hamiltonian"]["value"] == whole.metrics["hamiltonian"]


def test_batches_that_stay_on_the_device_change_nothing(make_training, make_config):
    keeping, other = (make_training(make_config(epochs=5)) for _ in range(2))
    other._batches._room = 0
    assert same(keeping.run().params, other.run().params)
    assert (len(keeping._batches._kept), len(other._batches._kept)) == (2, 0)


def test_an_interrupted_run_ends_as_one_without(
    whole, make_training, make_config, tmp_path_factory
):
    """The 33rd step is within an epoch: order, loss sums and moments all have to survive."""
    directory = tmp_path_factory.mktemp("interrupted")
    config = make_config(epochs=EPOCHS)
    training = make_training(config, directory)
    interrupt_at(training, 32)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = make_training(config, directory)
    assert (resumed.progress.step, resumed.progress.batch) == (33, 1)
    outcome = resumed.run()
    assert outcome.history == whole.history
    assert outcome.best == whole.best
    assert same(outcome.params, whole.params)


def test_the_best_weights_survive_a_resumption_that_only_makes_things_worse(
    make_training, make_config, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("worse")
    training = make_training(make_config(epochs=EPOCHS), directory)
    interrupt_at(training, 20)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    kept, best = training.best["hamiltonian"], dict(training.progress.best["hamiltonian"])
    spoilt = make_config(epochs=12, optimizer={"name": "adam", "learning_rate": 0.5})
    outcome = make_training(spoilt, directory).run()
    assert outcome.history[-1]["hamiltonian"] > best["value"]
    assert outcome.best["hamiltonian"] == best
    assert same(outcome.params["hamiltonian"], kept)


def test_the_seed_decides(make_training, make_config, whole):
    again = make_training(make_config(epochs=3)).run()
    other = make_training(make_config(epochs=3, seed=1)).run()
    # But for the eigenvalues, which the shorter run measures at its end.
    assert [r["loss"] for r in again.history[1:]] == [r["loss"] for r in whole.history[1:4]]
    assert [r["hamiltonian"] for r in again.history] == [
        r["hamiltonian"] for r in whole.history[:4]
    ]
    assert other.history[1]["loss"] != again.history[1]["loss"]


def test_it_stops_early_without_improvement(make_training, make_config):
    config = make_config(
        epochs=EPOCHS,
        optimizer={"name": "adam", "learning_rate": 1e-9},
        early_stopping={"patience": 3, "min_delta": 0.1},
    )
    outcome = make_training(config).run()
    assert [record["epoch"] for record in outcome.history] == [0, 1, 2, 3]
    # Eigenvalues are measured at the end even though they were not asked for.
    assert np.isfinite(outcome.metrics["eigenvalue"])


def test_a_budget_ends_the_run_and_the_schedule_with_it(make_training, make_config, monkeypatch):
    """Judged on a clock that goes on by a tenth of a second each time it is read, so that a busy machine is no matter."""
    reads = itertools.count()

    def monotonic():
        return 0.1 * next(reads)

    for module in (pace, loop):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic))
    config = make_config(epochs=10**6, budget=20, schedule={"name": "cosine", "final_scale": 0.001})
    outcome = make_training(config).run()
    # Only what was under way at the end of the budget may run over: a step and a measurement, of a few reads.
    assert 15 < monotonic() < 20 + 3
    assert outcome.history[-1]["learning_rate"] < 0.1 * config.optimizer.learning_rate


def test_averaged_weights_are_what_is_judged(make_training, make_config):
    """The first steps average with decay (1 + t)/(10 + t), t counted from 0."""
    training = make_training(make_config(epochs=1, ema=0.99))
    seen = [training.state.params.tree]
    compiled = training.step

    def stepping(*arguments):
        state, loss = compiled(*arguments)
        seen.append(state.params.tree)
        return state, loss

    training.step = stepping
    outcome = training.run()

    def average(start, first, second):
        middle = 0.1 * start + 0.9 * first
        return 2 / 11 * middle + 9 / 11 * second

    expected = jax.tree.map(average, *seen)
    for found, wanted in zip(
        jax.tree.leaves(outcome.params["hamiltonian"]), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_divergence_is_an_error_that_names_the_learning_rate(make_training, make_config):
    config = make_config(epochs=9, optimizer={"name": "adam", "learning_rate": 1e30})
    with pytest.raises(DataError, match=r"optimizer\.learning_rate"):
        make_training(config).run()
