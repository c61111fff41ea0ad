"""The verdict on learning curves whose story is known, and what a report reads from a store."""

from __future__ import annotations

import numpy as np
import pytest

from gh_tools.evaluation.matrix_errors import ErrorSum, HamiltonianErrors
from gh_tools.training.report import error_table, judge, thin_clock

STEPS = np.arange(0, 2001, 50.0)
COSINE = 0.5 * (1 + np.cos(np.pi * STEPS / 2000)) + 1e-3


def curve(error, train=None, rate=COSINE):
    """Columns of a history as a model store has them: the first record is of drawn weights."""
    history = {
        "step": STEPS,
        "hamiltonian": np.asarray(error, dtype=float),
        "learning_rate": np.broadcast_to(rate, STEPS.shape),
    }
    return history | ({} if train is None else {"hamiltonian_train": np.asarray(train)})


def saturating(limit):
    """An error that falls from 10 meV to a limit with a time constant of 150 steps."""
    return limit + 10 * np.exp(-STEPS / 150)


def test_an_error_that_still_falls_asks_for_more_steps():
    # A straight line to half: from 5.5 to 5 in the last tenth, which is 1 - 5/5.5 = 9 %.
    verdict = judge(curve(10 - 5 * STEPS / 2000))
    assert verdict.kind == "falling"
    assert verdict.fall == pytest.approx(1 - 5 / 5.5)
    assert "9%" in verdict.sentence
    assert "train longer" in verdict.sentence


def test_an_error_that_rises_again_is_overfitting():
    error = np.where(STEPS <= 1000, saturating(2), saturating(2) + (STEPS - 1000) / 1000)
    verdict = judge(curve(error, train=saturating(1)))
    assert verdict.kind == "overfits"
    assert verdict.rise == pytest.approx(error[-1] / error.min() - 1)
    assert "at 50% of the steps" in verdict.sentence


def test_a_gap_asks_for_structures():
    verdict = judge(curve(saturating(3), train=saturating(1)))
    assert verdict.kind == "few_structures"
    assert verdict.gap == pytest.approx(3, rel=1e-4)
    assert "3.0 times" in verdict.sentence
    # Just below the threshold it is another verdict.
    assert judge(curve(saturating(1.9), train=saturating(1))).kind == "converged"


@pytest.mark.parametrize(
    ("rate", "advice"), [(COSINE, "longer run"), (1.0, "let the learning rate")]
)
def test_alike_and_flat_is_as_good_as_this_run_can_be(rate, advice):
    verdict = judge(curve(saturating(1), train=saturating(0.8), rate=rate))
    assert verdict.kind == "converged"
    assert advice in verdict.sentence


def test_records_without_a_measurement_do_not_count():
    """Every fourth record is measured: the verdict is that of those alone."""
    error = np.full(len(STEPS), np.nan)
    error[::4] = saturating(3)[::4]
    train = np.where(np.isfinite(error), saturating(1), np.nan)
    assert judge(curve(error, train)).kind == "few_structures"
    error[8:] = np.nan
    verdict = judge(curve(error, train))
    assert verdict.kind == "unknown"
    assert "1 measurement is too few to judge by; 8 are needed" in verdict.sentence
    assert judge({}).kind == "unknown"
    # A budget that compiling has used up.
    verdict = judge({"step": np.array([0.0, 1.0]), "hamiltonian": np.array([50.0, 40.0])})
    assert verdict.sentence.startswith("1 step is too few to judge by; train longer (compiling")


def test_errors_are_averages_of_matrix_elements_in_mev():
    errors = HamiltonianErrors(
        onsite={34: ErrorSum(0.2, 100), 74: ErrorSum(0.0, 0)},
        pairs={(34, 74): ErrorSum(0.3, 1000)},
        distance={2: ErrorSum(0.1, 50), 7: ErrorSum(0.2, 950)},
    )
    table = error_table(errors)
    assert table["by_species_pair"] == pytest.approx({"Se": 2.0, "Se-W": 0.3})
    assert table["by_distance"] == pytest.approx({"2": 2.0, "7": 200 / 950})


def test_the_clock_is_thinned_to_what_interpolation_needs():
    history = [{"step": float(step)} for step in range(0, 5000, 10)]
    clock = [3.0 + 0.02 * record["step"] for record in history]
    kept = np.array(thin_clock(history, clock))
    assert len(kept) == 100
    assert kept[[0, -1]].tolist() == [[0.0, 3.0], [4990.0, clock[-1]]]
    np.testing.assert_allclose(np.interp(1234, *kept.T), 3.0 + 0.02 * 1234)
