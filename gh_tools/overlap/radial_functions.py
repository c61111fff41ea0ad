"""Radial functions of the orbitals of a basis table, whichever program made it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import ElementBasis


@dataclass(frozen=True)
class RadialFunction:
    """R(r) of a shell, whose orbitals are R(r) Y_lm.

    Attributes:
        l: degree of the spherical harmonics.
        r: distances from the nucleus, from 0 on, Å.
        values: R at them, Å^-3/2.
    """

    l: int  # noqa: E741
    r: Float[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]

    def at(self, r: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Return R(r) / r^l in Å^-(3/2+l), zero beyond the last distance: solid harmonics have the factor r^l."""
        start = max(1, int(np.searchsorted(self.r, _CORE)))
        inside = self.values[start:] / self.r[start:] ** self.l
        # R / r^l is even in r: a parabola in r² through the first values leads to the nucleus.
        spline = CubicSpline(self.r[start:], inside)
        x, y = self.r[start], float(inside[0])
        slope = float(spline(x, 1)) / (2 * x)
        near = y + slope * (np.minimum(r, x) ** 2 - x**2)
        return np.where(r < x, near, np.where(r < self.r[-1], spline(np.minimum(r, self.r[-1])), 0))

    def overlap(self, other: RadialFunction) -> float:
        """Return ∫ R₁ R₂ r² dr of two functions about one nucleus, over the square roots of those with themselves."""
        r = np.linspace(0.0, max(self.r[-1], other.r[-1]), _POINTS)
        first, second = (np.interp(r, f.r, f.values, right=0.0) * r for f in (self, other))
        return float(first @ second / np.sqrt((first @ first) * (second @ second)))


# Å. Nearer to the nucleus than this R / r^l is a quotient of two small numbers of a file.
_CORE = 0.05
_POINTS = 2000


def has_radial_functions(element: ElementBasis) -> bool:
    """Return whether the table knows the radial functions of an element."""
    return bool(element.basis_text)


def radial_functions(element: ElementBasis) -> list[RadialFunction]:
    """Return the radial functions of an element's shells, in the order of the table.

    Of GPAW's bases they are the smooth ones: within the augmentation spheres of PAW setups the orbitals are others.

    Raises:
        DataError: the table does not know them, or what it holds is damaged.
    """
    if not has_radial_functions(element):
        raise DataError(
            f"basis: the radial functions of {chemical_symbols[element.number]} are not known, because the files of "
            f"{element.code or 'its program'} did not hold them"
        )
    if element.code:
        found = []
        for shell in json.loads(element.basis_text):
            values = np.array(shell["values"]) / Bohr**1.5
            found.append(RadialFunction(shell["l"], shell["step"] * np.arange(len(values)), values))
        return found
    from gh_tools.dft.basis_sets import gpaw_basis

    basis = gpaw_basis(element)
    r = basis.get_grid_descriptor().r_g * Bohr
    return [
        RadialFunction(
            int(shell.l), r[: len(shell.phit_g)], np.array(shell.phit_g, dtype=float) / Bohr**1.5
        )
        for shell in basis.bf_j
    ]
