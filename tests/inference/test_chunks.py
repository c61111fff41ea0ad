"""Chunks of a graph give what the whole graph gives."""

from __future__ import annotations

import ase
import numpy as np
import pytest

from gh_tools.inference.chunks import atom_chunks, local_graph, pair_chunks
from gh_tools.model.graph import Graph, build_graph
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.pairs import Cutoffs, Neighbours, wrapped

BASIS = Basis({z: ElementBasis(z, (Shell(0, 1.5),), n_valence=1) for z in (5, 7, 8)})


@pytest.fixture(scope="module")
def atoms() -> ase.Atoms:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * 1.7
    atoms = ase.Atoms(rng.choice([5, 7], 64), grid, cell=[6.8] * 3, pbc=True)
    atoms.rattle(0.1, seed=0)
    return wrapped(atoms)


@pytest.fixture(scope="module")
def graph(atoms) -> Graph:
    return build_graph(atoms, BASIS, Cutoffs(2.6, {(5, 5): 3.0, (5, 7): 2.8, (7, 7): 2.5}))


def descriptors(graph: Graph, n_message_steps: int) -> np.ndarray:
    """What a network computes, in NumPy: neighbours' elements at first, then their descriptors."""
    distance = np.linalg.norm(graph.vector, axis=1) * graph.edge_mask

    def gather(values: np.ndarray) -> np.ndarray:
        return np.bincount(graph.center, values * graph.edge_mask, minlength=len(graph.species))

    x = gather(np.sin(distance) * (1 + graph.species[graph.neighbour])) + graph.species
    for _ in range(n_message_steps):
        x = x + gather(np.cos(distance) * x[graph.neighbour])
    return x


@pytest.mark.parametrize("n_message_steps", [0, 1, 2])
@pytest.mark.parametrize("size", [(12, 200), (9, 40), (100, 5000)])
def test_chunks_hold_all_that_atoms_depend_on(graph, n_message_steps, size):
    whole = descriptors(graph, n_message_steps)
    found = np.full(len(whole), np.nan)
    shapes = set()
    for chunk in atom_chunks(graph, 64, 3, n_message_steps, size):
        shapes.add((len(chunk.graph.species), len(chunk.graph.center)))
        assert np.all(np.isnan(found[chunk.atoms]))
        found[chunk.atoms] = descriptors(chunk.graph, n_message_steps)[chunk.rows]
        # What sums over sorted segments rely on: by centre, then by the neighbour's element.
        keys = chunk.graph.center * 3 + chunk.graph.species[chunk.graph.neighbour]
        assert np.all(np.diff(keys) >= 0)
    # Sums of the same numbers in double precision
    np.testing.assert_allclose(found, whole, rtol=1e-12)
    if n_message_steps == 0:
        assert shapes == {size}


def test_an_atom_with_many_edges(graph):
    chunks = list(atom_chunks(graph, 64, 3, 0, (10, 4)))
    assert all(len(chunk.graph.center) in (4, 8, 16, 32, 64) for chunk in chunks)
    assert sum(chunk.atoms.size for chunk in chunks) == 64


@pytest.mark.parametrize("n_message_steps", [0, 1, 2])
def test_local_graphs_hold_all_that_their_atoms_depend_on(atoms, graph, n_message_steps):
    whole = descriptors(graph, n_message_steps)
    neighbours = Neighbours(atoms, 2.6)
    targets = np.array([40, 3, 17, 18])
    species = np.searchsorted(BASIS.numbers, atoms.numbers)
    part = local_graph(species, neighbours, targets, 2.6, n_message_steps)
    found = np.full(4, np.nan)
    for chunk in atom_chunks(part, 4, 3, n_message_steps, (6, 100)):
        found[chunk.atoms] = descriptors(chunk.graph, n_message_steps)[chunk.rows]
    # Vectors of both are rounded to single precision
    np.testing.assert_allclose(found, whole[targets], rtol=1e-6)
    if n_message_steps == 0:
        assert set(part.center) == {0, 1, 2, 3}


@pytest.mark.parametrize("sizes", [(64, 16), (4096, 512), (7,)])
def test_pairs_come_once_with_their_atoms(sizes):
    rng = np.random.default_rng(1)
    pair_embedding = rng.normal(size=(64, 2, 3)).astype(np.float32)
    i, j = rng.integers(64, size=(2, 700))
    vector = rng.normal(size=(700, 3)).astype(np.float32)
    seen = np.zeros(len(i), dtype=int)
    padding = 0
    for chunk in pair_chunks(pair_embedding, i, j, vector, 2, sizes):
        count = chunk.pairs.stop - chunk.pairs.start
        part = chunk.graph
        assert len(part.i) in sizes
        np.testing.assert_array_equal(
            chunk.pair_embedding[part.i[:count]], pair_embedding[i[chunk.pairs]]
        )
        np.testing.assert_array_equal(
            chunk.pair_embedding[part.j[:count]], pair_embedding[j[chunk.pairs]]
        )
        np.testing.assert_array_equal(part.pair_vector[:count], vector[chunk.pairs])
        assert np.all(part.pair_type[:count] == 2)
        assert part.pair_mask[:count].all() and not part.pair_mask[count:].any()
        seen[chunk.pairs] += 1
        padding += len(part.i) - count
    assert np.all(seen == 1)
    assert padding < sizes[-1]
