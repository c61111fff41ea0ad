"""Parts of a graph of few fixed sizes, so that one compiled program serves any structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gh_tools.model.graph import Graph, pad
from gh_tools.orbitals.pairs import Neighbours


class AtomChunk(NamedTuple):
    """Some atoms with all that their descriptors depend on.

    Attributes:
        atoms: the atoms, as counted in the graph that was divided.
        rows: where they stand in `graph`.
        graph: padded, without pairs.
    """

    atoms: Int[np.ndarray, " chunk"]
    rows: Int[np.ndarray, " chunk"]
    graph: Graph


def local_graph(
    species: Int[np.ndarray, " atoms"],
    neighbours: Neighbours,
    targets: Int[np.ndarray, " targets"],
    cutoff: float,
    n_message_steps: int,
) -> Graph:
    """Describe some atoms of a structure with all that their descriptors depend on.

    Args:
        species: index of the element of each atom of the structure.
        neighbours: of the structure.
        targets: the atoms whose descriptors are wanted.
        cutoff: of the descriptor, in Å.
        n_message_steps: how often descriptors pass between neighbours.

    Returns:
        A graph without pairs and without padding. Its first atoms are the targets in their order; those
        behind them have edges of their own only where descriptors of targets depend on these.
    """
    centers = targets
    edges = neighbours.of(centers, cutoff)
    for _ in range(n_message_steps):
        new = np.setdiff1d(edges[1], centers)
        centers = np.concatenate([centers, new])
        more = neighbours.of(new, cutoff)
        i, j, cell_offset, along = (np.concatenate(part) for part in zip(edges, more, strict=True))
        edges = i, j, cell_offset, along
    center, neighbour, _, vector = edges
    atoms = np.concatenate([centers, np.setdiff1d(neighbour, centers)])
    place = np.empty(len(species), dtype=np.int32)
    place[atoms] = np.arange(len(atoms), dtype=np.int32)
    order = np.lexsort((species[neighbour], place[center]))
    return Graph(
        species=species[atoms].astype(np.int32),
        atom_mask=np.ones(len(atoms), dtype=bool),
        center=place[center[order]],
        neighbour=place[neighbour[order]],
        vector=vector[order].astype(np.float32),
        edge_mask=np.ones(len(order), dtype=bool),
        i=place[:0],
        j=place[:0],
        pair_vector=np.zeros((0, 3), np.float32),
        pair_type=place[:0],
        pair_mask=np.ones(0, dtype=bool),
    )


def atom_chunks(
    graph: Graph, n_targets: int, n_species: int, n_message_steps: int, size: tuple[int, int]
) -> Iterator[AtomChunk]:
    """Divide the first atoms of a graph, with their surroundings.

    An atom's own edges name the elements of its neighbours and no more, so one stand-in for each element
    is put in place of all neighbours. Where descriptors pass between neighbours, those are there too, with
    edges of their own.

    Args:
        graph: without padding.
        n_targets: how many of its atoms are wanted.
        n_species: number of elements that the model knows.
        n_message_steps: how often descriptors pass between neighbours.
        size: atoms and edges of the padded graphs; they are doubled where an atom's edges, or the
            neighbours that come with a chunk, do not fit.

    Yields:
        Chunks of as many atoms as fit without their neighbours.
    """
    max_atoms, max_edges = size[0] - n_species - 1, size[1]
    ptr = np.searchsorted(graph.center, np.arange(n_targets + 1))
    start = 0
    while start < n_targets:
        stop = int(np.searchsorted(ptr, ptr[start] + max_edges, side="right")) - 1
        stop = min(max(stop, start + 1), start + max_atoms, n_targets)
        inside = np.zeros(len(graph.species), dtype=bool)
        inside[start:stop] = True
        for _ in range(n_message_steps):
            inside[graph.neighbour[inside[graph.center]]] = True
        part, atoms = _with_stand_ins(graph, inside, n_species)
        padded = _doubled(size[0], len(part.species) + 1), _doubled(size[1], len(part.center))
        chosen = np.arange(start, stop)
        yield AtomChunk(chosen, np.searchsorted(atoms, chosen), pad(part, *padded, n_pairs=0))
        start = stop


def _with_stand_ins(
    graph: Graph, inside: np.ndarray, n_species: int
) -> tuple[Graph, Int[np.ndarray, " inside"]]:
    """Cut out atoms with their edges; neighbours that are not among them become stand-ins."""
    atoms = np.flatnonzero(inside)
    place = np.full(len(inside), -1, dtype=np.int32)
    place[atoms] = np.arange(len(atoms), dtype=np.int32)
    edges = np.flatnonzero(inside[graph.center])
    neighbour = graph.neighbour[edges]
    stand_in = len(atoms) + graph.species[neighbour]
    species = np.concatenate([graph.species[atoms], np.arange(n_species, dtype=np.int32)])
    part = Graph(
        species=species,
        atom_mask=np.ones(len(species), dtype=bool),
        center=place[graph.center[edges]],
        neighbour=np.where(inside[neighbour], place[neighbour], stand_in).astype(np.int32),
        vector=graph.vector[edges],
        edge_mask=graph.edge_mask[edges],
        i=graph.i[:0],
        j=graph.j[:0],
        pair_vector=graph.pair_vector[:0],
        pair_type=graph.pair_type[:0],
        pair_mask=graph.pair_mask[:0],
    )
    return part, atoms


class PairChunk(NamedTuple):
    """Some pairs with what they need of their atoms.

    Attributes:
        pairs: the pairs, as counted among all.
        pair_embedding: of the first atom of each pair, then of the second atoms; zero in the padding.
        graph: padded, without edges.
    """

    pairs: slice
    pair_embedding: Float[np.ndarray, "rows ..."]
    graph: Graph


def pair_chunks(
    pair_embedding: Float[np.ndarray, "atoms ..."],
    i: Int[np.ndarray, " pairs"],
    j: Int[np.ndarray, " pairs"],
    vector: Float[np.ndarray, "pairs 3"],
    pair_type: int,
    sizes: tuple[int, ...],
) -> Iterator[PairChunk]:
    """Divide the pairs of one species pair.

    Args:
        pair_embedding: the pair embedding of atoms.
        i: first atom of each pair, as counted in ``pair_embedding``.
        j: second atom.
        vector: from the first to the second, in Å.
        pair_type: index of the species pair.
        sizes: numbers of pairs in a chunk, descending: each but the last is used as long as it can be
            filled.

    Yields:
        Chunks of these sizes; only the last one has padding.
    """
    start = 0
    while start < len(i):
        size = next((size for size in sizes if len(i) - start >= size), sizes[-1])
        stop = min(start + size, len(i))
        rows, count = slice(start, stop), stop - start
        gathered = np.zeros((2 * size, *pair_embedding.shape[1:]), pair_embedding.dtype)
        gathered[:count] = pair_embedding[i[rows]]
        gathered[size : size + count] = pair_embedding[j[rows]]
        yield PairChunk(rows, gathered, _pairs_alone(vector[rows], pair_type, size))
        start = stop


def _pairs_alone(vector: np.ndarray, pair_type: int, size: int) -> Graph:
    """Make a padded graph of pairs between atoms of which nothing needs to be known any more."""
    count = len(vector)
    nowhere = np.zeros(0, dtype=np.int32)
    graph = Graph(
        species=np.zeros(2 * size - 1, dtype=np.int32),
        atom_mask=np.zeros(2 * size - 1, dtype=bool),
        center=nowhere,
        neighbour=nowhere,
        vector=np.zeros((0, 3), vector.dtype),
        edge_mask=np.zeros(0, dtype=bool),
        i=np.zeros(count, dtype=np.int32),
        j=np.zeros(count, dtype=np.int32),
        pair_vector=vector,
        pair_type=np.full(count, pair_type, dtype=np.int32),
        pair_mask=np.ones(count, dtype=bool),
    )
    pair_embedding = np.arange(size, dtype=np.int32)
    return pad(graph, 2 * size, 0, size)._replace(
        i=pair_embedding, j=pair_embedding + np.int32(size)
    )


def _doubled(size: int, needed: int) -> int:
    """Double a size until it is enough."""
    while size < needed:
        size *= 2
    return size
