"""Distributions of errors: against NumPy on all the values at once."""

from __future__ import annotations

import numpy as np
import pytest

from gh_tools.evaluation.distribution import ErrorDistribution, ErrorHistogram


@pytest.fixture
def values():
    """Errors over six decades with a few outliers, in an order that makes bins widen."""
    rng = np.random.default_rng(0)
    reference = rng.normal(scale=[[0.1], [3.0], [20.0]], size=(3, 500)).ravel()
    error = rng.normal(size=1500) * 10 ** rng.uniform(-5, 0, 1500)
    return reference, error, rng.integers(1, 3, 1500).astype(float)


@pytest.mark.parametrize("most", [16, 64, 512])
def test_histogram_is_that_of_all_values(values, most):
    reference, error, weight = values
    histogram = ErrorHistogram()
    for part in np.array_split(np.arange(1500), 7):
        histogram.add(reference[part], error[part], weight[part])
    counts, rows, columns = histogram.cropped(most)
    expected, *_ = np.histogram2d(reference, error, (rows, columns), weights=weight)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == weight.sum()
    assert max(counts.shape) <= most and min(counts.shape) > most / 8
    # Nothing on the rim is empty, and zero is an edge: an error's sign is seen.
    assert all(counts.sum(axis).take([0, -1]).all() for axis in (0, 1))
    assert 0.0 in columns and 0.0 in rows


def test_mean_part_and_quantiles(values):
    reference, error, weight = values
    distribution = ErrorDistribution()
    for part in np.array_split(np.arange(1500), 7):
        distribution.add(reference[part] + error[part], reference[part], weight[part])
    size = abs(error)
    assert distribution.mean == pytest.approx(np.average(size, weights=weight), rel=1e-9)
    large = size > 1e-4
    assert distribution.above == pytest.approx(weight[large].sum() / weight.sum())
    repeated = np.sort(np.repeat(size[large], weight[large].astype(int)))
    for part in (0.25, 0.5, 0.75):
        # Bins are 0.23 % wide, and neighbouring values up to 1 % apart.
        assert distribution.quantile(part) == pytest.approx(np.quantile(repeated, part), rel=0.012)
    edges, smaller = distribution.cdf()
    assert smaller[0] == 0 and smaller[-1] == 1 and (np.diff(smaller) >= 0).all()
    np.testing.assert_allclose(
        smaller, [(repeated < edge).mean() for edge in edges], atol=1 / len(repeated)
    )


def test_histogram_of_a_window_and_the_rest_of_everything(values):
    reference, error, weight = values
    distribution = ErrorDistribution()
    distribution.add(reference + error, reference, weight, shown=(-5, 5))
    assert distribution.histogram.counts.sum() == weight[abs(reference) <= 5].sum()
    assert distribution.mean == pytest.approx(np.average(abs(error), weights=weight), rel=1e-9)


def test_of_nothing_and_of_no_errors():
    distribution = ErrorDistribution()
    assert np.isnan([distribution.mean, distribution.above, distribution.quantile(0.5)]).all()
    distribution.add(np.ones(3), np.ones(3))
    assert distribution.mean == 0 and distribution.above == 0
    assert np.isnan(distribution.quantile(0.5))
    counts, rows, columns = distribution.histogram.cropped(8)
    assert counts.sum() == 3 and rows[0] <= 1 <= rows[-1] and columns[0] == 0
