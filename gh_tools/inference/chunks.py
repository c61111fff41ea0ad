"""Parts of a graph of few fixed sizes, so that one compiled program serves any structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gh_tools.model.graph import Graph, pad


class AtomChunk(NamedTuple):
    """Some atoms with all that their descriptors depend on.

    Attributes:
        atoms: the atoms, as counted in the whole graph.
        rows: where they stand in `graph`.
        graph: padded, without pairs.
    """

    atoms: Int[np.ndarray, "chunk"]
    rows: Int[np.ndarray, "chunk"]
    graph: Graph


def atom_chunks(
    graph: Graph, n_species: int, n_message_steps: int, size: tuple[int, int]
) -> Iterator[AtomChunk]:
    """Divide the atoms of a graph, with their surroundings.

    An atom's own edges name the elements of its neighbours and no more, so one stand-in for each element
    is put in place of all neighbours. Where descriptors pass between neighbours, those are there too, with
    edges of their own.

    Args:
        graph: the whole structure, without padding.
        n_species: number of elements that the model knows.
        n_message_steps: how often descriptors pass between neighbours.
        size: atoms and edges of the padded graphs; they are doubled where an atom's edges, or the
            neighbours that come with a chunk, do not fit.

    Yields:
        Chunks of as many atoms as fit without their neighbours.
    """
    n_atoms = len(graph.species)
    max_atoms, max_edges = size[0] - n_species - 1, size[1]
    ptr = np.searchsorted(graph.center, np.arange(n_atoms + 1))
    start = 0
    while start < n_atoms:
        stop = int(np.searchsorted(ptr, ptr[start] + max_edges, side="right")) - 1
        stop = min(max(stop, start + 1), start + max_atoms, n_atoms)
        inside = np.zeros(n_atoms, dtype=bool)
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
) -> tuple[Graph, Int[np.ndarray, "inside"]]:
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
    """Some pairs with the descriptors of their atoms.

    Attributes:
        pairs: the pairs, as counted in the whole graph.
        descriptors: of the first atom of each pair, then of the second atoms; zero in the padding.
        graph: padded, without edges.
    """

    pairs: slice
    descriptors: Float[np.ndarray, "2*size ..."]
    graph: Graph


def pair_chunks(
    graph: Graph, descriptors: Float[np.ndarray, "atoms ..."], sizes: tuple[int, ...]
) -> Iterator[PairChunk]:
    """Divide the pairs of a graph.

    Args:
        graph: the whole structure, without padding.
        descriptors: of its atoms.
        sizes: numbers of pairs in a chunk, descending: each but the last is used as long as it can be
            filled.

    Yields:
        Chunks of these sizes; only the last one has padding.
    """
    n_pairs, start = len(graph.i), 0
    while start < n_pairs:
        size = next((size for size in sizes if n_pairs - start >= size), sizes[-1])
        stop = min(start + size, n_pairs)
        rows = slice(start, stop)
        count = stop - start
        gathered = np.zeros((2 * size, *descriptors.shape[1:]), descriptors.dtype)
        gathered[:count] = descriptors[graph.i[rows]]
        gathered[size : size + count] = descriptors[graph.j[rows]]
        ends = np.arange(size, dtype=np.int32)
        # What the padding of atoms and edges holds plays no role for pairs.
        part = pad(
            graph._replace(
                center=graph.center[:0],
                neighbour=graph.neighbour[:0],
                vector=graph.vector[:0],
                edge_mask=graph.edge_mask[:0],
                **{
                    name: getattr(graph, name)[rows]
                    for name in ("i", "j", "pair_vector", "pair_type", "pair_mask")
                },
                species=np.zeros(2 * size - 1, dtype=np.int32),
                atom_mask=np.zeros(2 * size - 1, dtype=bool),
            ),
            2 * size,
            0,
            size,
        )
        yield PairChunk(rows, gathered, part._replace(i=ends, j=ends + np.int32(size)))
        start = stop


def _doubled(size: int, needed: int) -> int:
    """Double a size until it is enough."""
    while size < needed:
        size *= 2
    return size
