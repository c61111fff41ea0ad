"""Each layer against something else that computes the same."""

from __future__ import annotations

import ase
import e3x
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gh_tools.model.atom_dense import AtomDense, soft_norm
from gh_tools.model.atom_readout import AtomReadout
from gh_tools.model.bond_centered import BondCentered
from gh_tools.model.config import BondCenteredConfig, MLPConfig, RadialBasisConfig
from gh_tools.model.dense import DegreeDense
from gh_tools.model.density import Density
from gh_tools.model.graph import build_graph
from gh_tools.model.norm import SoftNorm
from gh_tools.model.readout import Readout
from gh_tools.model.residual import ResidualDense
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import Cutoffs

BASIS = Basis(
    {
        1: ElementBasis(1, (Shell(0, 1.5),), 1.0),
        8: ElementBasis(8, (Shell(1, 2.0), Shell(0, 1.8)), 6.0),
    }
)
# Sums of some tens of terms of order one, each rounded to 6e-8.
ROUNDING = dict(atol=2e-5, rtol=2e-5)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def _random_like(shapes, rng):
    shapes = nn.meta.unbox(shapes)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("parities", [1, 2])
def test_dense_is_the_map_of_e3x(parities, rng):
    x = rng.normal(size=(7, parities, 9, 4)).astype(np.float32)
    kernel = rng.normal(size=(parities, 3, 4, 5)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    found = jax.jit(DegreeDense(5).apply)({"params": {"kernel": kernel, "bias": bias}}, x)

    theirs = {}
    for parity in range(parities):
        for degree in range(3):
            # With one parity axis e3x names a kernel by the sign that its degree has.
            sign = "+-"[parity] if parities == 2 else "+-"[degree % 2]
            theirs[f"{degree}{sign}"] = {"kernel": kernel[parity, degree]}
    theirs["0+"]["bias"] = bias
    np.testing.assert_allclose(
        found, jax.jit(e3x.nn.Dense(5).apply)({"params": theirs}, x), **ROUNDING
    )


def test_density_is_the_sum_over_neighbours(rng):
    atoms = ase.Atoms("OHHO", positions=rng.normal(0.0, 1.2, (4, 3)))
    config = RadialBasisConfig(n_radial=3, max_degree=2, n_embedding=2)
    graph = build_graph(atoms, BASIS, Cutoffs(5.0, {(8, 8): 1.0}))
    layer = Density(config, cutoff=5.0, n_species=2)
    parameters = _random_like(jax.eval_shape(layer.init, jax.random.key(0), graph), rng)
    found = np.moveaxis(np.asarray(jax.jit(layer.apply)(parameters, graph)), -1, 0)

    harmonics = jax.jit(lambda v: e3x.so3.spherical_harmonics(v, 2, cartesian_order=False))
    p = jax.tree.map(np.asarray, parameters["params"])
    expected = np.zeros_like(found, dtype=np.float64)
    for center, neighbour, vector in zip(graph.center, graph.neighbour, graph.vector, strict=True):
        r = np.linalg.norm(vector)
        radial = np.cos(np.pi * np.arange(3) * r / 5.0) * np.exp(1 - 1 / (1 - (r / 5.0) ** 2))
        y = np.asarray(harmonics(vector))
        zi, zj = graph.species[center], graph.species[neighbour]
        mixing = np.einsum("c,c,lfck->lkf", p["central"][zi], p["neighbour"][zj], p["mixing"])
        for degree in range(3):
            m = slice(degree**2, (degree + 1) ** 2)
            expected[center, m] += y[m, None] * (radial @ mixing[degree])
    np.testing.assert_allclose(found, expected, **ROUNDING)


def test_the_central_element_shapes_the_descriptor(rng):
    """Unlike atoms in the same surroundings have unlike descriptors, before any readout."""
    water, other = (
        build_graph(
            ase.Atoms(symbols, positions=[[0, 0, 0], [0, 0, 1.0], [0, 0.9, -0.4]]),
            BASIS,
            Cutoffs(5.0, {(8, 8): 1.0}),
        )
        for symbols in ("OHH", "HHH")
    )
    layer = Density(RadialBasisConfig(n_radial=3, max_degree=1), cutoff=5.0, n_species=2)
    parameters = jax.jit(layer.init)(jax.random.key(1), water)
    a, b = (np.asarray(jax.jit(layer.apply)(parameters, graph))[..., 0] for graph in (water, other))
    assert np.abs(a - b).max() > 0.1 * np.abs(a).max()


def test_norm_looks_at_its_row_and_leaves_zero_at_zero(rng):
    layer = SoftNorm(0.01)
    x = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    x[0] = 0.0
    parameters = jax.jit(layer.init)(jax.random.key(0), x)
    y = np.asarray(jax.jit(layer.apply)(parameters, x))
    assert not y[0].any()
    vector = np.asarray(x[1, 1, 1:])
    np.testing.assert_allclose(y[1, 1, 1:], vector / np.sqrt((vector**2).mean() + 0.01), **ROUNDING)
    np.testing.assert_allclose(jax.jit(layer.apply)(parameters, x[1:2])[0], y[1], **ROUNDING)
    # At zero the slope is 1/sqrt(ε), and nothing else.

    def moved(value):
        return layer.apply(parameters, jnp.asarray(x).at[0, 0, 0, 0].set(value))[0, 0, 0, 0]

    slope = jax.jit(jax.jacobian(moved))(0.0)
    np.testing.assert_allclose(slope, 10.0, rtol=1e-5)


def test_residual_layers_end_at_the_width_asked_for(rng):
    x = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    layer = ResidualDense(MLPConfig(layers=(6, 3, 7)))
    y, parameters = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    assert y.shape == (3, 2, 4, 7)
    assert len(parameters["params"]) == 4  # three layers and the connection around them


def test_ordered_pairs_of_unlike_atoms_differ(rng):
    """i→j and j→i along one vector, with the same radial weights, have unlike features."""
    atoms = rng.normal(size=(2, 2, 4, 3)).astype(np.float32)
    layer = BondCentered(BondCenteredConfig(n_radial=3, max_degree=1), epsilon=0.01, n_types=1)
    vector = np.array([[0.3, 0.5, 1.2]] * 2, np.float32)
    arguments = (vector, np.full(2, 4.0, np.float32), np.zeros(2, np.int32))
    i, j = np.array([0, 1]), np.array([1, 0])
    parameters = jax.jit(layer.init)(jax.random.key(0), atoms, i, j, *arguments)
    forward, backward = np.asarray(jax.jit(layer.apply)(parameters, atoms, i, j, *arguments))
    assert np.abs(forward - backward).max() > 0.1 * np.abs(forward).max()


def test_layers_of_atoms_are_those_with_atoms_first(rng):
    """Maps and norms with atoms as the last axis against those that the paper's network has."""
    x = rng.normal(size=(9, 4, 7)).astype(np.float32)
    rows = x.transpose(2, 0, 1)[:, None]
    kernel = rng.normal(size=(3, 5, 4)).astype(np.float32)
    found = jax.jit(AtomDense(5).apply)({"params": {"kernel": kernel}}, x)
    theirs = {"params": {"kernel": kernel.swapaxes(1, 2)[None]}}
    expected = jax.jit(DegreeDense(5, use_bias=False).apply)(theirs, rows)
    np.testing.assert_allclose(found.transpose(2, 0, 1)[:, None], expected, **ROUNDING)

    both = rng.normal(size=(18, 4, 7)).astype(np.float32)
    rows = both.reshape(2, 9, 4, 7).transpose(3, 0, 1, 2)
    expected, _ = jax.jit(SoftNorm(0.01).init_with_output)(jax.random.key(0), rows)
    found = (
        jax.jit(soft_norm, static_argnums=(1, 2))(both, 2, 0.01)
        .reshape(2, 9, 4, 7)
        .transpose(3, 0, 1, 2)
    )
    np.testing.assert_allclose(found, expected, **ROUNDING)


def test_readout_of_atoms_puts_each_irrep_where_the_layout_has_it(rng):
    of_types = tuple(IrrepLayout(BASIS).onsite.values())
    n_pair_types, width = len(of_types), 4
    tensors, pseudotensors = rng.normal(size=(2, 9, width, 6)).astype(np.float32)
    row_type = np.array([0, 1, 1, 0, 1, 0])
    layer = AtomReadout(of_types)
    arguments = (tensors, pseudotensors, np.eye(n_pair_types, dtype=np.float32)[:, row_type])
    shapes = jax.eval_shape(layer.init, jax.random.key(0), *arguments)
    parameters = _random_like(shapes, rng)
    found = jax.jit(layer.apply)(parameters, *arguments)

    weights = {
        name: np.asarray(kernel).reshape(-1, n_pair_types, width)
        for name, kernel in parameters["params"].items()
    }
    taken = dict.fromkeys(weights, 0)
    channels = sorted(
        {
            (parity, int(degree), int(channel))
            for irreps in of_types
            for parity, degree, channel in zip(
                irreps.parity.tolist(), irreps.l, irreps.channel, strict=True
            )
        }
    )
    by_irrep = {}
    for parity, degree, channel in channels:
        name = ("tensors", "pseudotensors")[parity]
        by_irrep[parity, degree, channel] = weights[name][taken[name]]
        taken[name] += 1
    for row, irreps in enumerate(of_types):
        for c in range(irreps.size):
            key = (int(irreps.parity[c]), int(irreps.l[c]), int(irreps.channel[c]))
            component = irreps.l[c] ** 2 + irreps.l[c] + irreps.m[c]
            features = (tensors, pseudotensors)[key[0]][component]
            expected = by_irrep[key][row] @ np.asarray(features)
            atoms = np.asarray(row_type) == row
            np.testing.assert_allclose(np.asarray(found)[c, atoms], expected[atoms], **ROUNDING)
        assert not np.asarray(found)[irreps.size :, np.asarray(row_type) == row].any()


@pytest.mark.parametrize("part", ["onsite", "pair"])
def test_readout_puts_each_irrep_where_the_layout_has_it(part, rng):
    of_types = tuple(getattr(IrrepLayout(BASIS), part).values())
    x = rng.normal(size=(len(of_types), 2, 9, 4)).astype(np.float32)
    layer = Readout(of_types)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x, np.arange(len(of_types)))
    parameters = _random_like(shapes, rng)
    found = np.asarray(jax.jit(layer.apply)(parameters, x, np.arange(len(of_types))))
    kernel = np.asarray(parameters["params"]["kernel"])
    bias = np.asarray(parameters["params"]["bias"])
    for row, irreps in enumerate(of_types):
        assert not found[row, irreps.size :].any()
        used = {}
        for c in range(irreps.size):
            degree, m = irreps.l[c], irreps.m[c]
            parity = (degree + irreps.parity[c]) % 2
            features = np.asarray(x[row, parity, degree**2 + degree + m])
            values = features @ kernel[row] + (bias[row] if degree == parity == 0 else 0.0)
            column = int(np.abs(values - found[row, c]).argmin())
            np.testing.assert_allclose(found[row, c], values[column], **ROUNDING)
            # One column of weights an irrep, and no two irreps share one.
            irrep = (parity, degree, irreps.channel[c])
            assert used.setdefault(irrep, column) == column
        assert len(set(used.values())) == len(used)
