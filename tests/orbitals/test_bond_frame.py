"""The frame of the bond against Wigner's matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bond_frame import (
    bond_angles,
    exchange_atoms,
    from_frame,
    rotation_about_x,
    to_frame,
)
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.order import wigner_d

# Shells in different orders and numbers, up to f: irreps up to degree 6.
BASIS = Basis(
    {
        8: ElementBasis(8, (Shell(1, 2.0), Shell(0, 1.6), Shell(1, 2.5)), 6.0),
        72: ElementBasis(72, (Shell(0, 3.0), Shell(3, 2.0), Shell(2, 2.5), Shell(0, 2.0)), 4.0),
    }
)
LAYOUT = IrrepLayout(BASIS)
VECTORS = np.array(
    [
        [0.3, -1.2, 0.8],
        [-2.0, 0.1, -0.5],
        [0.0, 0.0, 1.7],
        [0.0, 0.0, -2.3],
        [1e-7, -2e-7, 3.0],
        [-3e-8, 1e-8, -2.0],
        [1.5, 0.0, 0.0],
        [0.0, -1.5, 0.0],
    ]
)
# Double precision, and products of matrices of up to 13 columns.
ROUNDING = 1e-13


def rotation(vector: np.ndarray) -> np.ndarray:
    """Ry(-θ) Rz(-φ), from angles that are computed in another way."""
    x, y, z = vector
    azimuth, polar = np.arctan2(y, x), np.arctan2(np.hypot(x, y), z)
    if x == y == 0.0:
        azimuth = 0.0
    return Rotation.from_euler("zy", [-azimuth, -polar]).as_matrix()


def blocks(key, seed=0):
    shape = (len(VECTORS), *LAYOUT.pair[key].shape)
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("key", BASIS.species_pairs())
def test_blocks_are_those_of_the_rotated_system(key):
    irreps, found = LAYOUT.pair[key], blocks(key)
    rotated = irreps.to_blocks(to_frame("bond", irreps, irreps.to_irreps(found), VECTORS))
    for vector, block, expected in zip(VECTORS, rotated, found, strict=True):
        matrix = rotation(vector)
        np.testing.assert_allclose(matrix @ vector, [0, 0, np.linalg.norm(vector)], atol=1e-12)
        first, second = (wigner_d(BASIS[number].degrees, matrix) for number in key)
        np.testing.assert_allclose(block, first @ expected @ second.T, atol=1e-11)


@pytest.mark.parametrize("key", BASIS.species_pairs())
def test_there_and_back(key):
    irreps = LAYOUT.pair[key]
    components = irreps.to_irreps(blocks(key))
    rotated = to_frame("bond", irreps, components, VECTORS)
    assert np.abs(rotated - components).max() > 1.0
    np.testing.assert_allclose(
        from_frame("bond", irreps, rotated, VECTORS), components, atol=100 * ROUNDING
    )
    assert to_frame("global", irreps, components, VECTORS) is components
    assert from_frame("global", irreps, components, VECTORS) is components


def test_rotations_by_90_degrees_are_wigners_matrices():
    takes_y_to_z = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    np.testing.assert_allclose(takes_y_to_z @ [0, 1, 0], [0, 0, 1], atol=1e-15)
    expected = wigner_d(range(7), takes_y_to_z)
    for degree in range(7):
        block = slice(degree**2, (degree + 1) ** 2)
        np.testing.assert_allclose(rotation_about_x(degree), expected[block, block], atol=ROUNDING)


@pytest.mark.parametrize("number", BASIS.numbers)
def test_a_bond_of_like_atoms_from_its_other_end(number):
    irreps = LAYOUT.pair[number, number]
    found = blocks((number, number))
    components = to_frame("bond", irreps, irreps.to_irreps(found), VECTORS)
    partner, sign = exchange_atoms(irreps)
    from_other_end = to_frame("bond", irreps, irreps.to_irreps(np.swapaxes(found, 1, 2)), -VECTORS)
    # The frame that -VECTORS gives may differ by a rotation about the bond: π, because the azimuth is the
    # opposite one, which changes the sign of all components of odd m; or none, at the poles.
    poles = (VECTORS[:, :2] == 0).all(axis=1)
    odd = np.where(poles[:, None], 1, 1 - 2 * (irreps.m % 2))
    np.testing.assert_allclose(
        sign * components[:, partner], odd * from_other_end, atol=100 * ROUNDING
    )


def test_single_and_double_precision_agree_which_bonds_lie_along_z():
    vectors = np.array([[x, 0.0, 2.0] for x in 10.0 ** np.arange(-12.0, -5.0, 0.25)], np.float32)
    for coarse, fine in zip(bond_angles(vectors), bond_angles(vectors.astype(float)), strict=True):
        np.testing.assert_allclose(coarse, fine, rtol=1e-6)
