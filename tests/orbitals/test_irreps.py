import itertools

import numpy as np
import pytest

from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.order import clebsch_gordan, wigner_d
from tests.orbitals.tables import basis

# Double precision throughout: a sum of at most 7 × 7 products of numbers of order one.
ROUNDING = 1e-13
SHELLS = basis(H=[(0, 1.0)], C=[(1, 1.0)], Si=[(2, 1.0)], Ce=[(3, 1.0)])
MIXED = basis(
    O=[(0, 1.0), (1, 1.0), (1, 1.0), (2, 1.0)], Hf=[(0, 1.0), (3, 1.0), (2, 1.0), (1, 1.0)]
)


def random_rotation(seed, inversion=False):
    from scipy.spatial.transform import Rotation

    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    return -rotation if inversion else rotation


@pytest.mark.parametrize(("l1", "l2"), list(itertools.product(range(4), repeat=2)))
def test_products_of_all_shells_to_f_decompose_orthonormally(l1, l2):
    table = np.concatenate(list(clebsch_gordan(l1, l2).values()), axis=-1)
    matrix = table.reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
    assert np.allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=ROUNDING)


@pytest.mark.parametrize("table", [SHELLS, MIXED])
def test_blocks_to_irreps_and_back_is_the_identity(table):
    rng = np.random.default_rng(0)
    layout = IrrepLayout(table)
    for irreps in layout.pair.values():
        blocks = rng.normal(size=(3, *irreps.shape))
        assert irreps.size == blocks[0].size
        assert np.allclose(irreps.to_blocks(irreps.to_irreps(blocks)), blocks, atol=ROUNDING)
    for irreps in layout.onsite.values():
        blocks = rng.normal(size=(3, *irreps.shape))
        blocks = blocks + blocks.transpose(0, 2, 1)
        assert irreps.size == irreps.shape[0] * (irreps.shape[0] + 1) // 2
        assert np.allclose(irreps.to_blocks(irreps.to_irreps(blocks)), blocks, atol=ROUNDING)
        # The norm of the components is that of the whole block, so that losses weigh alike.
        norms = np.linalg.norm(irreps.to_irreps(blocks), axis=-1)
        assert np.allclose(norms, np.linalg.norm(blocks, axis=(1, 2)))


def test_any_onsite_prediction_gives_an_exactly_symmetric_block():
    for irreps in IrrepLayout(MIXED).onsite.values():
        blocks = irreps.to_blocks(np.random.default_rng(1).normal(size=(5, irreps.size)))
        assert np.array_equal(blocks, blocks.transpose(0, 2, 1))


@pytest.mark.parametrize("inversion", [False, True])
@pytest.mark.parametrize("table", [SHELLS, MIXED])
def test_irreps_of_rotated_blocks_are_rotated_irreps(table, inversion):
    rotation = random_rotation(3, inversion)
    layout = IrrepLayout(table)
    rng = np.random.default_rng(2)
    for (zi, zj), irreps in layout.pair.items():
        block = rng.normal(size=irreps.shape)
        d_i, d_j = (wigner_d(table[z].degrees, rotation) for z in (zi, zj))
        rotated = irreps.to_irreps(d_i @ block @ d_j.T)
        straight = irreps.to_irreps(block)
        for parity, degree in set(zip(irreps.parity.tolist(), irreps.l.tolist(), strict=True)):
            rows = (irreps.parity == parity) & (irreps.l == degree)
            d = wigner_d([degree], rotation)
            # Under inversion a pseudotensor takes the sign that a tensor of its degree does not.
            sign = -1.0 if inversion and parity == 1 else 1.0
            expected = sign * straight[rows].reshape(-1, 2 * degree + 1) @ d.T
            assert np.allclose(rotated[rows].reshape(-1, 2 * degree + 1), expected, atol=ROUNDING)


def test_wigner_d_rotates_harmonics_of_the_documented_order():
    # l = 1 reads y, z, x: a rotation by 90° about z takes x to y and y to -x.
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.allclose(wigner_d([1], rotation), [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=ROUNDING)


def test_wigner_d_multiplies_as_rotations_do():
    a, b = random_rotation(5), random_rotation(6, inversion=True)
    degrees = (0, 1, 2, 3)
    product = wigner_d(degrees, a) @ wigner_d(degrees, b)
    assert np.allclose(wigner_d(degrees, a @ b), product, atol=ROUNDING)
