import tracemalloc

import ase
import ase.neighborlist
import numpy as np
import pytest
from ase.build import bulk, molecule, mx2

from gh_tools.orbitals.blocks import canonical
from gh_tools.orbitals.pairs import basis_cutoffs, directed_pairs, stored_pairs, wrapped
from tests.orbitals.tables import SIO, basis, quartz_like


def sheet():
    atoms = mx2("WSe2", size=(2, 1, 1), vacuum=None)
    atoms.pbc = (True, True, False)
    return atoms


@pytest.mark.parametrize("atoms", [quartz_like(), bulk("Ag"), sheet(), molecule("CH3CH2OH")])
def test_pairs_are_those_of_ase(atoms):
    cutoff = 4.7
    atoms = wrapped(atoms)
    i, j, cell_offset, vector = directed_pairs(atoms, cutoff)
    i0, j0, offset0, vector0 = ase.neighborlist.neighbor_list("ijSD", atoms, cutoff)
    order = np.lexsort((*offset0.T[::-1], j0, i0))
    assert np.array_equal(i, i0[order])
    assert np.array_equal(j, j0[order])
    assert np.array_equal(cell_offset, offset0[order])
    assert np.allclose(vector, vector0[order], atol=1e-12)


def test_wrapping_changes_positions_by_lattice_vectors_into_the_cell():
    atoms = quartz_like()
    inside = wrapped(atoms)
    fractional = inside.cell.scaled_positions(inside.positions)
    assert fractional.min() > -1e-12
    assert fractional.max() < 1
    moved = atoms.cell.scaled_positions(inside.positions - atoms.positions)
    assert np.allclose(moved, np.round(moved), atol=1e-9)


def test_wrapping_leaves_directions_alone_that_are_not_periodic():
    atoms = sheet()
    atoms.positions[:, 2] -= 40.0
    assert np.allclose(wrapped(atoms).positions[:, 2], atoms.positions[:, 2])


def test_a_tiny_negative_coordinate_does_not_end_at_the_upper_face():
    atoms = ase.Atoms("H", positions=[(-1e-18, 0, 0)], cell=[3, 3, 3], pbc=True)
    assert wrapped(atoms).positions[0, 0] < 1.0


def test_exactly_one_of_each_two_directions_is_stored():
    atoms = wrapped(quartz_like())
    i, j, cell_offset, _ = directed_pairs(atoms, 5.5)
    keep = canonical(i, j, cell_offset, atoms.numbers)
    assert 2 * keep.sum() == len(i)
    stored = {
        (*row, *s) for *row, s in zip(i[keep], j[keep], map(tuple, cell_offset[keep]), strict=True)
    }
    for a, b, s in zip(i[~keep], j[~keep], cell_offset[~keep], strict=True):
        assert (b, a, *-s) in stored
    assert np.all(atoms.numbers[i[keep]] <= atoms.numbers[j[keep]])


def test_an_own_image_is_stored_once_the_smaller_offset_first():
    atoms = ase.Atoms("H", cell=[1, 9, 9], pbc=True)
    i, j, cell_offset, _ = directed_pairs(atoms, 1.5)
    assert cell_offset[canonical(i, j, cell_offset, atoms.numbers)].tolist() == [[-1, 0, 0]]


def test_stored_pairs_keep_each_species_pairs_own_cutoff():
    atoms = wrapped(quartz_like())
    cutoffs = basis_cutoffs(SIO)
    assert cutoffs[8, 14] == pytest.approx(2.9 + 3.4)
    for (zi, zj), (i, j, _, vector) in stored_pairs(atoms, cutoffs).items():
        assert set(atoms.numbers[i]) == {zi}
        assert set(atoms.numbers[j]) == {zj}
        distance = np.linalg.norm(vector, axis=1)
        assert distance.max() < cutoffs[zi, zj]
    limited = basis_cutoffs(basis(H=[(0, 3.0)]), limit=4.0)
    assert limited == {(1, 1): 4.0}


@pytest.mark.parametrize("atoms", [quartz_like(), sheet()])
def test_pairs_of_drifted_atoms_and_oblique_cells(atoms):
    """Frames of molecular dynamics are not wrapped; ASE finds the pairs of such, too."""
    cutoff, rng = 4.7, np.random.default_rng(0)
    mixed = np.eye(3, dtype=int)
    mixed[0, 1] = 5
    for drift in (0, 3):
        moved = atoms.copy()
        moved.set_cell(mixed @ moved.cell.array)
        cells = rng.integers(-drift, drift + 1, (len(atoms), 3)) * atoms.pbc
        moved.positions += cells @ moved.cell.array
        i, j, cell_offset, vector = directed_pairs(moved, cutoff)
        i0, j0, offset0, vector0 = ase.neighborlist.neighbor_list("ijSD", moved, cutoff)
        order = np.lexsort((*offset0.T[::-1], j0, i0))
        assert np.array_equal(i, i0[order])
        assert np.array_equal(j, j0[order])
        assert np.array_equal(cell_offset, offset0[order])
        assert np.allclose(vector, vector0[order], atol=1e-11)


@pytest.mark.parametrize("change", ["drifted", "oblique"])
def test_memory_does_not_grow_with_drift_or_obliqueness(change):
    """Images number some dozens; with the cube of the drift, or of the cell's aspect, they took 100 MB and more."""
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    expected = len(directed_pairs(atoms, 5.0)[0])
    if change == "drifted":
        atoms.positions[0] += [60, -60, 60] @ atoms.cell.array
    else:
        atoms.set_cell([[1, 0, 0], [30, 1, 0], [0, 30, 1]] @ atoms.cell.array)
    tracemalloc.start()
    found = len(directed_pairs(atoms, 5.0)[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == expected
    assert peak < 5e6
