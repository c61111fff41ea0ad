"""Intervals of an ensemble against errors that are drawn from what they claim."""

from dataclasses import replace

import numpy as np
import pytest

from gh_tools.evaluation.coverage import NOMINAL, Coverage, add_matrices, add_spectra
from gh_tools.evaluation.eigenvalue_errors import both_eigenvalues
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
