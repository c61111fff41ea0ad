"""Two-centre integrals of basis functions and PAW projectors, for many pairs of atoms at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.dft.basis_sets import make_setups
from gh_tools.orbitals.basis import Basis

_CHUNK = 50_000  # pairs evaluated together: bounds the memory of the harmonics to some 20 MB
_NEGLIGIBLE = 1e-10  # GPAW's own: radial values below do not count


class TwoCenterIntegrals:
    """⟨φ|φ⟩, ⟨φ|T|φ⟩ and ⟨p̃|φ⟩ between two atoms as functions of the vector that joins them.

    The angular part is a sum over Gaunt coefficients and solid harmonics, the radial parts are
    GPAW's splines, one for each pair of shells and degree: Sankey and Niklewski,
    Phys. Rev. B 40, 3979 (1989).

    Args:
        basis: the basis table.

    Attributes:
        setups: GPAW's setup of each atomic number.
    """

    def __init__(self, basis: Basis):
        from gpaw.lcao.tci import TCIExpansions

        setups = make_setups(basis)
        self.setups = dict(zip(basis.numbers, setups, strict=True))
        self._index = {number: index for index, number in enumerate(basis.numbers)}
        self._expansions = TCIExpansions.new_from_setups(setups)

    def n_projectors(self, number: int) -> int:
        """Number of PAW projectors of one atom."""
        return self.setups[number].ni

    def orbital_reach(self, number: int) -> float:
        """Radius in Å beyond which all orbitals of an element vanish."""
        return self._expansions.phit_rcmax_I[self._index[number]] * Bohr

    def projector_reach(self, number: int) -> float:
        """Radius in Å beyond which all projectors of an element vanish."""
        return self._expansions.pt_rcmax_I[self._index[number]] * Bohr

    def overlap(
        self, zi: int, zj: int, vector: Float[np.ndarray, "pairs 3"]
    ) -> Float[np.ndarray, "pairs ki kj"]:
        """Return ⟨φ_i|φ_j⟩ without PAW correction.

        Args:
            zi: atomic number of the first atom.
            zj: of the second.
            vector: from the first to the second, in Å.
        """
        reach = self.orbital_reach(zi) + self.orbital_reach(zj)
        return self._evaluate(self._expansions.O_expansions, zi, zj, vector, reach)

    def kinetic(
        self, zi: int, zj: int, vector: Float[np.ndarray, "pairs 3"]
    ) -> Float[np.ndarray, "pairs ki kj"]:
        """Return ⟨φ_i|-∇²/2|φ_j⟩ in Hartree without PAW correction.

        Args:
            zi: atomic number of the first atom.
            zj: of the second.
            vector: from the first to the second, in Å.
        """
        reach = self.orbital_reach(zi) + self.orbital_reach(zj)
        return self._evaluate(self._expansions.T_expansions, zi, zj, vector, reach)

    def projector(
        self, za: int, zi: int, vector: Float[np.ndarray, "pairs 3"]
    ) -> Float[np.ndarray, "pairs na ki"]:
        """Return ⟨p̃_a|φ_i⟩ of PAW projectors and orbitals.

        Args:
            za: atomic number of the projectors' atom.
            zi: of the orbitals' atom.
            vector: from the projectors' atom to the orbitals' atom, in Å.
        """
        reach = self.projector_reach(za) + self.orbital_reach(zi)
        return self._evaluate(self._expansions.P_expansions, za, zi, vector, reach)

    def _evaluate(self, table, za, zb, vector, reach):
        expansion = table.tsoe_II[self._index[za], self._index[zb]]
        return evaluate_expansions(expansion, vector, reach)


def evaluate_expansions(
    expansion: Any, vector: Float[np.ndarray, "pairs 3"], reach: float
) -> Float[np.ndarray, "pairs rows columns"]:
    """Return two-centre integrals of all shells of two species, in atomic units.

    Args:
        expansion: GPAW's splines of each pair of shells.
        vector: from the first atom to the second, Å.
        reach: distance beyond which they vanish, Å.
    """
    result = np.zeros((len(vector), *expansion.shape))
    for start in range(0, len(vector), _CHUNK):
        part = slice(start, start + _CHUNK)
        _evaluate_chunk(expansion, vector[part] / Bohr, reach / Bohr, result[part])
    return result


def _evaluate_chunk(expansion, vector, reach, out) -> None:
    """Add one species pair's integrals at ``vector`` (Bohr) to ``out``."""
    distance = np.linalg.norm(vector, axis=1)
    inside = distance < reach
    top = max(spline.l for pair in expansion.oe_jj.flat for spline in pair.spline_l)
    harmonics = solid_harmonics(top, vector)
    row = 0
    for pairs_of_row in expansion.oe_jj:
        column = 0
        for pair in pairs_of_row:
            rows, columns = 2 * pair.la + 1, 2 * pair.lb + 1
            block = np.zeros((len(vector), rows * columns))
            for spline in pair.spline_l:
                radial = spline.map(distance)
                radial[~inside | (np.abs(radial) < _NEGLIGIBLE)] = 0.0
                degree = spline.l
                components = harmonics[:, degree**2 : (degree + 1) ** 2] * radial[:, None]
                block += components @ gaunt_matrix(pair.la, pair.lb, degree)
            out[:, row : row + rows, column : column + columns] = block.reshape(-1, rows, columns)
            column += columns
        row += rows


@lru_cache(maxsize=256)
def gaunt_matrix(la: int, lb: int, degree: int) -> Float[np.ndarray, "m ab"]:
    """∫ Y_a Y_b Y_m as a matrix from the harmonics of a degree to the products of shells a and b.

    Args:
        la: degree l of the shell a, whose 2l + 1 harmonics are real and in GPAW's order.
        lb: of the shell b, which varies fastest along the columns.
        degree: of the harmonics Y_m.
    """
    from gpaw.gaunt import gaunt

    table = gaunt(max(la, lb))
    block = table[la**2 : (la + 1) ** 2, lb**2 : (lb + 1) ** 2, degree**2 : (degree + 1) ** 2]
    return np.ascontiguousarray(np.moveaxis(block, 2, 0).reshape(2 * degree + 1, -1))


def solid_harmonics(
    top: int, vector: Float[np.ndarray, "pairs 3"]
) -> Float[np.ndarray, "pairs lm"]:
    """Real solid harmonics r^l Y_lm up to degree ``top``, in the order of the orbitals."""
    from gpaw.spherical_harmonics import YL

    powers = np.ones((top + 1, *vector.shape))
    for exponent in range(1, top + 1):
        powers[exponent] = powers[exponent - 1] * vector
    result = np.zeros((len(vector), (top + 1) ** 2))
    for index in range((top + 1) ** 2):
        for coefficient, (nx, ny, nz) in YL[index]:
            result[:, index] += coefficient * powers[nx, :, 0] * powers[ny, :, 1] * powers[nz, :, 2]
    return result
