"""The position operator between orbitals, from the basis alone: two-centre integrals and PAW's corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.dft.block_list import BlockList
from gh_tools.dft.projections import Projections
from gh_tools.dft.two_center import TwoCenterIntegrals, evaluate_expansions, gaunt_matrix
from gh_tools.orbitals.basis import SpeciesPair

# Intervals of a radial function that becomes a spline of GPAW's.
SPLINE_POINTS = 512
# Where GPAW's harmonics of degree 1 stand: y, z, x.
_PLACE = (2, 0, 1)
Blocks = dict[int | SpeciesPair, Float[np.ndarray, "3 _pairs _ki _kj"]]


def radial_spline(
    degree: int, r: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"]
) -> Any:
    """Return GPAW's spline of a radial function.

    Args:
        degree: l.
        r: distances from 0 to where the function ends, evenly spaced, Å.
        values: R(r) / r^l, Å^-(3/2+l).
    """
    from gpaw.spline import Spline

    return Spline.from_data(degree, float(r[-1]) / Bohr, values * Bohr ** (1.5 + degree))


class PositionIntegrals:
    """⟨φ_i| r − τ_j |φ_j⟩ between two atoms, as a function of the vector that joins them.

    r Y_1m R_l Y_lm is a sum of functions of l − 1 and l + 1 about the same atom, so that these are two-centre integrals as those of S:
    O. F. Sankey and D. J. Niklewski, Phys. Rev. B 40, 3979 (1989).

    Args:
        splines: radial functions of each element's shells, GPAW's.
    """

    def __init__(self, splines: Mapping[int, Sequence[Any]]):
        from gpaw.lcao.overlap import FourierTransformer, TwoSiteOverlapCalculator

        self._splines = splines
        self._reach = {z: max(s.get_cutoff() for s in shells) for z, shells in splines.items()}
        transformer = FourierTransformer(rcut=max(self._reach.values()), N=2**10)
        self._calculator = TwoSiteOverlapCalculator(transformer)
        self._transformed = {z: self._calculator.transform(s) for z, s in splines.items()}

    def __call__(
        self, zi: int, zj: int, vector: Float[np.ndarray, "pairs 3"]
    ) -> Float[np.ndarray, "3 pairs ki kj"]:
        """Return the integrals in Å.

        Args:
            zi: element of the first atoms.
            zj: of the second atoms, from which positions count.
            vector: from the first to the second, Å.
        """
        companions, coefficients = _companions(self._splines[zj])
        expansion = self._calculator.calculate_expansions(
            [s.get_angular_momentum_number() for s in self._splines[zi]],
            self._transformed[zi],
            [s.get_angular_momentum_number() for s in companions],
            self._calculator.transform(companions),
        )
        reach = (self._reach[zi] + self._reach[zj]) * Bohr
        return np.einsum(
            "pac,vcb->vpab", evaluate_expansions(expansion, vector, reach), coefficients * Bohr
        )


def _companions(splines: Sequence[Any]) -> tuple[list[Any], Float[np.ndarray, "3 parts orbitals"]]:
    """Return the functions whose sums the orbitals times x, y and z are, and the coefficients."""
    from gpaw.spline import Spline

    found: list[Any] = []
    parts: list[tuple[int, np.ndarray]] = []
    for shell, spline in enumerate(splines):
        degree, end = spline.get_angular_momentum_number(), spline.get_cutoff()
        r = np.linspace(0.0, end, SPLINE_POINTS + 1)
        # What a spline holds is R / r^l: r R over r^(l+1) is the same, and over r^(l-1) it is r² times that.
        values = np.array([spline(x) for x in r])
        for other in (degree - 1, degree + 1):
            if other < 0:
                continue
            found.append(Spline.from_data(other, end, values * r ** (degree + 1 - other)))
            matrix = gaunt_matrix(degree, 1, other).reshape(2 * other + 1, 2 * degree + 1, 3)
            parts.append((shell, np.sqrt(4 * np.pi / 3) * matrix[:, :, list(_PLACE)]))
    starts = np.cumsum([0, *(2 * s.get_angular_momentum_number() + 1 for s in splines)])
    coefficients = np.zeros((3, sum(len(m) for _, m in parts), starts[-1]))
    row = 0
    for shell, matrix in parts:
        rows = slice(row, row + len(matrix))
        coefficients[:, rows, starts[shell] : starts[shell + 1]] = matrix.transpose(2, 0, 1)
        row += len(matrix)
    return found, coefficients


def position_blocks(
    lists: Mapping[int | SpeciesPair, BlockList],
    integrals: TwoCenterIntegrals,
    projections: Projections,
) -> Blocks:
    """Return ⟨φ_i| r − (τ_i + τ_j)/2 |φ_j⟩ of PAW's orbitals, in Å, for lists of blocks.

    The operator of PAW adds Σ_a |p̃_i⟩ (⟨φ_i|r|φ_j⟩ − ⟨φ̃_i|r|φ̃_j⟩) ⟨p̃_j|, dipole and overlap of the partial waves of each atom.

    Args:
        lists: which blocks, by element or species pair.
        integrals: of the orbitals and projectors of these elements.
        projections: ⟨p̃_a|φ_i⟩ of the structure.
    """
    setups = integrals.setups
    positions = PositionIntegrals({z: setup.basis_functions_J for z, setup in setups.items()})
    dipoles = {z: np.sqrt(4 * np.pi / 3) * Bohr * _dipoles(setup) for z, setup in setups.items()}
    overlaps = {z: setup.dO_ii for z, setup in setups.items()}
    found = projections.positions(dipoles, overlaps, lists)
    for key, block in lists.items():
        smooth = integrals.overlap(block.zi, block.zj, block.vector)
        found[key] += positions(block.zi, block.zj, block.vector)
        found[key] += 0.5 * block.vector.T[:, :, None, None] * smooth
    return found


def _dipoles(setup) -> Float[np.ndarray, "3 projectors projectors"]:
    return np.stack([setup.Delta_iiL[:, :, 1 + place] for place in _PLACE])
