"""What is sampled, against least squares and against integrals done by quadrature."""

import contextlib
import os
import signal
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from scipy import stats

from gh_tools.bayes import regression
from gh_tools.bayes.design import make_design
from gh_tools.bayes.formula import parse
from gh_tools.bayes.measured import MeasuredConditional
from gh_tools.bayes.priors import complete_priors, parse_priors
from gh_tools.bayes.regression import Conditional, Sampling, sample_posterior
from gh_tools.bayes.summary import faults, summarize_posterior
from gh_tools.errors import DataError
from tests.bayes.data import SIGMA, SLOPES, planted

FORMULA = "holes ~ ni_per_hf + density + se_vacancy_rate + twist"
FEW = Sampling(chains=2, draws=1000, tune=500, seed=3)
FLAT = ["Intercept=normal(0,1e6)", "sigma=halfnormal(1e4)"] + [
    f"{name}=normal(0,1e7)" for name in (*SLOPES, "twist")
]


def sample(formula, table, priors=(), sampling=FEW, error=None):
    design = make_design(parse(formula), table, error)
    return sample_posterior(design, complete_priors(design, parse_priors(priors)), sampling)


def estimates(groups):
    return {estimate.name: estimate for estimate in summarize_posterior(groups["posterior"])}


@pytest.fixture(scope="module")
def flat():
    """Return the posterior of the planted table under priors that say nothing."""
    return sample(FORMULA, planted(), FLAT)


@pytest.fixture(scope="module")
def weak():
    """Return the posterior of the planted table under the default priors."""
    return sample(FORMULA, planted())


def test_flat_priors_give_least_squares(flat):
    table = planted()
    names = ["Intercept", *SLOPES, "twist"]
    matrix = np.column_stack([np.ones(72), *(table.columns[name] for name in names[1:])])
    best, (square,), *_ = np.linalg.lstsq(matrix, table.columns["holes"])
    # With a flat prior of coefficients and sigma the coefficients follow Student's t around least
    # squares, with n - k - 1 degrees of freedom and scale^2 = RSS/(n - k - 1) (X^T X)^-1.
    freedom = 72 - len(names) - 1
    scale = np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)) * square / freedom)
    found = estimates(flat)
    for name, mean, width in zip(names, best, scale, strict=True):
        expected = stats.t(freedom, mean, width)
        # Monte Carlo errors: sd/sqrt(ESS) of the mean, sd/sqrt(2 ESS) of the sd, here at 4 sigma,
        # and of the ends of the interval some 3 times that of the mean.
        error = expected.std() / np.sqrt(found[name].ess_bulk)
        assert abs(found[name].mean - mean) < 4 * error, name
        assert abs(found[name].sd - expected.std()) < 4 * error, name
        np.testing.assert_allclose(found[name].hdi, expected.interval(0.94), atol=12 * error)


def test_planted_coefficients_lie_in_their_intervals(weak):
    found = estimates(weak)
    for name, value in {**SLOPES, "sigma": SIGMA}.items():
        low, high = found[name].hdi
        assert low < value < high, name
        assert found[name].decided
    assert found["ni_per_hf"].positive == 1 and found["se_vacancy_rate"].positive == 0
    assert faults(weak, list(found.values())) == []


def test_no_effect_is_reported_as_undecided(weak):
    twist = estimates(weak)["twist"]
    assert twist.hdi[0] < 0 < twist.hdi[1]
    assert not twist.decided
    assert 0.03 < twist.positive < 0.97


def test_explained_variance_is_that_of_each_draw(weak):
    draws = weak["posterior"].isel(draw=slice(0, 5))
    table = planted()
    names = [*SLOPES, "twist"]
    fit = sum(draws[name].values[..., None] * table.columns[name] for name in names)
    expected = fit.var(axis=-1) / (fit.var(axis=-1) + draws["sigma"].values ** 2)
    np.testing.assert_allclose(draws["R2"].values, expected, rtol=1e-9)


def quadrature(table, names, intercept, slopes, sigma_prior, error=0.0):
    """Return mean and sd of intercept, slopes and sigma under normal priors, exactly.

    Given sigma, coefficients and data are jointly normal; over sigma a sum of 2,000 points goes.
    The prior of the intercept is that of the response at the mean of the predictors; an error of each response adds to
    sigma in quadrature.
    """
    columns = np.column_stack([table.columns[name] for name in names])
    n, response = len(columns), table.columns["holes"]
    matrix = np.column_stack([np.ones(n), columns - columns.mean(axis=0)])
    mean, sd = np.array([intercept, *slopes]).T
    to_user = np.eye(len(mean))
    to_user[0, 1:] = -columns.mean(axis=0)
    sigmas = np.linspace(0.02, 20, 2000)
    weights, means, covariances = [], [], []
    for sigma in sigmas:
        variance = sigma**2 + error**2 * np.ones(n)
        covariance = np.linalg.inv(matrix.T / variance @ matrix + np.diag(sd**-2.0))
        center = covariance @ (matrix.T @ (response / variance) + mean / sd**2)
        evidence = stats.multivariate_normal.logpdf(
            response, matrix @ mean, np.diag(variance) + (matrix * sd**2) @ matrix.T
        )
        weights.append(evidence + sigma_prior.logpdf(sigma))
        means.append(to_user @ center)
        covariances.append(np.diag(to_user @ covariance @ to_user.T))
    weights = np.exp(np.array(weights) - max(weights))
    weights /= weights.sum()
    means = np.column_stack([means, sigmas])
    variances = np.column_stack([covariances, np.zeros(len(sigmas))])
    total = weights @ means
    return total, np.sqrt(weights @ (variances + (means - total) ** 2))


def test_informative_priors_in_user_units_give_the_exact_posterior():
    # Few structures and narrow priors that disagree with them, so that each prior is felt.
    table = planted(12)
    names = ["ni_per_hf", "density"]
    groups = sample(
        "holes ~ ni_per_hf + density",
        table,
        [
            "Intercept=normal(28, 1.5)",
            "ni_per_hf=normal(200, 150)",
            "density=normal(-2, 1.2)",
            "sigma=exponential(0.8)",
        ],
        Sampling(chains=2, draws=2000, tune=500, seed=1),
    )
    exact = quadrature(table, names, (28, 1.5), [(200, 150), (-2, 1.2)], stats.expon(scale=0.8))
    found = estimates(groups)
    for name, mean, sd in zip(["Intercept", *names, "sigma"], *exact, strict=True):
        # 4 Monte Carlo errors; the sd of a skew sigma has up to twice that of a normal one.
        error = sd / np.sqrt(found[name].ess_bulk)
        assert abs(found[name].mean - mean) < 4 * error, name
        assert abs(found[name].sd - sd) < 6 * error, name


def test_measurement_errors_give_the_exact_posterior():
    """Of each structure another, as large as what is to be seen."""
    table, names = planted(12), ["ni_per_hf", "density"]
    random = np.random.default_rng(2)
    error = random.uniform(0.0, 6.0, 12)
    error[0] = 0.0
    table.columns["holes"] = table.columns["holes"] + error * random.normal(size=12)
    table.columns["wrong"] = error
    table.units["wrong"] = table.units["holes"]
    priors = [
        "Intercept=normal(28, 4)",
        "ni_per_hf=normal(500, 400)",
        "density=normal(2, 3)",
        "sigma=exponential(1.5)",
    ]
    sampling = Sampling(chains=2, draws=2000, tune=500, seed=1)
    found = estimates(sample("holes ~ ni_per_hf + density", table, priors, sampling, "wrong"))
    exact = quadrature(
        table, names, (28, 4), [(500, 400), (2, 3)], stats.expon(scale=1.5), error=error
    )
    for name, mean, sd in zip(["Intercept", *names, "sigma"], *exact, strict=True):
        # As above
        bound = sd / np.sqrt(found[name].ess_bulk)
        assert abs(found[name].mean - mean) < 4 * bound, name
        assert abs(found[name].sd - sd) < 6 * bound, name


def test_the_table_of_the_likelihood_is_as_good_as_the_likelihood():
    random = np.random.default_rng(0)
    predictors, response = random.normal(size=(40, 4)), random.normal(size=40)
    error = random.uniform(0, 1, 40)
    error[:3] = 0.0
    one = MeasuredConditional.of(predictors, response, np.zeros(4), np.full(4, 2.5), error)
    sigma = np.exp(random.uniform(-9, 4, 100))
    exact = [one.exact_log_marginal(s) for s in sigma]
    np.testing.assert_allclose(one.log_marginal(sigma), exact, rtol=1e-6, atol=1e-6)
    # Without errors it is the other model.
    none = MeasuredConditional.of(predictors, response, one.mean, one.deviation, 0 * error)
    plain = Conditional.of(predictors, response, one.mean, one.deviation)
    found = [none.exact_log_marginal(s) for s in (0.1, 0.7, 3.0)]
    expected = [plain.log_marginal(s) for s in (0.1, 0.7, 3.0)]
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-9)


def test_measurement_errors_that_cannot_be_are_refused():
    table = planted(12)
    table.columns["wrong"] = np.full(12, -1.0)
    for unit, sentence in (
        ("eV", "in the unit of holes"),
        ("1/nm^2", "is -1 for the structure s0"),
    ):
        table.units["wrong"] = unit
        with pytest.raises(DataError, match=sentence):
            make_design(parse("holes ~ density"), table, "wrong")


def test_without_intercept_and_with_powers():
    table = planted()
    x = table.columns["density"] - table.columns["density"].mean()
    noise = np.random.default_rng(5).normal(0, 0.1, 72)
    table.columns["holes"] = 900 * table.columns["ni_per_hf"] + 4 * x - 2 * x**2 + noise
    groups = sample("holes ~ 0 + ni_per_hf + center(density) + center(density)^2", table)
    assert "Intercept" not in groups["posterior"]
    found = estimates(groups)
    for name, value in {"ni_per_hf": 900, "center(density)": 4, "center(density)^2": -2}.items():
        assert abs(found[name].mean - value) < 4 * found[name].sd
        assert found[name].sd < 0.05 * abs(value)


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
def test_small_scatter_is_estimated_as_any_other(noise):
    # Under flat priors the posterior is the same in units of the scatter, whatever that is.
    table = planted()
    rng = np.random.default_rng(5)
    fit = 4 * table.columns["density"] - 0.1 * table.columns["twist"]
    table.columns["holes"] = fit + noise * rng.normal(size=72)
    groups = sample("holes ~ density + twist", table)
    found = estimates(groups)
    matrix = np.column_stack([np.ones(72), table.columns["density"], table.columns["twist"]])
    best, (square,), *_ = np.linalg.lstsq(matrix, table.columns["holes"] / noise - fit / noise)
    wide = np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)) * square / 69)
    for name, true, shift, width in zip(
        ("Intercept", "density", "twist"), (0, 4, -0.1), best, wide, strict=True
    ):
        # Student's t of 68 degrees, its sd 1.5 % wider than the scale; 2000 draws tell sds to 2 %.
        assert found[name].sd == pytest.approx(noise * width, rel=0.1)
        # Rounding of numbers of the order of 30 is 4e-15.
        assert found[name].mean - true == pytest.approx(
            noise * shift, abs=0.15 * noise * width + 2e-14
        )
    assert found["sigma"].mean == pytest.approx(noise * np.sqrt(square / 69), rel=0.03)
    assert faults(groups, list(found.values())) == []


def test_terms_that_nearly_depend_on_each_other():
    # The sum of the coefficients is known, their difference is as the priors leave it: 2.5 each.
    table = planted()
    rng = np.random.default_rng(5)
    density = table.columns["density"]
    table.columns["twist"] = density + 1e-4 * rng.normal(size=72)
    groups = sample("holes ~ density + twist", table)
    posterior = groups["posterior"]
    alone = sample("holes ~ density", table)["posterior"]
    both = posterior["density"] + posterior["twist"]
    assert float(both.mean()) == pytest.approx(float(alone["density"].mean()), abs=0.1)
    assert float(both.std()) == pytest.approx(float(alone["density"].std()), rel=0.1)
    wide = 2.5 * table.columns["holes"].std() / density.std() / np.sqrt(2)
    assert float(posterior["density"].std()) == pytest.approx(wide, rel=0.1)
    assert faults(groups, summarize_posterior(posterior)) == []
    assert int(groups["sample_stats"]["tree_depth"].max()) <= 5


def test_a_prior_against_the_data():
    # A coefficient held at zero leaves all of its effect to sigma.
    table = planted()
    table.columns["holes"] = 4 * table.columns["density"] + 1e-4 * table.columns["holes"]
    groups = sample("holes ~ density", table, ["density=normal(0,1e-6)"])
    found = estimates(groups)
    assert found["density"].sd == pytest.approx(1e-6, rel=0.1)
    assert found["sigma"].mean == pytest.approx(table.columns["holes"].std(), rel=0.1)


def test_marginal_likelihood_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    predictors, response = rng.normal(size=(7, 3)), rng.normal(size=7)
    mean, sd = rng.normal(size=3), rng.uniform(0.1, 3, 3)
    conditional = Conditional.of(predictors, response, mean, sd)
    found, expected = [], []
    for sigma in (0.1, 0.7, 3.0):
        covariance = sigma**2 * np.eye(7) + predictors * sd**2 @ predictors.T
        full = stats.multivariate_normal(predictors @ mean, covariance)
        expected.append(full.logpdf(response))
        found.append(conditional.log_marginal(sigma))
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-10)
    # Coefficients given sigma, by the textbook's formulas.
    inverse = np.linalg.inv(predictors.T @ predictors / 0.7**2 + np.diag(sd**-2.0))
    middle = inverse @ (predictors.T @ response / 0.7**2 + mean / sd**2)
    sigma = np.full((1, 4), 0.7)
    z = np.concatenate([np.zeros((1, 3)), np.eye(3)])[None]
    drawn = conditional.coefficients(sigma, z)[0]
    np.testing.assert_allclose(drawn[0], middle, rtol=1e-10)
    root = drawn[1:] - drawn[0]
    np.testing.assert_allclose(root.T @ root, inverse, rtol=1e-9, atol=1e-12)


def test_intercept_alone():
    groups = sample("holes ~ 1", planted())
    found = estimates(groups)
    holes = planted().columns["holes"]
    assert abs(found["Intercept"].mean - holes.mean()) < 0.2 * found["Intercept"].sd
    assert np.all(groups["posterior"]["R2"] == 0)


def test_units_of_a_column_go_into_its_coefficient_only():
    # A power of two, for which rounding is the same and so are all random decisions.
    table, scaled = planted(), planted()
    scaled.columns["density"] = 1024 * scaled.columns["density"]
    scaled.columns["holes"] = scaled.columns["holes"] / 8
    few = Sampling(chains=1, draws=200, tune=200)
    one, two = (sample(FORMULA, t, sampling=few)["posterior"] for t in (table, scaled))
    for name, factor in {"density": 1 / 8192, "twist": 1 / 8, "sigma": 1 / 8, "R2": 1}.items():
        np.testing.assert_allclose(two[name], factor * one[name], rtol=1e-12)


def test_seed_decides_alone():
    def run(seed, jobs):
        sampling = Sampling(chains=2, draws=200, tune=200, seed=seed, jobs=jobs)
        return sample(FORMULA, planted(), sampling=sampling)

    first, second, other = run(7, 1), run(7, 2), run(8, 1)
    for group in ("posterior", "sample_stats"):
        assert first[group].identical(second[group]), group
    assert not np.any(first["posterior"]["density"].values == other["posterior"]["density"].values)


def test_bad_sampling_is_noticed():
    groups = sample(FORMULA, planted(), sampling=Sampling(chains=1, draws=100, tune=100))
    found = faults(groups, summarize_posterior(groups["posterior"]))
    assert any("density: R-hat is nan" in fault for fault in found)
    assert any("density: the effective sample size is" in fault for fault in found)
    groups["sample_stats"]["diverging"][0, :3] = True
    assert faults(groups, [])[0].startswith("3 draws diverged")
    # One chain that sits elsewhere.
    two = sample("holes ~ density", planted())
    two["posterior"]["density"][0] += 20
    assert any("density: R-hat is" in f for f in faults(two, summarize_posterior(two["posterior"])))


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupt_ends_all_chains(jobs, monkeypatch):
    """All chains would take minutes, and the first report of progress comes soon."""

    @contextlib.contextmanager
    def interrupting(*_):
        yield SimpleNamespace(advance=lambda *_: os.kill(os.getpid(), signal.SIGINT))

    monkeypatch.setattr(regression, "progress", interrupting)
    before = psutil.Process().children(recursive=True)  # of other tests
    with pytest.raises(KeyboardInterrupt):
        sample(FORMULA, planted(), sampling=Sampling(chains=4, draws=100_000, jobs=jobs))
    working = [
        child
        for child in psutil.Process().children(recursive=True)
        if child not in before and "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert working == []
