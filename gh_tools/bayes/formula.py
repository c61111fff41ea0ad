"""Formulas of linear models, such as ``holes ~ ni_per_hf + center(density) + strain^2``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.errors import UsageError

_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
_FACTOR = re.compile(
    rf"(?:center\(\s*(?P<centred>{_NAME})\s*\)|(?P<plain>{_NAME}))(?:\s*\^\s*(?P<power>[2-9]))?"
)
_GRAMMAR = (
    "expected 'response ~ a + b', with terms a, a^2, a:b (product) or center(a) (a minus its mean), "
    "and 0 for no intercept"
)


@dataclass(frozen=True)
class Factor:
    """A column, or the column minus its mean, to a power.

    Attributes:
        name: of the column.
        centred: whether its mean is subtracted.
        power: exponent.
    """

    name: str
    centred: bool = False
    power: int = 1

    def __str__(self) -> str:
        base = f"center({self.name})" if self.centred else self.name
        return base if self.power == 1 else f"{base}^{self.power}"


@dataclass(frozen=True)
class Term:
    """A product of factors, which gets one coefficient.

    Attributes:
        factors: of the product.
    """

    factors: tuple[Factor, ...]

    def __str__(self) -> str:
        return ":".join(map(str, self.factors))

    def evaluate(self, columns: Mapping[str, Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
        """Return the term's values, from the columns' values by name."""
        values: Any = 1.0
        for factor in self.factors:
            column = columns[factor.name]
            if factor.centred:
                deviation = column - column.mean()
                # Rounding leaves the mean of equal numbers some ulps beside them.
                some = np.abs(deviation).max() > 1e-12 * np.abs(column).max()
                column = deviation if some else np.zeros_like(column)
            values = values * column**factor.power
        return values

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the term's unit, from the columns' units by name; empty for a pure number."""
        parts = []
        for factor in self.factors:
            if unit := units[factor.name]:
                unit = f"({unit})" if factor.power > 1 and not unit.isalpha() else unit
                parts.append(unit if factor.power == 1 else f"{unit}^{factor.power}")
        return " ".join(parts)


@dataclass(frozen=True)
class Formula:
    """A linear model, response = intercept + Σ_t β_t term_t + noise.

    Attributes:
        response: name of its column.
        terms: each with a coefficient of its own.
        intercept: whether there is one; else it is zero.
    """

    response: str
    terms: tuple[Term, ...]
    intercept: bool = True

    def __str__(self) -> str:
        right = [*([] if self.intercept else ["0"]), *map(str, self.terms)]
        return f"{self.response} ~ {' + '.join(right) or '1'}"

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the columns on the right, each once, in order."""
        return tuple(dict.fromkeys(f.name for term in self.terms for f in term.factors))


def parse(text: str) -> Formula:
    """Read a formula.

    Args:
        text: ``response ~ terms``, the terms joined by ``+``. A term is a column, a power of it such as
            ``a^2``, a product such as ``a:b``, with ``center(a)`` for a column minus its mean; ``0``
            leaves the intercept out.

    Raises:
        UsageError: it does not follow this grammar, repeats a term, or uses the response on both sides.
    """
    left, tilde, right = text.partition("~")
    response = left.strip()
    if not tilde:
        raise UsageError(f"formula {text!r}: there is no '~'; {_GRAMMAR}")
    if not re.fullmatch(_NAME, response):
        raise UsageError(f"formula {text!r}: {response!r} is no name of a response; {_GRAMMAR}")
    terms: list[Term] = []
    intercept = True
    for part in (part.strip() for part in right.split("+")):
        if part == "0":
            intercept = False
        elif part != "1":
            terms.append(_term(part, text))
    seen: set[frozenset[Factor]] = set()
    for term in terms:
        if frozenset(term.factors) in seen:
            raise UsageError(f"formula {text!r}: the term {term} stands there twice; leave one out")
        seen.add(frozenset(term.factors))
    formula = Formula(response, tuple(terms), intercept)
    if not terms and not intercept:
        raise UsageError(f"formula {text!r}: there is nothing on the right; {_GRAMMAR}")
    if response in formula.predictors:
        raise UsageError(
            f"formula {text!r}: {response} is on both sides; leave it out on the right"
        )
    return formula


def _term(part: str, text: str) -> Term:
    factors = []
    for piece in part.split(":"):
        match = _FACTOR.fullmatch(piece.strip())
        if not match:
            raise UsageError(f"formula {text!r}: cannot read the term {part!r}; {_GRAMMAR}")
        name = match["centred"] or match["plain"]
        factors.append(Factor(name, bool(match["centred"]), int(match["power"] or 1)))
    if len(set(factors)) < len(factors):
        raise UsageError(f"formula {text!r}: write {part!r} as a power, such as {factors[0]}^2")
    return Term(tuple(factors))
