"""Least-squares fits of stretched exponentials `a exp(-(r / λ)^p)`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

# From a cusp to nearly a step. Outside of these bounds λ and p are no longer told apart by any data.
POWER = (0.5, 8.0)
# κ = (r0 / λ)^p at the shortest distance r0: from a constant to a fall by half within 1 % of r0.
DECAY = (1e-6, 80.0)
GRID = 25
STARTS = 3


def fit_decay(
    r: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> tuple[tuple[float, float, float], Float[np.ndarray, " n"]]:
    """Minimise `Σ weight (value - a exp(-(r / λ)^p))²`.

    The amplitude enters linearly, so for each (λ, p) of a grid the best one and its residual are known at
    once (variable projection). The lowest local minima of the grid are refined by bounded least squares
    in all three parameters, and the best is taken: the same data always gives the same answer.

    Args:
        r: Distances in Å, positive.
        value: Values in eV, of either sign.
        weight: Weights, not negative.

    Returns:
        The parameters a (eV), λ (Å), p, and the fitted values in eV.
    """
    r_min = r.min()
    x = r / r_min
    root = np.sqrt(weight)

    def shape(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """exp(-κ (x^p - 1)), which is one at the shortest distance, and its derivatives by ln κ and ln p."""
        kappa, power = np.exp(theta)
        xp = x**power
        f = np.exp(-kappa * (xp - 1))
        return f, -kappa * (xp - 1) * f, -kappa * power * xp * np.log(x) * f

    def residual(q: np.ndarray) -> np.ndarray:
        return root * (q[0] * shape(q[1:])[0] - value)

    def jacobian(q: np.ndarray) -> np.ndarray:
        f, by_kappa, by_power = shape(q[1:])
        return root[:, None] * np.stack([f, q[0] * by_kappa, q[0] * by_power], axis=1)

    kappa, power = np.log((1e-3, DECAY[1])), np.log(POWER)
    thetas = np.stack(
        np.meshgrid(np.linspace(kappa[0], kappa[1], GRID), np.linspace(power[0], power[1], GRID)),
        axis=-1,
    )
    shapes = np.stack([shape(theta)[0] for theta in thetas.reshape(-1, 2)])
    overlap, norm = shapes @ (weight * value), shapes**2 @ weight
    gain = (overlap**2 / norm).reshape(GRID, GRID)
    padded = np.pad(gain, 1, constant_values=-np.inf)
    around = [padded[i : i + GRID, j : j + GRID] for i in range(3) for j in range(3)]
    peaks = np.flatnonzero(gain >= np.max(around, axis=0))
    peaks = peaks[np.argsort(-gain.reshape(-1)[peaks], kind="stable")][:STARTS]
    best = min(
        (
            least_squares(
                residual,
                [overlap[peak] / norm[peak], *thetas.reshape(-1, 2)[peak]],
                jac=jacobian,
                bounds=_bounds(),
                x_scale="jac",
                ftol=1e-12,
                xtol=1e-10,
                gtol=1e-12,
            )
            for peak in peaks
        ),
        key=lambda result: result.cost,
    )
    kappa, power = np.exp(best.x[1:])
    parameters = (
        float(best.x[0] * np.exp(kappa)),
        float(r_min * kappa ** (-1 / power)),
        float(power),
    )
    return parameters, best.x[0] * shape(best.x[1:])[0]


def fit_log_decay(
    r: Float[np.ndarray, " n"],
    value: Float[np.ndarray, " n"],
    weight: Float[np.ndarray, " n"],
    floor: float,
) -> tuple[float, float, float]:
    """Minimise `Σ weight (ln √(value² + floor²) - ln √((b exp(-(r / λ)^p))² + floor²))²`.

    Args:
        r: Distances in Å, positive.
        value: Values in eV, not negative.
        weight: Weights, not negative.
        floor: In eV; what lies well below it is as good as zero.

    Returns:
        The parameters b (eV), λ (Å), p.
    """
    r_min = r.min()
    x = r / r_min
    root = np.sqrt(weight)
    target = 0.5 * np.log(value**2 + floor**2)

    def residual(q: np.ndarray) -> np.ndarray:
        exponent = q[0] - np.exp(q[1]) * (x ** np.exp(q[2]) - 1)
        return root * (0.5 * np.logaddexp(2 * exponent, 2 * np.log(floor)) - target)

    def start(power: float) -> np.ndarray:
        # Without the floor the logarithm is linear in ln b and κ.
        matrix = np.stack([np.ones_like(x), 1 - x**power], axis=1)
        solution = np.linalg.lstsq(root[:, None] * matrix, root * target, rcond=None)[0]
        return np.array([solution[0], np.log(np.clip(solution[1], 1e-3, DECAY[1])), np.log(power)])

    best = min(
        (
            least_squares(residual, start(power), bounds=_bounds(), x_scale="jac")
            for power in (0.7, 1.5, 3.0, 6.0)
        ),
        key=lambda result: result.cost,
    )
    kappa, power = np.exp(best.x[1:])
    return float(np.exp(best.x[0] + kappa)), float(r_min * kappa ** (-1 / power)), float(power)


def _bounds() -> tuple[list[float], list[float]]:
    """Bounds of (amplitude, ln κ, ln p)."""
    low = [-np.inf, np.log(DECAY[0]), np.log(POWER[0])]
    return low, [np.inf, np.log(DECAY[1]), np.log(POWER[1])]
