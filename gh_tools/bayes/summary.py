"""What a posterior says, in numbers, and whether it can be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gh_tools.bayes.design import R2, SIGMA

if TYPE_CHECKING:
    import xarray

# Vehtari et al., Bayesian Analysis 16, 667 (2021).
_RHAT_LIMIT = 1.01
_ESS_LIMIT = 400
_ROUNDING = 1e-12  # of R2


@dataclass(frozen=True)
class Estimate:
    """What is known of one parameter.

    Attributes:
        name: of the parameter.
        unit: of its values.
        mean: of the posterior.
        sd: of the posterior.
        hdi: ends of the highest-density interval.
        positive: probability that the parameter is above zero.
        rhat: rank-normalised split R-hat: 1 if the chains agree; NaN for a single chain.
        ess_bulk: effective number of independent draws for the mean.
        ess_tail: same for the 5 % and 95 % quantiles.
    """

    name: str
    unit: str
    mean: float
    sd: float
    hdi: tuple[float, float]
    positive: float
    rhat: float
    ess_bulk: float
    ess_tail: float

    @property
    def signed(self) -> bool:
        """Whether the parameter may be of either sign: a coefficient, not sigma or R2."""
        return self.name not in (SIGMA, R2)

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero, so that the data decide the sign."""
        return not self.hdi[0] <= 0 <= self.hdi[1]

    def as_dict(self) -> dict[str, object]:
        """Return the estimate as a JSON-like object; what is no number is None."""
        return {
            "unit": self.unit,
            "mean": self.mean,
            "sd": self.sd,
            "hdi": list(self.hdi),
            **({"probability_positive": self.positive} if self.signed else {}),
            **({"sign_decided": self.decided} if self.signed else {}),
            "rhat": self.rhat if np.isfinite(self.rhat) else None,
            "ess_bulk": self.ess_bulk,
            "ess_tail": self.ess_tail,
        }


def rounded(value: float, sd: float) -> str:
    """Return a number to the second significant digit of its standard deviation, beyond which digits say nothing.

    Args:
        value: to be written.
        sd: standard deviation of the posterior; where it is none, four digits are given.
    """
    if not (np.isfinite(sd) and sd > 0 and np.isfinite(value)):
        return f"{value:.4g}"
    place = int(np.floor(np.log10(sd))) - 1
    value = round(value, -place) + 0.0  # no minus zero
    if -5 <= place <= 3 and abs(value) < 1e6:
        return f"{value:.{max(0, -place)}f}"
    digits = max(0, int(np.floor(np.log10(abs(value)))) - place) if value else 0
    return f"{value:.{digits}e}"


def summarize_posterior(posterior: xarray.Dataset, probability: float = 0.94) -> list[Estimate]:
    """Summarise each parameter of a posterior.

    Args:
        posterior: parameters over chain and draw, with an attribute ``unit``.
        probability: of the highest-density interval.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz

        rhat = arviz.rhat(posterior)
        bulk = arviz.ess(posterior, method="bulk")
        # Given explicitly because the default differs between versions of ArviZ.
        tail = arviz.ess(posterior, method="tail", prob=(0.05, 0.95))
        hdi = arviz.hdi(posterior, probability)
    estimates = []
    for name, values in posterior.data_vars.items():
        draws = values.values.ravel()
        estimates.append(
            Estimate(
                str(name),
                values.attrs.get("unit", ""),
                float(draws.mean()),
                float(draws.std(ddof=1)),
                (float(hdi[name].values[0]), float(hdi[name].values[1])),
                float((draws > 0).mean()),
                float(rhat[name]),
                float(bulk[name]),
                float(tail[name]),
            )
        )
    return estimates


def faults(groups: Mapping[str, xarray.Dataset], estimates: list[Estimate]) -> list[str]:
    """Return a sentence for each sign that the sampling cannot be trusted; none if it can."""
    found = []
    divergent = int(groups["sample_stats"]["diverging"].sum())
    if divergent:
        found.append(f"{divergent} draws diverged: parts of the posterior may be missing")
    for estimate in estimates:
        if estimate.name == R2 and estimate.sd < _ROUNDING:
            continue  # 0 or 1 in all draws: there is nothing that chains could disagree on
        if not estimate.rhat <= _RHAT_LIMIT:
            found.append(
                f"{estimate.name}: R-hat is {estimate.rhat:.3f}, above {_RHAT_LIMIT}: the chains "
                "do not agree; use more --draws and --tune, and at least 2 --chains"
            )
        ess = min(estimate.ess_bulk, estimate.ess_tail)
        if not ess >= _ESS_LIMIT:
            found.append(
                f"{estimate.name}: the effective sample size is {ess:.0f}, below {_ESS_LIMIT}; "
                "use more --draws"
            )
    return found
