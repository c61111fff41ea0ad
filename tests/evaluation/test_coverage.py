"""Intervals of an ensemble against errors that are drawn from what they claim."""

from dataclasses import replace

import numpy as np
import pytest

from gh_tools.evaluation.coverage import NOMINAL, Coverage, add_matrices, add_spectra
from gh_tools.evaluation.eigenvalue_errors import both_eigenvalues
from gh_tools.evaluation.evaluate import Evaluation
from gh_tools.evaluation.matrix_errors import ErrorSum, HamiltonianErrors
from gh_tools.evaluation.plot import plot_errors
from tests.formats.sample import sample


def test_normal_errors_are_in_as_many_intervals_as_these_promise():
    random = np.random.default_rng(0)
    deviation = random.uniform(0.01, 0.1, 20_000)
    coverage = Coverage()
    coverage.add("x", deviation * random.normal(size=20_000), deviation)
    found = coverage.to_json()["x"]
    # Four standard deviations of a count of 20,000
    np.testing.assert_allclose(list(found["intervals"].values()), NOMINAL, atol=0.014)
    assert found["width"] == pytest.approx(1.0, abs=0.03)
    assert Coverage().to_json() == {}
    uncertainty, error = coverage.error_by_uncertainty("x")
    assert len(error) >= 5 and 0.01 < uncertainty.min() < uncertainty.max() < 0.1
    # The least full bin holds some hundred errors.
    np.testing.assert_allclose(error, uncertainty, rtol=0.2)


def test_reliability_is_drawn_where_there_are_uncertainties(tmp_path):
    random = np.random.default_rng(0)
    errors = HamiltonianErrors(onsite={1: ErrorSum(0.01, 10)})
    evaluation = Evaluation(["x"], [2], [errors], [None], [None], atoms=[1])
    evaluation.elements.add(np.array([1.0, 2.0]), np.array([1.01, 2.0]), 1.0)
    for name in ("hamiltonian", "eigenvalues", "fermi_level", "band_gap"):
        deviation = random.uniform(0.001, 0.1, 2000)
        evaluation.coverage.add(name, deviation * random.normal(size=2000), deviation)
    plot_errors(tmp_path / "errors.svg", evaluation)
    drawn = (tmp_path / "errors.svg").read_text()
    assert "nominal probability" in drawn and "predicted standard deviation" in drawn


def test_an_ensemble_whose_members_are_drawn_like_the_truth():
    """Reference and members differ from one mean by matrices of one distribution."""
    mean, size, count = sample(), 0.002, 12
    coverage = Coverage()
    random = np.random.default_rng(1)

    def draw(matrix, onsite):
        drawn = size * random.normal(size=(count + 1, *matrix.shape))
        return drawn + drawn.swapaxes(-1, -2) if onsite else drawn

    for _ in range(6):
        sides = {}
        for kind in ("onsite", "pairs"):
            for key, blocks in getattr(mean, kind).items():
                truth, *members = draw(blocks.hamiltonian, kind == "onsite")
                members = np.array(members) - np.mean(members, axis=0)
                uncertainty = np.std(members, axis=0, ddof=1)
                sides[key] = (
                    replace(blocks, uncertainty=uncertainty, members=members[:, None]),
                    replace(blocks, hamiltonian=blocks.hamiltonian + truth),
                )
        predicted, reference = (
            replace(
                mean,
                onsite={z: sides[z][side] for z in mean.onsite},
                pairs={pair: sides[pair][side] for pair in mean.pairs},
            )
            for side in (0, 1)
        )
        add_matrices(coverage, predicted, reference)
        *eigenvalues, electrons = both_eigenvalues(predicted, reference)
        add_spectra(coverage, (predicted, reference), tuple(eigenvalues), electrons)
    found = coverage.to_json()
    assert set(found) == {"hamiltonian", "eigenvalues", "fermi_level", "band_gap"}
    for name in ("hamiltonian", "eigenvalues"):
        # A deviation of twelve members is itself uncertain by a fifth, and eigenvalues of a structure are correlated.
        parts = list(found[name]["intervals"].values())
        np.testing.assert_allclose(parts, NOMINAL, atol=0.06)
        assert found[name]["width"] == pytest.approx(1.0, abs=0.15)
    assert coverage.total["fermi_level"] == 6
