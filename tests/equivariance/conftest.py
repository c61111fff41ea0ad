"""One suite for every network: add a configuration here, and all tests of this folder hold for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import ase
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gh_tools.model.build import build_model
from gh_tools.model.config import BondFrameConfig, GearsHConfig
from gh_tools.model.graph import Graph, build_graph, concatenate, pad
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bond_frame import from_frame
from gh_tools.orbitals.irreps import IrrepLayout

# Compiled once and run a few times: better compiled fast than well.
_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# Two elements whose blocks hold every kind of irrep up to degree 2, pseudotensors included, with
# shells in different orders and numbers.
BASIS = Basis(
    {
        8: ElementBasis(8, (Shell(0, 1.6), Shell(1, 2.0)), 6.0),
        14: ElementBasis(14, (Shell(1, 2.2), Shell(0, 1.8), Shell(0, 2.4)), 4.0),
    }
)
CUTOFF = 4.0  # Å, of the descriptor


def _gears_h(n_tensor_dense: int, **atom_centered) -> GearsHConfig:
    return GearsHConfig.model_validate(
        {
            "atom_centered": {
                "radial_basis": {
                    "cutoff": CUTOFF,
                    "n_radial": 6,
                    "max_degree": 2,
                    "n_embedding": 2,
                },
                "n_tensor_dense": n_tensor_dense,
                "tensor_features": 4,
                "max_degree": 2,
                **atom_centered,
            },
            "bond_centered": {"n_radial": 6, "max_degree": 2, "features": 6},
            "mlp": {"layers": (8, 4, 8)},
        }
    )


def _bond_frame(**values) -> BondFrameConfig:
    small = {
        "cutoff": CUTOFF,
        "max_degree": 2,
        "n_radial": 6,
        "n_embedding": 2,
        "product_features": 4,
        "atom_features": 6,
        "onsite_features": 6,
        "bond_tensors": 3,
        "bond_pseudotensors": 2,
        "bond_features": 4,
        "hidden": 8,
    }
    return BondFrameConfig.model_validate(small | values)


CONFIGS = {
    "gears-h 2-body": _gears_h(0),
    "gears-h 3-body": _gears_h(1),
    "gears-h 5-body fused": _gears_h(2, tensor_product="fused"),
    "gears-h attention": _gears_h(1, attention={"n_heads": 2, "features": 4}),
    "bond-frame": _bond_frame(),
    "bond-frame larger degree": _bond_frame(max_degree=4, n_layers=1),
}


@dataclass
class Network:
    """A network with random parameters, none of them at a special value."""

    config: GearsHConfig | BondFrameConfig
    basis: Basis = BASIS

    @cached_property
    def layout(self) -> IrrepLayout:
        return IrrepLayout(self.basis)

    @cached_property
    def model(self):
        return build_model(self.config, self.basis)

    @cached_property
    def parameters(self):
        shapes = jax.eval_shape(
            self.model.init, jax.random.key(0), self.graph(ase.Atoms(self.basis.numbers[:2]))
        )
        rng = np.random.default_rng(1)

        def draw(path, leaf):
            width = leaf.shape[-2] if "kernel" in str(path[-1]) and leaf.ndim > 1 else 1
            return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(width), jnp.float32)

        return jax.tree_util.tree_map_with_path(draw, nn.meta.unbox(shapes))

    @cached_property
    def apply(self):
        return _jit(self.model.apply)

    @cached_property
    def _slopes(self):
        def square(parameters, vectors, graph):
            edges, pairs = vectors
            prediction = self.model.apply(
                parameters, graph._replace(vector=edges, pair_vector=pairs)
            )
            return jnp.sum(prediction.onsite**2) + jnp.sum(prediction.pairs**2)

        return _jit(jax.grad(square, argnums=(0, 1)))

    def slopes(self, parameters, *structures: ase.Atoms):
        """Derivatives of the sum of squared irreps by parameters and by (edges, pairs) vectors."""
        batch = self.batch([self.graph(atoms) for atoms in structures])
        return self._slopes(parameters, (batch.vector, batch.pair_vector), batch)

    def graph(self, atoms: ase.Atoms) -> Graph:
        return build_graph(
            atoms,
            self.basis,
            self.config.cutoffs(self.basis),
        )

    def batch(self, graphs: list[Graph]) -> Graph:
        """Pad to one size for all tests, which is compiled once."""
        return pad(concatenate(graphs), 24, 1500, 600)

    def predict(self, *structures: ase.Atoms, padded: bool = True) -> list[tuple]:
        """Predict structures in one batch: (graph, on-site irreps, pair irreps) of each."""
        graphs = [self.graph(atoms) for atoms in structures]
        batch = self.batch(graphs) if padded else concatenate(graphs)
        prediction = self.apply(self.parameters, batch)
        onsite, pairs = np.asarray(prediction.onsite), np.asarray(prediction.pairs)
        atom_stops = np.cumsum([len(graph.species) for graph in graphs])
        pair_stops = np.cumsum([len(graph.i) for graph in graphs])
        assert not onsite[atom_stops[-1] :].any() and not pairs[pair_stops[-1] :].any()
        return [
            (
                graph,
                onsite[a - len(graph.species) : a],
                self.in_structure_axes(graph, pairs[p - len(graph.i) : p]),
            )
            for graph, a, p in zip(graphs, atom_stops, pair_stops, strict=True)
        ]

    def in_structure_axes(self, graph: Graph, pairs: np.ndarray) -> np.ndarray:
        """Turn pairs out of the frame that the network predicts them in."""
        rotated = np.zeros_like(pairs)
        for pair_type, irreps in enumerate(self.layout.pair.values()):
            rows = graph.pair_type == pair_type
            rotated[rows, : irreps.size] = from_frame(
                self.config.frame, irreps, pairs[rows, : irreps.size], graph.pair_vector[rows]
            )
        return rotated

    def blocks(self, atoms: ase.Atoms) -> tuple[list[np.ndarray], dict]:
        """Predict blocks: one for each atom, and for both directions of each pair.

        Pairs are named by their atoms and the vector between them, rounded to 1e-3 Å.
        """
        [(graph, onsite, pairs)] = self.predict(atoms)
        diagonal = [
            irreps.to_blocks(row[: irreps.size])
            for irreps, row in (
                (self.layout.onsite[number], row)
                for number, row in zip(atoms.numbers, onsite, strict=True)
            )
        ]
        of_types = list(self.layout.pair.values())
        directed = {}
        for row, i, j, vector, pair_type in zip(
            pairs, graph.i, graph.j, graph.pair_vector, graph.pair_type, strict=True
        ):
            block = of_types[pair_type].to_blocks(row[: of_types[pair_type].size])
            key = tuple(np.rint(1000 * vector).astype(int).tolist())
            directed[(int(i), int(j), *key)] = block
            directed[(int(j), int(i), *(-k for k in key))] = block.T
        return diagonal, directed


@pytest.fixture(scope="session", params=list(CONFIGS))
def network(request) -> Network:
    return Network(CONFIGS[request.param])


@pytest.fixture(scope="session")
def molecule() -> ase.Atoms:
    rng = np.random.default_rng(5)
    grid = 1.9 * np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)])
    return ase.Atoms("OSiSiOOSi", positions=(grid + rng.normal(0.0, 0.25, grid.shape))[:6])


@pytest.fixture(scope="session")
def crystal() -> ase.Atoms:
    """A distorted periodic cell, smaller than the range of a block."""
    rng = np.random.default_rng(6)
    cell = np.array([[2.9, 0.0, 0.2], [0.5, 3.1, 0.0], [0.0, 0.3, 3.3]])
    positions = rng.uniform(size=(3, 3)) * 0.2 + [[0, 0, 0], [1.5, 1.6, 0.1], [0.1, 1.4, 1.8]]
    return ase.Atoms("OSiO", positions=positions, cell=cell, pbc=True)
