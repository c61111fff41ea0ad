"""A linear model whose response was measured with known errors, one of each structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

# Draws whose matrices are held at once.
_TOGETHER = 1000
# Logarithms of sigma in the units of the standardised response, and at how many of them the likelihood is tabulated. Of
# smaller ones, where matrices are singular to rounding if there is a response without error, it counts as that of the
# smallest: no prior has more than 1e-4 of its weight there.
_LOG_SIGMA, _KNOTS = (-10.0, 5.0), 3000


@dataclass(frozen=True)
class MeasuredConditional:
    """The coefficients of such a model given its sigma, and the marginal likelihood of sigma.

    With y_i ~ Normal(x_i b, σ² + s_i²), the prior b ~ Normal(m, D²) with D diagonal, W = diag(1 / (σ² + s_i²)),
    r = y - X m, G = 1 + D Xᵀ W X D = L Lᵀ and v = D Xᵀ W r,

        b = m + D (G⁻¹ v + L⁻ᵀ z),  z ~ Normal(0, 1),
        log p(y | σ) = [log det W - log det G - rᵀ W r + vᵀ G⁻¹ v] / 2.

    With s = 0 it is what `Conditional` is, which needs no matrices.

    Attributes:
        mean: m.
        deviation: D.
        scaled: X D.
        rest: r.
        error: s.
    """

    mean: Float[np.ndarray, " k"]
    deviation: Float[np.ndarray, " k"]
    scaled: Float[np.ndarray, "n k"]
    rest: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls,
        predictors: Float[np.ndarray, "n k"],
        response: Float[np.ndarray, " n"],
        mean: Float[np.ndarray, " k"],
        sd: Float[np.ndarray, " k"],
        error: Float[np.ndarray, " n"],
    ) -> MeasuredConditional:
        """Return the model of some data.

        Args:
            predictors: X.
            response: y.
            mean: m, of the coefficients' priors.
            sd: the diagonal of D, standard deviations of these priors.
            error: s, standard errors of the response.
        """
        return cls(mean, sd, predictors * sd, response - predictors @ mean, error)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.mean)

    @cached_property
    def _table(self) -> CubicSpline:
        """The marginal likelihood against log σ, whose features are a unit wide: 1e-10 of them between the knots."""
        knots = np.linspace(*_LOG_SIGMA, _KNOTS)
        return CubicSpline(knots, [self.exact_log_marginal(sigma) for sigma in np.exp(knots)])

    def exact_log_marginal(self, sigma: float) -> float:
        """Return log p(y | σ) but for a constant."""
        weight = 1 / (sigma**2 + self.error**2)
        matrix = np.eye(self.size) + (self.scaled.T * weight) @ self.scaled
        vector = self.scaled.T @ (weight * self.rest)
        return 0.5 * float(
            np.sum(np.log(weight))
            - np.linalg.slogdet(matrix)[1]
            - np.sum(weight * self.rest**2)
            + vector @ np.linalg.solve(matrix, vector)
        )

    def log_marginal(self, sigma, math: Any = np):
        """Return the same from a table, by NumPy or by another library's functions, which then need no matrices."""
        knots = self._table.x
        place = (math.log(sigma) - knots[0]) / (knots[1] - knots[0])
        place = math.clip(place, 0, len(knots) - 1)
        index = math.clip(math.floor(place), 0, len(knots) - 2).astype("int64")
        distance = (place - index) * (knots[1] - knots[0])
        total = 0.0
        for row in self._table.c:
            # PyTensor takes no single element out of a constant.
            total = total * distance + math.take(row, index.reshape((-1,)))
        return total

    def likeliest(self) -> float:
        """Return the sigma, on a grid of 1000 in the units of the standardised response, to begin with."""
        grid = np.geomspace(1e-3, 10, 1000)
        return float(grid[np.argmax(self.log_marginal(grid))])

    def coefficients(
        self, sigma: Float[np.ndarray, "chain draw"], z: Float[np.ndarray, "chain draw k"]
    ) -> Float[np.ndarray, "chain draw k"]:
        """Return the coefficients that sigma and standard normal numbers stand for."""
        flat, normal = sigma.ravel(), z.reshape(-1, self.size, 1)
        parts = []
        for first in range(0, len(flat), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            weight = 1 / (flat[some, None] ** 2 + self.error**2)
            weighted = self.scaled.T * weight[:, None, :]
            matrix = np.eye(self.size) + weighted @ self.scaled
            vector = weighted @ self.rest[:, None]
            upper = np.linalg.cholesky(matrix).swapaxes(-1, -2)
            parts.append(np.linalg.solve(matrix, vector) + np.linalg.solve(upper, normal[some]))
        return self.mean + self.deviation * np.concatenate(parts).reshape(z.shape)
