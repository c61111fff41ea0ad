"""The reduced basis of a lattice: the same one from every cell, and the usual cells as they are."""

import itertools

import numpy as np
import pytest
from ase.build import bulk, mx2
from ase.cell import Cell

from gh_tools.errors import DataError
from gh_tools.orbitals.lattice import (
    change_of_basis,
    inverse,
    kpoints_in_cell,
    reduced_basis,
    shortest_combination,
)

ALL = np.array([True, True, True])
CELLS = {
    "fcc": bulk("Si").cell.array,
    "bcc": bulk("Fe").cell.array,
    "hexagonal": bulk("Mg").cell.array,
    "cubic": 4.5 * np.eye(3),
    "layers far apart": Cell.fromcellpar([2.5, 2.5, 20, 90, 90, 120]).array,
    "orthorhombic": np.diag([9.0, 3.0, 5.0]),
    "left-handed": np.diag([9.0, -3.0, 5.0]),
    "monoclinic": Cell.fromcellpar([4, 5, 6, 90, 99, 90]).array,
    "rhombohedral": Cell.fromcellpar([5, 5, 5, 75, 75, 75]).array,
    "rhombohedral, 105 degrees": Cell.fromcellpar([5, 5, 5, 105, 105, 105]).array,
    "fcc, a vector along x": Cell.fromcellpar([4, 4, 4, 60, 60, 60]).array,
    "strained": bulk("Mg").cell.array @ np.diag([1.03, 0.98, 1.0]),
}
OTHERS = {
    "hexagonal, 60 degrees": Cell.fromcellpar([3, 3, 5, 90, 90, 60]).array,
    "sheared": bulk("Si").cell.array @ (np.eye(3) + 0.02 * np.eye(3, k=1)),
    "rhombohedral, 110 degrees": Cell.fromcellpar([5, 5, 5, 110, 110, 110]).array,
    "rhombohedral, 40 degrees": Cell.fromcellpar([5, 5, 5, 40, 40, 40]).array,
    "rhombohedral, 118 degrees": Cell.fromcellpar([5, 5, 5, 118, 118, 118]).array,
    "triclinic": Cell.fromcellpar([4, 9, 14, 28, 40, 35]).array,
}


def unimodular(rng, d=3, steps=6):
    """A random integer matrix of determinant 1 or -1."""
    matrix = np.eye(d, dtype=int)
    for _ in range(steps):
        i, j = rng.choice(d, 2, replace=False)
        matrix[i] += rng.integers(-2, 3) * matrix[j]
    return matrix[rng.permutation(d)] * rng.choice([-1, 1], d)[:, None]


def lines(basis):
    """What the vectors are but for signs and order, of which no grid takes notice."""
    last = np.where(np.abs(basis[:, 2]) > 1e-9, basis[:, 2], 0)
    last = np.where(last, last, np.where(np.abs(basis[:, 1]) > 1e-9, basis[:, 1], basis[:, 0]))
    vectors = (basis * np.sign(last)[:, None]).round(7) + 0.0
    return vectors[np.lexsort(vectors.T)]


@pytest.mark.parametrize("name", CELLS)
def test_usual_cells_are_left_as_they_are(name):
    basis, change = reduced_basis(CELLS[name], ALL)
    np.testing.assert_array_equal(basis, CELLS[name])
    np.testing.assert_array_equal(change, np.eye(3))


@pytest.mark.parametrize("name", CELLS | OTHERS)
def test_all_cells_of_a_lattice_have_one_basis(name):
    lattice, rng = (CELLS | OTHERS)[name], np.random.default_rng(1)
    expected = lines(reduced_basis(lattice, ALL)[0])
    for _ in range(30):
        cell = unimodular(rng) @ lattice
        basis, change = reduced_basis(cell, ALL)
        np.testing.assert_allclose(change @ cell, basis, atol=1e-9)
        np.testing.assert_array_equal(change_of_basis(cell, basis, ALL), change)
        assert abs(round(np.linalg.det(change))) == 1
        np.testing.assert_allclose(lines(basis), expected, atol=1e-6)
    # No angle of a lattice is forced below 60°; 10 % of the measure leave some degrees.
    angles = Cell(basis).angles()
    assert (angles > 55).all() and (angles < 125).all()


@pytest.mark.parametrize("name", CELLS)
def test_skewed_cells_get_the_vectors_of_the_usual_one(name):
    cell = np.array([[1, 0, 0], [3, 1, 0], [2, -4, 1]]) @ CELLS[name]
    np.testing.assert_allclose(lines(reduced_basis(cell, ALL)[0]), lines(CELLS[name]), atol=1e-6)


def test_the_hexagonal_cell_of_60_degrees_gets_the_vectors_of_120():
    cell = CELLS["hexagonal"].copy()
    basis = reduced_basis(cell + [0 * cell[0], cell[0], 0 * cell[0]], ALL)[0]
    np.testing.assert_allclose(lines(basis), lines(cell), atol=1e-6)


def test_a_slab_is_reduced_in_its_plane_and_gets_an_orthogonal_vector():
    cell = mx2("WSe2", a=3.3, vacuum=5.0).cell.array[[0, 2, 1]]
    pbc = np.array([True, False, True])
    np.testing.assert_array_equal(reduced_basis(cell, pbc)[0], cell)
    skewed = cell.copy()
    skewed[0] = 2 * cell[0] - 3 * cell[2]
    skewed[2] = cell[0] - cell[2]
    skewed[1] += 0.4 * cell[0] + 1.7 * cell[2]
    basis, change = reduced_basis(skewed, pbc)
    np.testing.assert_allclose(basis[1], cell[1], atol=1e-12)
    np.testing.assert_allclose(np.abs(np.sort(basis[[0, 2]] @ [1, 0, 0])), [1.65, 3.3])
    np.testing.assert_array_equal(change[1], [0, 1, 0])
    np.testing.assert_allclose((change @ skewed)[pbc], basis[pbc], atol=1e-9)
    np.testing.assert_array_equal(change_of_basis(skewed, basis, pbc), change)


def test_boxes_of_wires_and_molecules_become_orthogonal():
    box = np.diag([7.0, 2.2, 6.0])
    wire = np.array([[7.0, 1.1, 0], [0, 2.2, 0], [1.4, 0.7, 6.0]])
    np.testing.assert_allclose(
        reduced_basis(wire, np.array([False, True, False]))[0], box, atol=1e-12
    )
    molecule = np.array([[7.0, 0, 0], [3.0, 2.2, 0], [-1.4, 0.7, 6.0]])
    np.testing.assert_allclose(reduced_basis(molecule, np.zeros(3, dtype=bool))[0], box, atol=1e-12)
    missing = np.diag([0, 2.2, 0])
    np.testing.assert_array_equal(
        reduced_basis(missing, np.array([False, True, False]))[0], missing
    )
    np.testing.assert_array_equal(
        reduced_basis(np.zeros((3, 3)), np.zeros(3, dtype=bool))[0], np.zeros((3, 3))
    )


def test_k_points_are_the_same_plane_waves_in_both_cells():
    cell = np.array([[1, 0, 0], [3, 1, 0], [2, -4, 1]]) @ CELLS["fcc"]
    basis, change = reduced_basis(cell, ALL)
    k = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3))
    mine = kpoints_in_cell(k, change)
    difference = (mine @ np.linalg.inv(cell).T - k @ np.linalg.inv(basis).T) @ basis.T
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-9)
    assert (mine > -0.5).all() and (mine <= 0.5).all()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_shortest_combination_has_the_shortest_vectors_of_the_lattice(d):
    """Against all combinations with coefficients up to 4, of vectors that are known to be short."""
    rng = np.random.default_rng(d)
    coefficients = np.array(list(itertools.product(range(-4, 5), repeat=d)))
    for _ in range(20):
        short = np.eye(d, 3) * rng.uniform(3, 5, (d, 1)) + rng.uniform(-1.4, 1.4, (d, 3))
        given = unimodular(rng, d, steps=4 if d > 1 else 0) @ short
        change = shortest_combination(given)
        assert abs(round(np.linalg.det(change))) == 1
        lengths = np.sort(np.linalg.norm(change @ given, axis=1))
        # The shortest, the shortest independent of it, and so on: for d up to 3 a reduced basis has these lengths.
        vectors = coefficients @ short
        order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
        expected: list[np.ndarray] = []
        for vector in vectors[order]:
            independent = np.linalg.matrix_rank([*expected, vector], tol=1e-6) > len(expected)
            if len(expected) < d and independent:
                expected.append(vector)
        np.testing.assert_allclose(lengths, np.linalg.norm(expected, axis=1), rtol=1e-10)


def test_the_inverse_of_large_integers_is_exact():
    change = np.array([[1, 0, 0], [4000, 1, 0], [12_000_000, 3000, 1]])
    np.testing.assert_array_equal(inverse(change) @ change, np.eye(3))
    np.testing.assert_array_equal(inverse(-change) @ -change, np.eye(3))


def test_vectors_that_are_lost_in_rounding_are_refused():
    cell = np.array([[1, 0, 0], [10**5, 1, 0], [0, 10**5, 1]]) @ CELLS["fcc"]
    with pytest.raises(DataError, match=r"too oblique .* give shorter vectors"):
        change_of_basis(cell, reduced_basis(cell, ALL)[0], ALL)
