"""Rotations, reflections, translations, permutations and Hermiticity of predicted blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gh_tools.orbitals.order import wigner_d

# Blocks are of order one to ten. Some ten layers each sum some hundred terms that are rounded to
# 6e-8: errors of 1e-5 of the largest element are what float32 leaves, and a wrong sign or order
# shows as errors of order one.
RELATIVE = 2e-5


def _assert_close(found: list, expected: list) -> None:
    scale = max(np.abs(block).max() for block in expected)
    assert scale > 0.1
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=RELATIVE * scale, rtol=0.0)


def _assert_same(found, expected) -> None:
    """Compare what `Network.blocks` gives."""
    _assert_close(found[0], expected[0])
    assert found[1].keys() == expected[1].keys()
    _assert_close([found[1][key] for key in expected[1]], list(expected[1].values()))


@pytest.mark.parametrize("mirror", [1.0, -1.0], ids=["rotation", "rotoreflection"])
@pytest.mark.parametrize("structure", ["molecule", "crystal"])
def test_blocks_rotate_with_the_structure(network, structure, mirror, request):
    atoms = request.getfixturevalue(structure)
    matrix = mirror * Rotation.random(random_state=3).as_matrix()
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ matrix.T)
    rotated.positions = atoms.positions @ matrix.T

    [(graph, onsite, pairs)] = network.predict(atoms)
    [(_, onsite_rotated, pairs_rotated)] = network.predict(rotated)
    basis, layout = network.basis, network.layout
    wigner = {number: wigner_d(basis[number].degrees, matrix) for number in basis.numbers}

    found, expected = [], []
    for number, row, row_rotated in zip(atoms.numbers, onsite, onsite_rotated, strict=True):
        irreps = layout.onsite[number]
        found.append(irreps.to_blocks(row_rotated[: irreps.size]))
        expected.append(wigner[number] @ irreps.to_blocks(row[: irreps.size]) @ wigner[number].T)
    _assert_close(found, expected)

    found, expected = [], []
    species_pairs = list(layout.pair.items())
    for pair_type, row, row_rotated in zip(graph.pair_type, pairs, pairs_rotated, strict=True):
        (zi, zj), irreps = species_pairs[pair_type]
        found.append(irreps.to_blocks(row_rotated[: irreps.size]))
        expected.append(wigner[zi] @ irreps.to_blocks(row[: irreps.size]) @ wigner[zj].T)
    _assert_close(found, expected)


def test_translation_and_wrapping_change_nothing(network, crystal):
    moved = crystal.copy()
    moved.positions += [1.3, -0.7, 2.1] + crystal.cell[0] - 2 * crystal.cell[2]
    _assert_same(network.blocks(moved), network.blocks(crystal))


def test_relabelled_atoms_have_the_same_blocks(network, crystal, molecule):
    for atoms in (molecule, crystal):
        order = np.random.default_rng(0).permutation(len(atoms))
        onsite, pairs = network.blocks(atoms[order])
        renamed = {(int(order[i]), int(order[j]), *v): b for (i, j, *v), b in pairs.items()}
        back = [onsite[k] for k in np.argsort(order)]
        _assert_same((back, renamed), network.blocks(atoms))


@pytest.mark.parametrize(
    "matrix", [[[-1, 0, 0], [0, 0, 1], [0, 1, 0]], [[-1, 0, 2], [0, 0, 1], [-3, 1, 0]]]
)
def test_another_choice_of_cell_vectors_changes_nothing(network, crystal, matrix):
    """Which of two like atoms is first depends on the cell's vectors; their block must not."""
    other = crystal.copy()
    other.set_cell(np.array(matrix) @ crystal.cell.array)
    _assert_same(network.blocks(other), network.blocks(crystal))


def test_onsite_blocks_are_exactly_symmetric(network, crystal):
    for block in network.blocks(crystal)[0]:
        np.testing.assert_array_equal(block, block.T)
