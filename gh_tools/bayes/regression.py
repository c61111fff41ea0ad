"""Sampling a linear model with PyMC's No-U-Turn sampler."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gh_tools.bayes.design import INTERCEPT, R2, SIGMA, Design
from gh_tools.bayes.measured import MeasuredConditional
from gh_tools.bayes.priors import Prior
from gh_tools.console import progress

if TYPE_CHECKING:
    import xarray

# What every version of PyMC records and does not change from run to run, unlike times.
_STATISTICS = (
    "acceptance_rate",
    "diverging",
    "energy",
    "lp",
    "n_steps",
    "step_size",
    "tree_depth",
)
_REPORT_EVERY = 100  # draws


@dataclass(frozen=True)
class Sampling:
    """How to sample; the defaults are the paper's.

    Attributes:
        chains: independent chains.
        draws: kept draws a chain.
        tune: draws before them, which adapt step size and mass matrix.
        seed: of all random numbers.
        jobs: chains sampled at once, each in a process of its own if more than one; the result does not
            depend on it. Handing draws from process to process costs about as much as making them, so
            that two gain next to nothing.
    """

    chains: int = 8
    draws: int = 4000
    tune: int = 2000
    seed: int = 0
    jobs: int = 1


def sample_posterior(
    design: Design, priors: Mapping[str, Prior], sampling: Sampling
) -> dict[str, xarray.Dataset]:
    """Sample the posterior of a linear model with normal residuals.

    The response is y ~ Normal(Intercept + sum_t c_t x_t, sigma), eq. (1) of arXiv:2506.10298 with an
    intercept; with measurement errors s_i of the design, the variance is sigma² + s_i². What is sampled is the same model of standardised variables, in other coordinates: given
    sigma, the coefficients are normal with mean and covariance in closed form, so that the sampler draws
    sigma from its marginal posterior and standard normal numbers that make the coefficients. So neither a
    small sigma nor terms that are nearly dependent slow it down; see `Conditional`.

    Args:
        design: the data.
        priors: one for each parameter, in the user's units, from `complete_priors`.
        sampling: how many draws, and how.

    Returns:
        Groups of ArviZ's InferenceData schema: ``posterior`` (parameters in the user's units, and R2,
        the explained part of the variance), ``sample_stats``, ``observed_data`` and ``constant_data``.

    Raises:
        KeyboardInterrupt: the user interrupted.
    """
    import xarray

    beta, scatter, recorded = _run(design, priors, sampling)
    named = _user_units(design, beta, scatter)
    coordinates = {"chain": np.arange(sampling.chains), "draw": np.arange(sampling.draws)}
    statistics = {name: recorded[name].values for name in _STATISTICS}
    return {
        "posterior": xarray.Dataset(
            {
                name: (("chain", "draw"), values, {"unit": design.units[name]})
                for name, values in named.items()
            },
            coordinates,
        ),
        "sample_stats": xarray.Dataset(
            {name: (("chain", "draw"), values) for name, values in statistics.items()}, coordinates
        ),
        "observed_data": xarray.Dataset({design.formula.response: ("structure", design.response)}),
        "constant_data": xarray.Dataset(
            {
                term: ("structure", values)
                for term, values in zip(design.terms, design.predictors.T, strict=True)
            }
        ),
    }


def _run(
    design: Design, priors: Mapping[str, Prior], sampling: Sampling
) -> tuple[np.ndarray, np.ndarray, Mapping]:
    """Return standardised coefficients (the intercept first, if any) and sigma, and the statistics."""
    # PyMC and ArviZ warn of plans of their own and of a missing BLAS, which this model does not need.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pymc
        from pytensor import tensor

        logging.getLogger("pymc").setLevel(logging.ERROR)
        predictors, response = design.standardised()
        if design.formula.intercept:
            predictors = np.column_stack([np.ones(len(response)), predictors])
        normal = _standardised_normal(design, priors)
        conditional: Conditional | MeasuredConditional
        if design.error is None:
            conditional = Conditional.of(predictors, response, *normal)
        else:
            error = design.error / design.response_scale
            conditional = MeasuredConditional.of(predictors, response, *normal, error)
        scatter_prior = priors[SIGMA]
        scale = scatter_prior.arguments[0] / design.response_scale
        length = sampling.draws + sampling.tune
        total = sampling.chains * length
        processes = min(sampling.chains, sampling.jobs)
        done = 0
        with pymc.Model(), progress("Sampling", total) as shown:
            start = conditional.likeliest()
            if scatter_prior.family == "halfnormal":
                scatter = pymc.HalfNormal("scatter", sigma=scale, initval=start)
            else:
                scatter = pymc.Exponential("scatter", scale=scale, initval=start)
            pymc.Potential("marginal", conditional.log_marginal(scatter, tensor))
            pymc.Normal("z", shape=conditional.size)

            def count(draw, **_) -> None:
                nonlocal done
                # PyMC's answer to an interrupt is to cut one chain short and begin the next.
                if processes == 1 and done < draw.chain * length:
                    raise KeyboardInterrupt
                done += 1
                if done % _REPORT_EVERY == 0:
                    shown.advance(_REPORT_EVERY)

            # Cut short, it returns what there is, or fails if that is nothing.
            try:
                trace = pymc.sample(
                    draws=sampling.draws,
                    tune=sampling.tune,
                    chains=sampling.chains,
                    cores=processes,
                    random_seed=sampling.seed,
                    nuts_sampler="pymc",
                    target_accept=0.95,  # sigma alone is curved, and steps cost next to nothing
                    progressbar=False,
                    quiet=True,
                    compute_convergence_checks=False,
                    callback=count,
                )
            except ValueError as error:
                if not done:
                    raise
                raise KeyboardInterrupt from error
    if done < total:
        raise KeyboardInterrupt
    drawn = trace["posterior"]
    scatter = drawn["scatter"].values
    return conditional.coefficients(scatter, drawn["z"].values), scatter, trace["sample_stats"]


@dataclass(frozen=True)
class Conditional:
    """The coefficients of a linear model given its sigma, and the marginal likelihood of sigma.

    With the prior b ~ Normal(m, D²), D diagonal, X D = U S Wᵀ and c = Uᵀ (y - X m), the coefficients are

        b = m + D W g,  g_j = S_j c_j / (σ² + S_j²) + σ / √(σ² + S_j²) z_j,  z ~ Normal(0, 1),

    and the response with all coefficients integrated out has, with ρ² = |y - X m - U c|²,

        log p(y | σ) = -(n - k) log σ - ρ² / 2σ² - Σ_j [log(σ² + S_j²) + c_j² / (σ² + S_j²)] / 2.

    Attributes:
        mean: m.
        basis: D W.
        singular: S.
        projection: c.
        residual: ρ².
        freedom: n - k.
    """

    mean: Float[np.ndarray, " k"]
    basis: Float[np.ndarray, "k k"]
    singular: Float[np.ndarray, " k"]
    projection: Float[np.ndarray, " k"]
    residual: float
    freedom: int

    @classmethod
    def of(
        cls,
        predictors: Float[np.ndarray, "n k"],
        response: Float[np.ndarray, " n"],
        mean: Float[np.ndarray, " k"],
        sd: Float[np.ndarray, " k"],
    ) -> Conditional:
        """Return the model of some data.

        Args:
            predictors: X.
            response: y.
            mean: m, of the coefficients' priors.
            sd: the diagonal of D, standard deviations of these priors.
        """
        left, singular, right = np.linalg.svd(predictors * sd, full_matrices=False)
        rest = response - predictors @ mean
        projection = left.T @ rest
        residual = float(np.sum((rest - left @ projection) ** 2))
        freedom = len(response) - len(mean)
        return cls(mean, sd[:, None] * right.T, singular, projection, residual, freedom)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.mean)

    def log_marginal(self, sigma, math: Any = np):
        """Return log p(y | σ) but for a constant, by NumPy or by another library's functions."""
        variance = sigma**2 + self.singular**2
        return (
            -self.freedom * math.log(sigma)
            - self.residual / (2 * sigma**2)
            - 0.5 * math.sum(math.log(variance) + self.projection**2 / variance)
        )

    def likeliest(self) -> float:
        """Return the sigma, on a grid of 1000 in the units of the standardised response, to begin with."""
        grid = np.geomspace(1e-16, 10, 1000)
        return float(grid[np.argmax([self.log_marginal(sigma) for sigma in grid])])

    def coefficients(
        self, sigma: Float[np.ndarray, "chain draw"], z: Float[np.ndarray, "chain draw k"]
    ) -> Float[np.ndarray, "chain draw k"]:
        """Return the coefficients that sigma and standard normal numbers stand for."""
        sigma = sigma[..., None]
        variance = sigma**2 + self.singular**2
        inner = self.singular * self.projection / variance + sigma / np.sqrt(variance) * z
        return self.mean + inner @ self.basis.T


def _standardised_normal(
    design: Design, priors: Mapping[str, Prior]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the priors of ``beta``."""
    scales = [1.0] * design.formula.intercept + list(design.predictor_scale)
    arguments = np.array([priors[name].arguments for name in design.coefficients])
    if design.formula.intercept:
        arguments[0, 0] -= design.response_center
    return tuple(arguments.T * scales / design.response_scale)


def _user_units(
    design: Design,
    beta: Float[np.ndarray, "chain draw k"],
    scatter: Float[np.ndarray, "chain draw"],
) -> dict[str, Float[np.ndarray, "chain draw"]]:
    """Return the parameters and R2 from the standardised ones."""
    effects = beta[..., int(design.formula.intercept) :]
    slopes = effects * (design.response_scale / design.predictor_scale)
    named: dict[str, np.ndarray] = {}
    if design.formula.intercept:
        at_mean = design.response_center + beta[..., 0] * design.response_scale
        named[INTERCEPT] = at_mean - slopes @ design.predictor_center
    named |= {term: slopes[..., index] for index, term in enumerate(design.terms)}
    # Gelman et al., The American Statistician 73, 307 (2019): the variance of the fit over its sum
    # with that of the residuals. The variance of the fit is a quadratic form in the coefficients.
    predictors, _ = design.standardised()
    deviations = predictors - predictors.mean(axis=0)
    covariance = deviations.T @ deviations / len(deviations)
    fitted = np.einsum("...a,ab,...b->...", effects, covariance, effects)
    return {
        **named,
        SIGMA: scatter * design.response_scale,
        R2: fitted / (fitted + scatter**2),
    }
