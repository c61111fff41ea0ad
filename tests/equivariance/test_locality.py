"""What an atom or a pair gets depends on its surroundings alone."""

from __future__ import annotations

import ase
import numpy as np

# The same sums, which may be split into vectors in another way: float32's rounding of some ten layers,
# as a part of the largest value.
ROUNDING = 1e-5


def _assert_same(found, expected, tolerance=ROUNDING):
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, np.abs(b).max()), rtol=0.0)


def test_padding_changes_nothing(network, molecule, crystal):
    bare = network.predict(molecule, crystal, padded=False)
    padded = network.predict(molecule, crystal)
    for a, b in zip(padded, bare, strict=True):
        _assert_same(a, b)


def test_a_batch_gives_what_its_structures_give_alone(network, molecule, crystal):
    for batched, atoms in zip(
        network.predict(crystal, molecule, crystal), (crystal, molecule, crystal), strict=True
    ):
        [alone] = network.predict(atoms)
        _assert_same(batched, alone)


def test_a_cluster_far_away_changes_nothing(network, molecule):
    far = ase.Atoms("SiOOSi", positions=1.8 * np.eye(4)[:, :3] + [100.0, 0.0, 0.0])
    [(graph, onsite, pairs)] = network.predict(molecule + far)
    here = (graph.i < len(molecule)) & (graph.j < len(molecule))
    [alone] = network.predict(molecule)
    _assert_same((None, onsite[: len(molecule)], pairs[here]), alone)

    # The same program on the same numbers: moving the other cluster changes not one bit.
    far.positions += [5.0, 3.0, 0.0]
    [(graph, onsite_moved, pairs_moved)] = network.predict(molecule + far)
    np.testing.assert_array_equal(onsite_moved[: len(molecule)], onsite[: len(molecule)])
    np.testing.assert_array_equal(pairs_moved[here], pairs[here])


def test_an_atom_without_neighbours_has_a_block(network):
    [(_, onsite, pairs)] = network.predict(ase.Atoms("Si"))
    assert np.isfinite(onsite).all() and np.abs(onsite).max() > 1e-3
    assert len(pairs) == 0
