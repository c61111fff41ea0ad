"""A whole regression: from stores to a posterior store, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gh_tools.bayes.design import INTERCEPT, Design, make_design
from gh_tools.bayes.formula import Formula
from gh_tools.bayes.posterior import write_posterior
from gh_tools.bayes.priors import Prior, complete_priors
from gh_tools.bayes.regression import Sampling, sample_posterior
from gh_tools.bayes.summary import Estimate, faults, rounded, summarize_posterior
from gh_tools.bayes.table import Table, read_columns
from gh_tools.console import log, table
from gh_tools.errors import DataError
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Regression:
    """What is to be sampled.

    Attributes:
        table: the data, checked.
        design: matrix of the predictors, standardised.
        priors: of each parameter, by name.
    """

    table: Table
    design: Design
    priors: dict[str, Prior]


@dataclass(frozen=True)
class Result:
    """What sampling gives.

    Attributes:
        groups: of the store, in ArviZ's schema, by name.
        estimates: a summary of each parameter.
        probability: of the intervals in the summary.
        faults: sentences on why the result may not be trusted; empty if it may.
    """

    groups: Mapping[str, xarray.Dataset]
    estimates: list[Estimate]
    probability: float
    faults: list[str]


def prepare(
    formula: Formula, stores: Sequence[Store], priors: dict[str, Prior], error: str | None = None
) -> Regression:
    """Read and check everything that sampling needs.

    Args:
        formula: the model.
        stores: of structures with results; joined.
        priors: those that the user chose.
        error: column or scalar of the standard deviations with which the response was measured.

    Raises:
        DataError: the data do not fit the formula or do not determine it.
        UsageError: a prior fits no parameter.
    """
    names = (formula.response, *formula.predictors, *([error] if error else []))
    data = read_columns(stores, names)
    design = make_design(formula, data, error)
    return Regression(data, design, complete_priors(design, priors))


def regress(
    regression: Regression,
    sampling: Sampling,
    path: Path,
    provenance: Provenance,
    *,
    probability: float = 0.94,
    strict: bool = False,
    overwrite: bool = False,
) -> Result:
    """Sample, summarise, and write the posterior.

    Args:
        regression: from `prepare`.
        sampling: how many draws, and how.
        path: store to write.
        provenance: how it is made.
        probability: of the highest-density intervals.
        strict: write nothing if the sampling cannot be trusted.
        overwrite: replace a store that is there.

    Raises:
        DataError: ``strict``, and the sampling cannot be trusted.
    """
    groups = sample_posterior(regression.design, regression.priors, sampling)
    estimates = summarize_posterior(groups["posterior"], probability)
    result = Result(groups, estimates, probability, faults(groups, estimates))
    if strict and result.faults:
        report(result)
        raise DataError(
            f"{path}: not written, because the sampling is not to be trusted: {result.faults[0]}"
        )
    write_posterior(
        path,
        groups,
        formula=str(regression.design.formula),
        estimates=estimates,
        probability=probability,
        priors=regression.priors,
        faults=result.faults,
        provenance=provenance,
        overwrite=overwrite,
    )
    return result


def report(result: Result) -> None:
    """Show the summary to a person, and say what the data do not decide and what went wrong."""
    percent = f"{100 * result.probability:g} %"
    table(
        [
            [
                e.name,
                e.unit,
                rounded(e.mean, e.sd),
                rounded(e.sd, e.sd),
                " … ".join(rounded(end, e.sd) for end in e.hdi),
                f"{e.positive:.3f}" if e.signed else "",
                f"{e.rhat:.3f}",
                f"{e.ess_bulk:.0f}",
                f"{e.ess_tail:.0f}",
            ]
            for e in result.estimates
        ],
        ["", "unit", "mean", "sd", f"{percent} HDI", "P(> 0)", "R-hat", "ESS bulk", "ESS tail"],
    )
    for estimate in result.estimates:
        # Where all terms are zero is often far from any structure, so its sign tells nothing.
        if estimate.signed and estimate.name != INTERCEPT and not estimate.decided:
            likely = max(estimate.positive, 1 - estimate.positive)
            log.info(
                "%s: the %s interval includes zero: the data do not decide its sign (%s with "
                "probability %.2f)",
                estimate.name,
                percent,
                "positive" if estimate.positive >= 0.5 else "negative",
                likely,
            )
    for sentence in result.faults:
        log.warning(sentence)
