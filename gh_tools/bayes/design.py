"""The design matrix of a linear model, checked, and standardised for sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.bayes.formula import Formula
from gh_tools.bayes.table import Table
from gh_tools.errors import DataError, UsageError

INTERCEPT, SIGMA, R2 = "Intercept", "sigma", "R2"

# A column is taken for a combination of others if less than this part of its variance is its own:
# float32 columns leave 1e-14, honest ones far more.
_OWN_VARIANCE = 1e-9
# A standard deviation is rounding if it is smaller than this part of the values.
_LEAST_DEVIATION = 1e-12
# Between these coefficients are numbers that floating point has room for, squares of deviations and all.
_LEAST, _MOST = 1e-290, 1e290
_STRONG_INFLATION = 10.0  # customary limit of the variance inflation factor


@dataclass(frozen=True)
class Design:
    """A response and the terms that shall explain it, in the user's units, with their scales.

    With an intercept, centres are means and scales standard deviations; without, centres are zero and
    scales root mean squares, so that a standardised model has no intercept either.

    Attributes:
        formula: what it was made from.
        terms: label of each term.
        predictors: values of the terms.
        response: values of the response.
        predictor_center: what is subtracted from the terms before sampling.
        predictor_scale: what they are divided by.
        response_center: same of the response.
        response_scale: same of the response.
        units: of the coefficients, of `INTERCEPT`, `SIGMA` and `R2`, by name.
        inflation: variance inflation factor of each term: 1/(1 - R^2) from regressing it on the others.
        error: standard deviation with which each response was measured, in its unit; None if that is not known.
    """

    formula: Formula
    terms: tuple[str, ...]
    predictors: Float[np.ndarray, "n terms"]
    response: Float[np.ndarray, " n"]
    predictor_center: Float[np.ndarray, " terms"]
    predictor_scale: Float[np.ndarray, " terms"]
    response_center: float
    response_scale: float
    units: dict[str, str]
    inflation: Float[np.ndarray, " terms"]
    error: Float[np.ndarray, " n"] | None = None

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of what is estimated, but for sigma: the intercept, if any, and the terms."""
        return (INTERCEPT, *self.terms) if self.formula.intercept else self.terms

    def standardised(self) -> tuple[Float[np.ndarray, "n terms"], Float[np.ndarray, " n"]]:
        """Return predictors and response, centred and scaled."""
        return (
            (self.predictors - self.predictor_center) / self.predictor_scale,
            (self.response - self.response_center) / self.response_scale,
        )

    def warnings(self) -> list[str]:
        """Return a sentence for each reason why coefficients may not mean what they seem to.

        Terms that are nearly combinations of others have coefficients that the data hardly tell
        apart. Without an intercept, terms that never change their sign explain the response's mean,
        and so have coefficients of a certain sign even if the response does not depend on them.
        """
        found = [
            f"{term} is nearly a linear combination of the other terms (variance inflation "
            f"{factor:.0f}): the data hardly tell their coefficients apart"
            for term, factor in zip(self.terms, self.inflation, strict=True)
            if factor > _STRONG_INFLATION
        ]
        one_signed = [
            term
            for term, values in zip(self.terms, self.predictors.T, strict=True)
            if (values >= 0).all() or (values <= 0).all()
        ]
        if not self.formula.intercept and one_signed:
            found.append(
                f"there is no intercept, so that {' and '.join(one_signed)} must explain the mean of "
                f"{self.formula.response}: the sign of a coefficient may come from that mean, not "
                "from a dependence; compare with the formula without 0"
            )
        return found


def make_design(formula: Formula, table: Table, error: str | None = None) -> Design:
    """Evaluate a formula on a table.

    Args:
        formula: the model.
        table: the data.
        error: column of the standard deviations with which the response was measured.

    Raises:
        DataError: errors that are negative or in another unit than the response; values that are not finite or too large, a constant response or term, terms that are
            linear combinations of others, a response that is one of the terms, or fewer structures than
            parameters; the message names the column.
        UsageError: a term has the name of another parameter.
    """
    terms = tuple(str(term) for term in formula.terms)
    for reserved in (INTERCEPT, SIGMA, R2):
        if reserved in terms:
            raise UsageError(
                f"formula {str(formula)!r}: {reserved} is the name of a parameter of the model; "
                "rename the column"
            )
    for name in (formula.response, *formula.predictors, *([error] if error else [])):
        _check_finite(table, name)
    response = table.columns[formula.response]
    n, parameters = len(response), len(terms) + formula.intercept + 1
    if n < parameters:
        raise DataError(
            f"{table.source}: {n} structures do not determine the {parameters} parameters of "
            f"{str(formula)!r} (sigma among them); give more structures or leave terms out"
        )
    with np.errstate(over="ignore"):
        columns = [term.evaluate(table.columns) for term in formula.terms]
    predictors = np.stack(columns, axis=1) if columns else np.zeros((n, 0))
    for name, values in ((formula.response, response), *zip(terms, columns, strict=True)):
        if not float(np.abs(values).max()) < _MOST:
            raise DataError(
                f"{table.source}: {name} has values of {_MOST:g} or more, which leave floating-point "
                "numbers no room; change its unit"
            )
    center, scale = _center_and_scale(predictors, formula.intercept)
    response_center, response_scale = _center_and_scale(response, formula.intercept)
    constant = "is the same for all structures" if formula.intercept else "is zero throughout"
    if response_scale == 0:
        raise DataError(
            f"{table.source}: the response {formula.response} {constant}: there is nothing to explain"
        )
    for term, width in zip(terms, scale, strict=True):
        if width == 0:
            raise DataError(
                f"{table.source}: {term} {constant}, so that it has no effect that the data could "
                "show; leave it out of the formula"
            )
        with np.errstate(over="ignore", under="ignore"):
            slope = response_scale / width
        if not _LEAST < slope < _MOST:
            raise DataError(
                f"{table.source}: {term} varies by {width:.2g} and {formula.response} by "
                f"{response_scale:.2g}, so that the coefficient has no room among floating-point numbers; "
                "change a unit"
            )
    inflation = _inflation((predictors - center) / scale)
    _check_independent(terms, inflation, table.source)
    _check_scatter(table, formula, terms, predictors, response, (center, scale, response_scale))
    units = {SIGMA: table.units[formula.response], R2: ""}
    for product in formula.terms:
        unit = product.unit(table.units)
        units[str(product)] = _quotient(table.units[formula.response], unit)
    if formula.intercept:
        units[INTERCEPT] = table.units[formula.response]
    return Design(
        formula,
        terms,
        predictors,
        response,
        center,
        scale,
        float(response_center),
        float(response_scale),
        units,
        inflation,
        None if error is None else _measurement_error(table, formula.response, error),
    )


def _measurement_error(table: Table, response: str, name: str) -> Float[np.ndarray, " n"]:
    """Return the column of measurement errors.

    Raises:
        DataError: it cannot be what it is said to be.
    """
    values, unit = table.columns[name], table.units[name]
    if unit != table.units[response]:
        raise DataError(
            f"{table.source}: {name}: expected measurement errors in the unit of {response} "
            f"({table.units[response] or 'none'}), found {unit or 'none'}; name the column of its own errors"
        )
    if values.min() < 0:
        row = int(np.argmin(values))
        raise DataError(
            f"{table.source}: {name} is {values[row]:g} for the structure {table.rows[row]}, and a measurement error "
            "is never negative; name a column of standard deviations"
        )
    return values


def _check_finite(table: Table, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(table.columns[name]))
    if len(bad):
        others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise DataError(
            f"{table.source}: {name} is {table.columns[name][bad[0]]} for the structure "
            f"{table.rows[bad[0]]}{others}; leave {name} out of the formula, or those structures out "
            "of the store"
        )


def _center_and_scale(values: np.ndarray, centred: bool) -> tuple[Any, Any]:
    """Return mean and standard deviation: arrays for columns, numbers for one column."""
    # In units of the largest value no square overflows or vanishes.
    peak = np.abs(values).max(axis=0)
    peak = np.where(peak > 0, peak, 1.0)
    values = values / peak
    center = values.mean(axis=0) if centred else np.zeros(values.shape[1:])
    scale = np.sqrt(np.mean((values - center) ** 2, axis=0))
    # Rounding leaves the mean of equal numbers some ulps beside them: they do not vary.
    return center * peak, np.where(scale > _LEAST_DEVIATION, scale * peak, 0.0)


def _check_scatter(
    table: Table,
    formula: Formula,
    terms: tuple[str, ...],
    predictors: Float[np.ndarray, "n terms"],
    response: Float[np.ndarray, " n"],
    sizes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Raise an error if the response is the terms' linear combination to rounding.

    Sigma is zero then and the posterior, which grows as sigma^-(n - k) towards it, is none.
    """
    center, scale, response_scale = sizes
    size = 1 / response_scale
    matrix = (predictors - center) / scale
    target = response * size
    if formula.intercept:
        matrix = np.column_stack([np.ones(len(response)), matrix])
    best = np.linalg.lstsq(matrix, target)[0]
    slopes = best[int(formula.intercept) :]
    # What rounding of the values themselves makes, in units of the response's standard deviation.
    rounding = np.abs(target).max() + np.sum(abs(slopes) * (np.abs(predictors) / scale).max(axis=0))
    residual = np.sqrt(np.mean((target - matrix @ best) ** 2))
    if residual > 32 * np.finfo(float).eps * (1 + rounding):
        return
    exact = " + ".join(
        f"{slope * response_scale / width:.6g} {term}"
        for slope, width, term in zip(slopes, scale, terms, strict=True)
    )
    constant = " + a constant" if formula.intercept else ""
    raise DataError(
        f"{table.source}: {formula.response} is exactly {exact}{constant}, to rounding: there is no "
        "scatter, so that a regression has nothing to estimate; leave out the term that defines "
        f"{formula.response}, or explain another response"
    )


def _inflation(standardised: Float[np.ndarray, "n terms"]) -> Float[np.ndarray, " terms"]:
    """Return the diagonal of the inverse correlation matrix; huge where a term depends on others.

    With singular values s and right vectors V of the standardised matrix X, the k-th diagonal element
    of (X^T X / n)^-1 is the sum over j of V_jk^2 n / s_j^2.
    """
    if standardised.shape[1] == 0:
        return np.ones(0)
    _, singular, vectors = np.linalg.svd(standardised, full_matrices=False)
    # Below rounding a singular value means nothing, and zero would inflate terms that depend on nothing.
    singular = np.maximum(singular, np.finfo(float).eps * singular[0])
    return len(standardised) * (vectors**2 / singular[:, None] ** 2).sum(axis=0)


def _check_independent(terms: tuple[str, ...], inflation: np.ndarray, source: str) -> None:
    dependent = [t for t, f in zip(terms, inflation, strict=True) if f > 1 / _OWN_VARIANCE]
    if dependent:
        raise DataError(
            f"{source}: the terms {', '.join(dependent)} are linearly dependent, so that the data cannot "
            f"tell their coefficients apart; leave {dependent[-1]} out of the formula"
        )


def _quotient(numerator: str, denominator: str) -> str:
    if not denominator:
        return numerator
    compound = not denominator.isalpha()
    return f"{numerator or '1'}/{f'({denominator})' if compound else denominator}"
