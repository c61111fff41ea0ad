"""Graphs: what is in them, behind each other and padded."""

from __future__ import annotations

import ase
import ase.build
import ase.neighborlist
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.model.graph import build_graph, concatenate, graph_of_pairs, pad
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.pairs import Cutoffs, stored_pairs, wrapped

BASIS = Basis(
    {z: ElementBasis(z, (Shell(0, reach),), 1.0) for z, reach in ((8, 1.4), (14, 1.9), (72, 2.2))}
)
PAIRS = {pair: BASIS.pair_range(*pair) for pair in BASIS.species_pairs()}
CUTOFFS = Cutoffs(4.0, PAIRS)


@pytest.fixture
def crystal() -> ase.Atoms:
    atoms = ase.build.bulk("SiO", "zincblende", a=4.1, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_edges_are_those_of_ase_and_sorted(crystal):
    graph = build_graph(crystal, BASIS, CUTOFFS)
    i, j, vector = ase.neighborlist.neighbor_list("ijD", wrapped(crystal), 4.0)
    found = np.column_stack([graph.center, graph.neighbour, graph.vector])
    expected = np.column_stack([i, j, vector])
    for rows in (found, expected):
        rows[:] = rows[np.lexsort(np.round(rows, 4).T)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    key = graph.center * len(BASIS.numbers) + graph.species[graph.neighbour]
    assert (np.diff(key) >= 0).all()


def test_pairs_follow_the_stored_order(crystal):
    graph = build_graph(crystal, BASIS, CUTOFFS)
    expected = stored_pairs(wrapped(crystal), PAIRS)
    types = BASIS.species_pairs()
    start = 0
    for key in [key for key in types if key in expected]:
        i, j, _, vector = expected[key]
        rows = slice(start, start := start + len(i))
        assert (graph.pair_type[rows] == types.index(key)).all()
        np.testing.assert_array_equal(graph.i[rows], i)
        np.testing.assert_array_equal(graph.j[rows], j)
        np.testing.assert_allclose(graph.pair_vector[rows], vector, atol=1e-5)
    assert start == len(graph.i)


def test_given_pairs_are_kept_as_they_are(crystal):
    i, j, cell_offset, vector = stored_pairs(wrapped(crystal), PAIRS)[8, 14]
    some = np.array([5, 0, 3])
    graph = graph_of_pairs(
        wrapped(crystal), BASIS, 4.0, {(8, 14): (i[some], j[some], cell_offset[some])}
    )
    np.testing.assert_array_equal(graph.i, i[some])
    np.testing.assert_allclose(graph.pair_vector, vector[some], atol=1e-5)


def test_concatenated_graphs_count_atoms_on(crystal):
    other = ase.Atoms("HfO", positions=[[0, 0, 0], [0, 0, 2.0]])
    a, b = (build_graph(atoms, BASIS, CUTOFFS) for atoms in (crystal, other))
    both = concatenate([a, b, a])
    assert len(both.species) == 2 * len(a.species) + 2
    tail = both.center[-len(a.center) :]
    np.testing.assert_array_equal(tail, a.center + len(crystal) + 2)
    np.testing.assert_array_equal(
        both.species[both.i], np.concatenate([g.species[g.i] for g in (a, b, a)])
    )
    assert both.center.dtype == np.int32


def test_padding_is_masked_and_touches_no_real_atom(crystal):
    graph = build_graph(crystal, BASIS, CUTOFFS)
    n = len(graph.species), len(graph.center), len(graph.i)
    padded = pad(graph, n[0] + 2, n[1] + 5, n[2] + 3)
    for name, size in zip(("atom_mask", "edge_mask", "pair_mask"), n, strict=True):
        mask = getattr(padded, name)
        assert mask[:size].all() and not mask[size:].any()
    for name, size in zip(("center", "neighbour", "i", "j"), (n[1], n[1], n[2], n[2]), strict=True):
        assert (getattr(padded, name)[size:] == n[0]).all()
    assert (np.linalg.norm(padded.vector, axis=1) > 0.5).all()
    for field, value in zip(graph._fields, graph, strict=True):
        np.testing.assert_array_equal(getattr(padded, field)[: len(value)], value)


def test_padding_that_cannot_be_is_refused(crystal):
    graph = build_graph(crystal, BASIS, CUTOFFS)
    n = len(graph.species), len(graph.center), len(graph.i)
    with pytest.raises(ValueError, match="does not fit"):
        pad(graph, n[0] + 1, n[1] - 1, n[2])
    with pytest.raises(ValueError, match="at least one atom of padding"):
        pad(graph, n[0], n[1] + 1, n[2])
    assert pad(graph, *n).center is not None


def test_unknown_elements_are_named():
    with pytest.raises(DataError, match="Au"):
        build_graph(ase.Atoms("AuO", positions=np.eye(3)[:2]), BASIS, CUTOFFS)
