"""Structures as the flat arrays that the networks read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Bool, Float, Int

from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.pairs import Cutoffs, directed_pairs, stored_pairs, wrapped

# What padding has for a vector, in Å: any but zero, whose direction has no derivative.
_PADDING_VECTOR = np.array([0.0, 0.0, 1.0], dtype=np.float32)


class Graph(NamedTuple):
    """One structure, or several behind each other, with padding at the end or without.

    Attributes:
        species: index of the element among the basis table's atomic numbers.
        atom_mask: False for padding.
        center: of a directed edge; edges are sorted by it, then by the neighbour's species.
        neighbour: the atom to whose position (or that of its image) the edge leads.
        vector: r_neighbour - r_center in Å, shorter than the descriptor's cutoff.
        edge_mask: False for padding.
        i: first atom of a pair to predict; only canonical pairs are there.
        j: second atom.
        pair_vector: r_j - r_i in Å.
        pair_type: index among the basis table's species pairs.
        pair_mask: False for padding.
    """

    species: Int[np.ndarray, " atoms"]
    atom_mask: Bool[np.ndarray, " atoms"]
    center: Int[np.ndarray, " edges"]
    neighbour: Int[np.ndarray, " edges"]
    vector: Float[np.ndarray, "edges 3"]
    edge_mask: Bool[np.ndarray, " edges"]
    i: Int[np.ndarray, " pairs"]
    j: Int[np.ndarray, " pairs"]
    pair_vector: Float[np.ndarray, "pairs 3"]
    pair_type: Int[np.ndarray, " pairs"]
    pair_mask: Bool[np.ndarray, " pairs"]


def build_graph(atoms: ase.Atoms, basis: Basis, cutoffs: Cutoffs) -> Graph:
    """Describe a structure and ask for all its pairs.

    Args:
        atoms: the structure; its atoms are wrapped into the cell.
        basis: the table that knows its elements.
        cutoffs: of the descriptors, and of the pairs to predict.

    Returns:
        The graph, without padding. Its pairs are those of
        :func:`~gh_tools.orbitals.pairs.stored_pairs`, one species pair after the other in the order
        of ``basis.species_pairs()``.
    """
    atoms = wrapped(atoms)
    pairs = stored_pairs(atoms, cutoffs.pairs)
    return graph_of_pairs(
        atoms,
        basis,
        cutoffs.descriptor,
        {key: (i, j, cell_offset) for key, (i, j, cell_offset, _) in pairs.items()},
    )


def graph_of_pairs(
    atoms: ase.Atoms,
    basis: Basis,
    cutoff: float,
    pairs: Mapping[
        SpeciesPair,
        tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Int[np.ndarray, "pairs 3"]],
    ],
) -> Graph:
    """Describe a structure and ask for given pairs, such as those of a label.

    Args:
        atoms: the structure, wrapped into the cell.
        basis: the table that knows its elements.
        cutoff: of the descriptor, in Å.
        pairs: i, j and cell_offset of the canonical pairs of each species pair.

    Returns:
        The graph, without padding, with the pairs of one species pair after those of the other in
        the order of ``basis.species_pairs()``.
    """
    basis.check_covers(atoms.numbers, atoms.get_chemical_formula())
    species = np.searchsorted(basis.numbers, atoms.numbers)
    center, neighbour, _, vector = directed_pairs(atoms, cutoff)
    order = np.lexsort((species[neighbour], center))

    present = [
        (pair_type, key) for pair_type, key in enumerate(basis.species_pairs()) if key in pairs
    ]
    empty = np.empty(0, dtype=np.int64)
    i = np.concatenate([empty, *(pairs[key][0] for _, key in present)])
    j = np.concatenate([empty, *(pairs[key][1] for _, key in present)])
    cell_offset = np.concatenate([np.empty((0, 3)), *(pairs[key][2] for _, key in present)])
    pair_type = np.concatenate(
        [empty, *(np.full(len(pairs[key][0]), pair_type) for pair_type, key in present)]
    )
    pair_vector = atoms.positions[j] + cell_offset @ atoms.cell.array - atoms.positions[i]
    return Graph(
        species=species.astype(np.int32),
        atom_mask=np.ones(len(atoms), dtype=bool),
        center=center[order].astype(np.int32),
        neighbour=neighbour[order].astype(np.int32),
        vector=vector[order].astype(np.float32),
        edge_mask=np.ones(len(center), dtype=bool),
        i=i.astype(np.int32),
        j=j.astype(np.int32),
        pair_vector=pair_vector.astype(np.float32),
        pair_type=pair_type.astype(np.int32),
        pair_mask=np.ones(len(i), dtype=bool),
    )


def concatenate(graphs: Sequence[Graph]) -> Graph:
    """Put graphs without padding behind each other: the atoms of each are counted on."""
    counts = [len(graph.species) for graph in graphs]
    starts = np.concatenate([[0], np.cumsum(counts[:-1])]).astype(np.int32)
    shifted = [
        graph._replace(
            **{name: getattr(graph, name) + start for name in ("center", "neighbour", "i", "j")}
        )
        for graph, start in zip(graphs, starts, strict=True)
    ]
    return Graph(*(np.concatenate(arrays) for arrays in zip(*shifted, strict=True)))


def pad(graph: Graph, n_atoms: int, n_edges: int, n_pairs: int) -> Graph:
    """Return a graph filled up to some numbers of atoms, edges and pairs.

    Edges and pairs of the padding belong to the first atom of the padding, so that no real atom
    sees them.

    Args:
        graph: of one or more structures.
        n_atoms: of the padded graph, one more than there are at least.
        n_edges: likewise.
        n_pairs: likewise.

    Raises:
        ValueError: where the graph is larger, or there would be no padding atom.
    """
    sizes = {"atoms": len(graph.species), "edges": len(graph.center), "pairs": len(graph.i)}
    wanted = {"atoms": n_atoms, "edges": n_edges, "pairs": n_pairs}
    missing = {name: wanted[name] - sizes[name] for name in sizes}
    if min(missing.values()) < 0:
        raise ValueError(f"a graph of {sizes} does not fit into {wanted}")
    if missing["atoms"] == 0 and max(missing.values()) > 0:
        raise ValueError("padding of edges or pairs needs at least one atom of padding")

    def fill(array: np.ndarray, count: int, value: object) -> np.ndarray:
        tail = np.broadcast_to(np.asarray(value, dtype=array.dtype), (count, *array.shape[1:]))
        return np.concatenate([array, tail])

    atoms, edges, pairs = missing.values()
    padding_atom = sizes["atoms"]
    return Graph(
        species=fill(graph.species, atoms, 0),
        atom_mask=fill(graph.atom_mask, atoms, False),
        center=fill(graph.center, edges, padding_atom),
        neighbour=fill(graph.neighbour, edges, padding_atom),
        vector=fill(graph.vector, edges, _PADDING_VECTOR),
        edge_mask=fill(graph.edge_mask, edges, False),
        i=fill(graph.i, pairs, padding_atom),
        j=fill(graph.j, pairs, padding_atom),
        pair_vector=fill(graph.pair_vector, pairs, _PADDING_VECTOR),
        # No species pair that is not there already.
        pair_type=fill(graph.pair_type, pairs, graph.pair_type[-1] if sizes["pairs"] else 0),
        pair_mask=fill(graph.pair_mask, pairs, False),
    )
