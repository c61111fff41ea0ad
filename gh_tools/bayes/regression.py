"""Sampling a linear model with PyMC's No-U-Turn sampler."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gh_tools.bayes.design import INTERCEPT, R2, SIGMA, Design
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
    intercept. What is sampled is the same model of standardised variables.

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

    trace = _run(design, priors, sampling)
    named = _user_units(design, trace["posterior"])
    coordinates = {"chain": np.arange(sampling.chains), "draw": np.arange(sampling.draws)}
    statistics = {name: trace["sample_stats"][name].values for name in _STATISTICS}
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


def _run(design: Design, priors: Mapping[str, Prior], sampling: Sampling) -> Mapping:
    """Sample standardised parameters ``beta`` (the intercept first, if any) and ``scatter``."""
    # PyMC and ArviZ warn of plans of their own and of a missing BLAS, which this model does not need.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pymc

        logging.getLogger("pymc").setLevel(logging.ERROR)
        predictors, response = design.standardised()
        if design.formula.intercept:
            predictors = np.column_stack([np.ones(len(response)), predictors])
        mean, sd = _standardised_normal(design, priors)
        scatter_prior = priors[SIGMA]
        scale = scatter_prior.arguments[0] / design.response_scale
        length = sampling.draws + sampling.tune
        total = sampling.chains * length
        processes = min(sampling.chains, sampling.jobs)
        done = 0
        with pymc.Model(), progress("Sampling", total) as shown:
            beta = pymc.Normal("beta", mu=mean, sigma=sd, shape=len(mean))
            if scatter_prior.family == "halfnormal":
                scatter = pymc.HalfNormal("scatter", sigma=scale)
            else:
                scatter = pymc.Exponential("scatter", scale=scale)
            expected = pymc.math.dot(predictors, beta)
            pymc.Normal("response", mu=expected, sigma=scatter, observed=response)

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
    return trace


def _standardised_normal(
    design: Design, priors: Mapping[str, Prior]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the priors of ``beta``."""
    scales = [1.0] * design.formula.intercept + list(design.predictor_scale)
    arguments = np.array([priors[name].arguments for name in design.coefficients])
    if design.formula.intercept:
        arguments[0, 0] -= design.response_center
    return tuple(arguments.T * scales / design.response_scale)


def _user_units(design: Design, posterior) -> dict[str, np.ndarray]:
    """Return the parameters and R2 from the standardised ones, each [chain, draw]."""
    beta = posterior["beta"].values
    sigma = posterior["scatter"].values * design.response_scale
    slopes = beta[..., int(design.formula.intercept) :] * (
        design.response_scale / design.predictor_scale
    )
    named: dict[str, np.ndarray] = {}
    if design.formula.intercept:
        at_mean = design.response_center + beta[..., 0] * design.response_scale
        named[INTERCEPT] = at_mean - slopes @ design.predictor_center
    named |= {term: slopes[..., index] for index, term in enumerate(design.terms)}
    # Gelman et al., The American Statistician 73, 307 (2019): the variance of the fit over its sum
    # with that of the residuals. The variance of the fit is a quadratic form in the coefficients.
    deviations = design.predictors - design.predictors.mean(axis=0)
    covariance = deviations.T @ deviations / len(deviations)
    fitted = np.einsum("...a,ab,...b->...", slopes, covariance, slopes)
    return {**named, SIGMA: sigma, R2: fitted / (fitted + sigma**2)}
