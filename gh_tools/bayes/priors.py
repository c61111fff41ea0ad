"""Priors of the parameters, in the user's units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gh_tools.bayes.design import INTERCEPT, SIGMA, Design
from gh_tools.errors import UsageError

# Weakly regularising: a change of a predictor by its standard deviation is unlikely to change the
# response by more than some of its own standard deviations.
_COEFFICIENT_SCALE = 2.5
_SIGMA_SCALE = 1.0

_FAMILIES = {"normal": ("mean", "sd"), "halfnormal": ("scale",), "exponential": ("mean",)}


@dataclass(frozen=True)
class Prior:
    """A distribution.

    Attributes:
        family: ``normal``, ``halfnormal`` or ``exponential``.
        arguments: mean and standard deviation; scale; or mean.
    """

    family: str
    arguments: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.family}({', '.join(f'{value:.6g}' for value in self.arguments)})"


def parse_priors(options: Iterable[str]) -> dict[str, Prior]:
    """Read priors given as ``NAME=normal(0, 1)``.

    Raises:
        UsageError: one cannot be read, or a name comes twice.
    """
    priors: dict[str, Prior] = {}
    for option in options:
        name, _, text = (part.strip() for part in option.rpartition("="))
        match = re.fullmatch(r"([a-z]+)\(([^()]*)\)", text)
        arguments = _numbers(match[2]) if match else None
        if not name or not match or arguments is None or match[1] not in _FAMILIES:
            raise UsageError(
                f"--prior {option}: expected NAME=normal(mean, sd), or for sigma "
                "sigma=halfnormal(scale) or sigma=exponential(mean)"
            )
        expected = _FAMILIES[match[1]]
        if len(arguments) != len(expected) or not arguments[-1] > 0:
            raise UsageError(
                f"--prior {option}: expected {match[1]}({', '.join(expected)}) with a positive "
                f"{expected[-1]}"
            )
        if name in priors:
            raise UsageError(f"--prior {option}: {name} has two priors; give one")
        priors[name] = Prior(match[1], arguments)
    return priors


def _numbers(text: str) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def complete_priors(design: Design, given: dict[str, Prior]) -> dict[str, Prior]:
    """Return a prior for each parameter of a model: those given, defaults for the rest.

    All are in the user's units. That of the intercept is for the response at the mean of all predictors,
    because zero of all predictors may be far from any structure. The defaults are normal(0, 2.5) for
    coefficients and intercept and halfnormal(1) for sigma, once predictors and response are standardised.

    Raises:
        UsageError: a prior is for no parameter of the model, or of a family that does not fit it.
    """
    known = (*design.coefficients, SIGMA)
    for name, prior in given.items():
        if name not in known:
            raise UsageError(
                f"--prior {name}={prior}: the model has no parameter {name!r}; it has "
                f"{', '.join(known)}"
            )
        if (prior.family == "normal") == (name == SIGMA):
            fitting = (
                "halfnormal(scale) or exponential(mean)" if name == SIGMA else "normal(mean, sd)"
            )
            raise UsageError(f"--prior {name}={prior}: {name} takes {fitting}")
    size = design.response_scale
    defaults = {SIGMA: Prior("halfnormal", (_SIGMA_SCALE * size,))}
    if design.formula.intercept:
        defaults[INTERCEPT] = Prior("normal", (design.response_center, _COEFFICIENT_SCALE * size))
    for term, scale in zip(design.terms, design.predictor_scale, strict=True):
        defaults[term] = Prior("normal", (0.0, _COEFFICIENT_SCALE * size / float(scale)))
    return {name: given.get(name, defaults[name]) for name in known}
