"""What cannot be computed is told in a clause, and what can is let through, whatever its cell."""

import ase
import numpy as np
import pytest
from ase.build import bulk, graphene, molecule

from gh_tools.orbitals.geometry import structure_fault


def fault(atoms):
    return structure_fault(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def test_sound_structures():
    oblique = bulk("Si")
    oblique.set_cell([[1, 0, 0], [500, 1, 0], [0, 0, 1]] @ oblique.cell.array)
    drifted = bulk("NaCl", "rocksalt", a=5.6)
    drifted.positions[0] += 400 * drifted.cell[1]
    left_handed = bulk("Si")
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]])
    sheet = graphene(vacuum=None)
    wire = ase.Atoms("Au", cell=[0, 0, 2.6], pbc=(False, False, True))
    for atoms in (oblique, drifted, left_handed, sheet, wire, molecule("H2O"), ase.Atoms("Og")):
        assert fault(atoms) is None


def at(positions, cell=None, pbc=False, numbers=None):
    positions = np.asarray(positions, dtype=float)
    return ase.Atoms(numbers or [14] * len(positions), positions, cell=cell, pbc=pbc)


@pytest.mark.parametrize(
    "atoms, expected",
    [
        (at(np.zeros((0, 3))), "has no atoms"),
        (at([[0, 0, 0]], numbers=[0]), "atom 0 is a dummy atom (symbol X)"),
        (at([[0, 0, 0], [0, 0, 3]], numbers=[1, 119]), "atom 1 is of atomic number 119"),
        (at([[0, 0, 0]], numbers=[-3]), "atom 0 is of atomic number -3"),
        (at([[0, 0, 0], [0, np.nan, 0]]), "the position of atom 1 is (0 nan 0) Å"),
        (at([[0, np.inf, 0]]), "the position of atom 0 is (0 inf 0) Å"),
        (at([[1e300, 0, 0]]), "the position of atom 0 is (1e+300 0 0) Å"),
        (
            at([[0, 0, 0]], [[3, 0, 0], [0, np.nan, 0], [0, 0, 3]], True),
            "cell vector 1 is (0 nan 0)",
        ),
        (at([[0, 0, 0]], [1e300, 3, 3], True), "cell vector 0 is (1e+300 0 0)"),
        (
            at([[0, 0, 0]], pbc=(True, False, False)),
            "periodic along its first cell vector, which is zero",
        ),
        (at([[0, 0, 0]], [3, 3, 0], True), "periodic along its third cell vector"),
        (at([[0, 0, 0]], [[3, 0, 0], [6, 0, 0], [0, 0, 3]], True), "linearly dependent"),
        # Along a direction that is not periodic, too: GPAW and wrapping need a volume.
        (at([[0, 0, 0]], [[3, 0, 0], [0, 3, 0], [3, 3, 0]], (1, 1, 0)), "linearly dependent"),
        (at([[0, 0, 0], [0, 0, 0.05]]), "atom 0 (Si) and atom 1 (Si) are 0.05 Å apart"),
        # Through the boundary, and in another cell.
        (at([[0, 0, 0], [0, 0, 2.96]], [3, 3, 3], True), "(a periodic image) are 0.04 Å apart"),
        (at([[0, 0, 0], [0, 0, 30]], [3, 3, 3], True), "are 0 Å apart"),
        (at([[0, 0, 0]], [3, 0.01, 3], True), "atom 0 (Si) and atom 0 (Si) (a periodic image)"),
        # An oblique cell whose lattice has a vector of 0.05 Å.
        (at([[0, 0, 0]], [[3, 0, 0], [3, 0.05, 0], [0, 0, 3]], True), "are 0.05 Å apart"),
    ],
)
def test_what_cannot_be_computed(atoms, expected):
    assert expected in fault(atoms)
