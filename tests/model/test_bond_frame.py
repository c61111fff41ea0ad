"""The layers in the frame of the bond against Clebsch-Gordan products, and at the poles of the frame."""

from __future__ import annotations

from functools import partial

import ase
import e3x
import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gh_tools.model.bond_rotation import (
    bond_rotations,
    components,
    rotate_azimuth,
    rotate_polar,
    rotate_to_bond_frame,
)
from gh_tools.model.build import build_model
from gh_tools.model.config import BondFrameConfig
from gh_tools.model.product import Product
from gh_tools.model.rearrange import exchange, select_components
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.order import clebsch_gordan, wigner_d
from tests.equivariance.conftest import CONFIGS, Network

DEGREE = 4
# As programs: operation by operation, each would be compiled for itself.
rotate = jax.jit(rotate_to_bond_frame, static_argnums=(3, 4))
rotations_of = jax.jit(bond_rotations, static_argnums=1)
harmonics_of = jax.jit(
    partial(e3x.so3.spherical_harmonics, cartesian_order=False), static_argnums=1
)
# Sums of some tens of terms of order one, each rounded to 6e-8.
ROUNDING = dict(atol=3e-6, rtol=3e-6)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def vectors(rng):
    special = [[0, 0, 2.0], [0, 0, -1.5], [1e-6, -2e-6, 3.0], [1.0, 0, 0], [0, -2.0, 0]]
    return np.concatenate([rng.normal(size=(6, 3)), special]).astype(np.float32)


def rotated(tensors, pseudotensors, vectors):
    """Turn [lm, pairs, features]; for each m: tensors and pseudotensors as [c/s, degrees, pairs, features]."""
    width, pairs = tensors.shape[2], len(vectors)
    features = np.concatenate([tensors, pseudotensors], axis=2).transpose(0, 2, 1)[None]
    weights = np.ones((1, DEGREE + 1, 2 * width, pairs), np.float32)
    rotations = rotations_of(vectors, DEGREE)
    orbital_order = components(DEGREE).orbital_order
    found = rotate(features[:, orbital_order], weights, rotations, width, DEGREE)
    even = np.asarray(found[0]).reshape(1, -1, width, pairs)
    odd = np.asarray(found[1]).reshape(1, -1, width, pairs)
    parts = [(even, np.pad(odd, ((0, 0), (1, 0), (0, 0), (0, 0))))]
    for part in found[2:]:
        part = np.moveaxis(np.asarray(part).reshape(-1, 2 * width, 2, pairs), 2, 0)
        parts.append((part[:, :, :width], part[:, :, width:]))
    return [tuple(np.swapaxes(each, 2, 3) for each in part) for part in parts]


def test_harmonics_of_the_bond_have_no_other_order_than_zero(vectors):
    harmonics = np.asarray(harmonics_of(vectors, DEGREE)).T[:, :, None]
    found = rotated(harmonics, np.zeros_like(harmonics), vectors)
    np.testing.assert_allclose(found[0][0], 1.0, **ROUNDING)  # Racah's normalisation
    for tensors, _ in found[1:]:
        np.testing.assert_allclose(tensors, 0.0, **ROUNDING)


def rotations(vectors, max_degree):
    """Matrices of each degree, from unit features that are rotated."""
    size, pairs = (max_degree + 1) ** 2, len(vectors)
    units = np.broadcast_to(
        np.eye(size, dtype=np.float32)[None, :, :, None], (1, size, size, pairs)
    )
    weights = np.ones((1, max_degree + 1, size, pairs), np.float32)
    rotations = rotations_of(vectors, max_degree)
    found = rotate(
        units[:, components(max_degree).orbital_order], weights, rotations, size, max_degree
    )
    matrices = [
        np.zeros((pairs, 2 * degree + 1, 2 * degree + 1)) for degree in range(max_degree + 1)
    ]
    for m in range(max_degree + 1):
        part = np.asarray(found[0] if m == 0 else found[m + 1]).reshape(
            -1, size, 1 + (m > 0), pairs
        )
        for degree, rows in enumerate(part, start=m):
            old = slice(degree**2, (degree + 1) ** 2)
            for row, order in enumerate((m, -m)[: 1 + (m > 0)]):
                matrices[degree][:, degree + order] = rows[old, row].T
    return matrices


def test_rotations_into_the_frame_are_wigners(vectors):
    first = rotations(vectors, 1)[1]
    for degree, matrix in enumerate(rotations(vectors, 6)):
        identity = np.broadcast_to(np.eye(2 * degree + 1), matrix.shape)
        np.testing.assert_allclose(matrix @ np.swapaxes(matrix, 1, 2), identity, atol=1e-5, rtol=0)
        # Of degree 1 it is the rotation itself, in the order y, z, x.
        cartesian = first[:, [2, 0, 1]][:, :, [2, 0, 1]]
        for rotation, found in zip(cartesian, matrix, strict=True):
            expected = wigner_d([degree], rotation)
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("max_degree", [0, 1, 4, 6])
def test_the_order_of_components_reversed_exchanges_m_and_minus_m(max_degree):
    """A rotation about z couples the component m to -m alone: `rotate_azimuth` takes it by exchange_atoms."""
    order = components(max_degree)
    np.testing.assert_array_equal(order.m[::-1], -order.m)
    mixed = order.m != 0  # m = 0 stays what it is
    np.testing.assert_array_equal(order.degree[::-1][mixed], order.degree[mixed])


def test_gradients_of_rotating_are_those_of_the_sums(vectors, rng):
    """Written out by hand for speed: against JAX's own, of features, weights and rotations."""
    size, pairs = (DEGREE + 1) ** 2, len(vectors)
    features = rng.normal(size=(2, size, 3, pairs)).astype(np.float32)
    weights = rng.normal(size=(2, DEGREE + 1, 3, pairs)).astype(np.float32)
    rotations = rotations_of(vectors, DEGREE)
    cases = (
        (rotate_azimuth, (features, weights, rotations.cosine, rotations.sine), ()),
        (rotate_polar, (features, rotations.polar), (2, 3)),
    )
    for function, arguments, static in cases:
        plain = function.fun  # the function without its gradient

        def parts(function, *arguments, static=static):
            return jax.tree.leaves(function(*arguments, *static))

        shapes = [part.shape for part in jax.eval_shape(partial(parts, plain), *arguments)]
        factors = [rng.normal(size=shape).astype(np.float32) for shape in shapes]

        def total(function, arguments=arguments, parts=parts, factors=factors):
            def of(*arguments):
                each = parts(function, *arguments)
                return sum((w * p).sum() for w, p in zip(factors, each, strict=True))

            everything = tuple(range(len(arguments)))
            return jax.jit(jax.grad(of, argnums=everything))(*arguments)

        for found, expected in zip(total(function), total(plain), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("l1", range(DEGREE + 1))
@pytest.mark.parametrize("l2", [1, 2, 4])
def test_a_product_with_the_bond_is_one_number_for_each_order(l1, l2, vectors, rng):
    """Clebsch-Gordan products of features with the bond's harmonics, done in both ways.

    C(l1 m1, l2 m2; l3 m3) needs m2 = 0 in the frame of the bond, so that of each order c + is of the
    product is that of the features times C(l1 m, l2 0; l3 m), pseudotensors as (-s, c).
    """
    block = slice(l1**2, (l1 + 1) ** 2)
    x = np.zeros(((DEGREE + 1) ** 2, len(vectors), 3), np.float32)
    x[block] = rng.normal(size=x[block].shape)
    harmonics = np.asarray(harmonics_of(vectors, l2))[:, l2**2 :]
    before_product = rotated(x, np.zeros_like(x), vectors)
    for l3, table in clebsch_gordan(l1, l2).items():
        if l3 > DEGREE:
            continue
        product = np.zeros_like(x)
        out = slice(l3**2, (l3 + 1) ** 2)
        product[out] = np.einsum("apf,pb,abc->cpf", x[block], harmonics, table)
        pseudo = (l1 + l2 + l3) % 2
        both = [product, np.zeros_like(x)]
        found = rotated(*(both[part ^ pseudo] for part in (0, 1)), vectors)
        for m in range(min(l1, l3) + 1):
            # (c, s) of the tensor x_m and of the product; for a pseudotensor the table takes c to s.
            factor = table[l1 + m, l2, l3 - m if pseudo else l3 + m]
            factor *= -1.0 if pseudo else 1.0
            before = before_product[m][0][..., l1 - m, :, :]
            after = found[m][pseudo][..., l3 - m, :, :]
            if m == 0 and pseudo:
                np.testing.assert_allclose(after, 0.0, **ROUNDING)
            else:
                np.testing.assert_allclose(after, factor * before, **ROUNDING)


def test_products_are_e3xs(rng):
    x = rng.normal(size=(9, 4, 5)).astype(np.float32)
    layer = Product(3)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    parameters = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), nn.meta.unbox(shapes)
    )
    tensors, pseudotensors = np.split(np.asarray(jax.jit(layer.apply)(parameters, x)), 2)
    kernel = parameters["params"]["factors"]["kernel"]
    factors = [
        np.einsum("mfa,gf->mga", x[degree**2 : (degree + 1) ** 2], kernel[degree])
        for degree in range(3)
    ]
    a, b = np.split(np.concatenate(factors), 2, axis=1)
    table = np.asarray(e3x.so3.clebsch_gordan(2, 2, 2, cartesian_order=False))
    product = np.einsum("ifa,jfa,ijk->ijkfa", a, b, table)
    degree = np.repeat([0, 1, 2], [1, 3, 5])
    odd = (degree[:, None, None] + degree[:, None] + degree) % 2 == 1
    for found, mask in ((tensors, ~odd), (pseudotensors, odd)):
        expected = (product * mask[..., None, None]).sum(axis=(0, 1))
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=2e-5)


def test_gradients_of_sorting_are_those_of_indexing(rng):
    class Table:
        source = np.array([[3, 0], [1, 0]])
        sign = np.array([[1.0, -1.0], [-1.0, 0.0]])
        target = np.array([[1, 0, 0, 0], [0, 0, 0, 0]])
        value_sign = np.array([[-1.0, 0.0, 0.0, 1.0], [0.0, -1.0, 0.0, 0.0]])

    values = rng.normal(size=(2, 4, 3)).astype(np.float32)
    row_type = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], np.float32)
    weight = rng.normal(size=(2, 3)).astype(np.float32)

    def indexed(values):
        parts = [values[t][Table.source[t]] * Table.sign[t][:, None] * row_type[t] for t in (0, 1)]
        return sum(parts)

    sort = jax.jit(lambda values: select_components(values, row_type, Table))
    np.testing.assert_array_equal(sort(values), jax.jit(indexed)(values))
    expected = jax.jit(jax.grad(lambda v: (indexed(v) * weight).sum()))(values)
    found = jax.jit(jax.grad(lambda v: (sort(v) * weight).sum()))(values)
    np.testing.assert_array_equal(found, expected)
    partner = np.array([2, 1, 0, 4, 3])
    weight = rng.normal(size=5).astype(np.float32)
    found = jax.jit(jax.grad(lambda v: (exchange(v, partner) * weight).sum()))(
        np.ones(5, np.float32)
    )
    np.testing.assert_array_equal(found, weight[partner])


@pytest.fixture(scope="module")
def network():
    return Network(CONFIGS["bond-frame"])


@pytest.mark.parametrize("pole", [1.0, -1.0])
def test_predictions_are_smooth_where_the_frame_is_not(network, pole):
    """The azimuth of a bond along z is arbitrary: blocks must not show it."""

    def pair(tilt, azimuth):
        across = 1.9 * tilt * np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        positions = [[0, 0, 0], across + [0, 0, 1.9 * pole], [1.4, 0.3, 0.6]]
        [(graph, _, pairs)] = network.predict(ase.Atoms("OSiSi", positions))
        return pairs[(graph.i == 0) & (graph.j == 1)]

    exact = pair(0.0, 0.0)
    assert np.abs(exact).max() > 0.1
    for azimuth in (0.0, 1.0, np.pi, -2.0):
        for tilt in (1e-12, 1e-10, 1e-8, 1e-6, 1e-4):
            # Slopes are of order ten; the rest is float32's rounding.
            tolerance = (100 * tilt + 2e-5) * np.abs(exact).max()
            np.testing.assert_allclose(pair(tilt, azimuth), exact, atol=tolerance, rtol=0.0)


def test_like_atoms_have_no_first_one(network, molecule):
    """What the network says of j→i is the transpose of what it says of i→j."""
    graph = network.batch([network.graph(molecule)])
    backward = graph._replace(i=graph.j, j=graph.i, pair_vector=-graph.pair_vector)
    found = []
    for each in (graph, backward):
        pairs = np.asarray(network.apply(network.parameters, each).pairs)
        found.append(network.in_structure_axes(each, pairs))
    for pair_type, ((zi, zj), irreps) in enumerate(network.layout.pair.items()):
        rows = (graph.pair_type == pair_type) & graph.pair_mask
        if zi == zj:
            there, back = (irreps.to_blocks(pairs[rows, : irreps.size]) for pairs in found)
            assert np.abs(there - np.swapaxes(there, 1, 2)).max() > 0.1
            np.testing.assert_allclose(
                back, np.swapaxes(there, 1, 2), atol=2e-5 * np.abs(there).max(), rtol=0.0
            )


@pytest.mark.parametrize("elements", ["SiSiSi", "OSi", "OOO"])
def test_species_pairs_that_do_not_occur_are_left_out(elements):
    """Evaluated for as many pair types as there are, values and gradients are those of all pair types."""
    network = Network(CONFIGS["bond-frame"])
    atoms = ase.Atoms(elements)
    atoms.positions = np.random.default_rng(3).normal(0.0, 1.3, (len(atoms), 3))
    graph = network.batch([network.graph(atoms)])
    assert len(np.unique(graph.pair_type)) == 1

    def value_and_gradient(n_pair_types):
        model = build_model(network.config, network.basis, n_pair_types=n_pair_types)

        def total(params):
            pairs = model.apply(params, graph).pairs
            return (pairs**2).sum(), pairs

        (_, pairs), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(network.parameters)
        return pairs, slope

    (pairs, slope), (expected, expected_slope) = map(value_and_gradient, (1, None))
    np.testing.assert_allclose(pairs, expected, atol=2e-5 * np.abs(expected).max(), rtol=0.0)
    largest = max(float(abs(leaf).max()) for leaf in jax.tree.leaves(expected_slope))
    for found, wanted in zip(*map(jax.tree.leaves, (slope, expected_slope)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5 * largest, rtol=0.0)


def test_more_species_pairs_than_foreseen_are_seen(molecule):
    """Those that were foreseen have their numbers, and the others none."""
    network = Network(CONFIGS["bond-frame"])
    graph = network.batch([network.graph(molecule)])
    model = build_model(network.config, network.basis, n_pair_types=2)
    pairs = np.asarray(jax.jit(model.apply)(network.parameters, graph).pairs)
    pair_types, lost = np.unique(graph.pair_type), np.isnan(pairs).all(axis=1)
    assert len(pair_types) == 3
    assert [lost[graph.pair_type == pair_type].all() for pair_type in pair_types] == [
        False,
        False,
        True,
    ]
    whole = np.asarray(network.apply(network.parameters, graph).pairs)
    np.testing.assert_allclose(
        pairs[~lost], whole[~lost], atol=2e-5 * np.abs(whole).max(), rtol=0.0
    )


@pytest.fixture(scope="module")
def molecule():
    positions = np.random.default_rng(4).normal(0.0, 1.3, (5, 3))
    return ase.Atoms("OSiSiOO", positions)


def test_blocks_of_f_shells_rotate_with_the_structure():
    """Several shells of one degree, and irreps up to degree 6."""
    basis = Basis(
        {
            8: ElementBasis(8, (Shell(1, 1.8), Shell(0, 1.6), Shell(1, 2.0)), 6.0),
            58: ElementBasis(58, (Shell(0, 2.0), Shell(3, 2.0), Shell(2, 1.8)), 4.0),
        }
    )
    small = CONFIGS["bond-frame"].model_dump() | {"max_degree": None}
    network = Network(BondFrameConfig.model_validate(small), basis)
    assert network.layout.max_degree == 6
    atoms = ase.Atoms("CeOCeO", [[0, 0, 0], [1.6, 0.2, 0], [0.4, 1.9, 1.1], [-0.5, -0.3, 1.7]])
    matrix = -Rotation.random(random_state=2).as_matrix()
    rotated = atoms.copy()
    rotated.positions = atoms.positions @ matrix.T
    onsite, pairs = network.blocks(atoms)
    onsite_rotated, pairs_rotated = network.blocks(rotated)
    wigner = {number: wigner_d(basis[number].degrees, matrix) for number in basis.numbers}
    found, expected = list(onsite_rotated), []
    for number, block in zip(atoms.numbers, onsite, strict=True):
        expected.append(wigner[number] @ block @ wigner[number].T)
    by_atoms = {key[:2]: block for key, block in pairs_rotated.items()}
    for (i, j, *_), block in pairs.items():
        found.append(by_atoms[i, j])
        expected.append(wigner[atoms.numbers[i]] @ block @ wigner[atoms.numbers[j]].T)
    scale = max(np.abs(block).max() for block in expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5 * scale, rtol=0.0)
