"""The position operator between the orbitals of a structure, from whichever program's basis table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

from gh_tools.dft.block_list import BlockList, block_lists
from gh_tools.dft.position import SPLINE_POINTS, PositionIntegrals, position_blocks, radial_spline
from gh_tools.dft.projections import Projections
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, ElementBasis, SpeciesPair
from gh_tools.orbitals.bloch import BlochSum
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.radial_functions import has_radial_functions, radial_functions


class BlochPositions:
    """X(k) = Σ_R exp(2πi k·R) ⟨φ_i0| r − R/2 |φ_jR⟩, which is Hermitian.

    The part (τ_i + τ_j)/2 S is always there; the rest, which holds the dipoles within atoms, is that of `position_operator`.

    Attributes:
        exact: whether the rest is there; else orbitals are taken to sit on their atoms.
    """

    def __init__(self, hamiltonian: Hamiltonian, exact: bool):
        """Compute the blocks.

        Args:
            hamiltonian: the structure, its basis table, S and the pairs.
            exact: whether to compute the rest.

        Raises:
            DataError: as `position_operator`.
        """
        self.exact = exact
        self._rest = [BlochSum(one) for one in position_operator(hamiltonian)] if exact else []
        atoms = hamiltonian.atoms
        self._centres = np.repeat(atoms.positions, hamiltonian.orbitals_of_atoms, axis=0)

    def along(
        self,
        axis: int,
        kpoints: Float[np.ndarray, "kpoints 3"],
        overlap: Inexact[np.ndarray, "kpoints orbitals orbitals"],
    ) -> Inexact[np.ndarray, "kpoints orbitals orbitals"]:
        """Return X(k) along a Cartesian axis, in Å.

        Args:
            axis: 0, 1 or 2.
            kpoints: in units of the reciprocal cell's vectors.
            overlap: S(k) at these.
        """
        centre = self._centres[:, axis]
        x = 0.5 * (centre[:, None] + centre) * overlap
        return x + np.stack(self._rest[axis].at(kpoints)) if self.exact else x


def knows_positions(basis: Basis, numbers) -> bool:
    """Tell whether the table has what the position operator is computed from, of all these elements."""
    elements = [basis[int(z)] for z in np.unique(numbers)]
    return all(has_radial_functions(element) for element in elements)


def position_operator(hamiltonian: Hamiltonian) -> tuple[Hamiltonian, Hamiltonian, Hamiltonian]:
    """Return ⟨φ_i0| r − (τ_i + τ_j + R)/2 |φ_jR⟩ along x, y and z, in Å, in the place of H(R).

    From GPAW's basis with the PAW corrections of the setups, from that of another program by two-centre integrals alone.
    Counted from the middle between both atoms, a block of (j, i, -R) is the transpose of that of (i, j, R), as those of H.

    Args:
        hamiltonian: the structure, its basis table, S and the pairs.

    Raises:
        DataError: the basis table has no radial functions of an element, or PAW setups are not those of this machine.
    """
    atoms = hamiltonian.atoms
    lists = block_lists(
        atoms, {pair: (b.i, b.j, b.cell_offset) for pair, b in hamiltonian.pairs.items()}
    )
    numbers = sorted(set(atoms.numbers.tolist()))
    elements = {z: hamiltonian.basis[z] for z in numbers}
    if not any(element.code for element in elements.values()):
        integrals = TwoCenterIntegrals(Basis(elements))
        found = position_blocks(lists, integrals, Projections(atoms, integrals))
    else:
        found = _two_centre(hamiltonian, elements, lists)

    def along(axis: int) -> Hamiltonian:
        def blocks(key, one):
            values = found[key][axis]
            if hamiltonian.spinor:
                values = np.kron(np.eye(2), values)
            return replace(one, hamiltonian=values, overlap=None, uncertainty=None, members=None)

        return replace(
            hamiltonian,
            onsite={key: blocks(key, one) for key, one in hamiltonian.onsite.items()},
            pairs={key: blocks(key, one) for key, one in hamiltonian.pairs.items()},
            bands=None,
        )

    return along(0), along(1), along(2)


def _two_centre(
    hamiltonian: Hamiltonian,
    elements: dict[int, ElementBasis],
    lists: dict[int | SpeciesPair, BlockList],
) -> dict[int | SpeciesPair, Float[np.ndarray, "3 _pairs _ki _kj"]]:
    positions = PositionIntegrals({z: _splines(element) for z, element in elements.items()})
    found = {}
    for key, block in lists.items():
        source: Any = hamiltonian.onsite if isinstance(key, int) else hamiltonian.pairs
        s = source[key].overlap
        if s is None:
            raise DataError("positions need S, which the structure lacks")
        values = positions(block.zi, block.zj, block.vector)
        s = s[:, : values.shape[2], : values.shape[3]]  # of spinors that of spin up
        found[key] = values + 0.5 * block.vector.T[:, :, None, None] * s
    return found


def _splines(element: ElementBasis) -> list[Any]:
    found = []
    for function in radial_functions(element):
        r = np.linspace(0.0, function.r[-1], SPLINE_POINTS + 1)
        found.append(radial_spline(function.l, r, function.at(r)))
    return found
