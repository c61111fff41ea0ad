"""Predictions are smooth functions of positions, at the cutoffs and at symmetric structures."""

from __future__ import annotations

import ase
import ase.build
import jax
import jax.numpy as jnp
import numpy as np


def _chain(distance: float) -> ase.Atoms:
    """Two bonded atoms, and a third at a distance from the first."""
    return ase.Atoms("OSiO", positions=[[0, 0, 0], [0.3, 1.7, 0.1], [-distance, 0, 0]])


def _onsite_slope(network, distance: float, step: float) -> tuple[np.ndarray, float]:
    """On-site irreps of the first atom and the largest slope of one, in 1/Å."""
    a, b = (network.predict(_chain(distance + s))[0][1][0] for s in (-step / 2, step / 2))
    return (a + b) / 2, np.abs(b - a).max() / step


def test_a_neighbour_fades_at_the_cutoff_of_the_descriptor(network):
    cutoff = network.config.cutoffs(network.basis).descriptor
    outside, flat = _onsite_slope(network, cutoff + 0.1, 0.05)
    assert flat < 1e-4  # nothing but rounding; with attention, too: the third atom's is far off
    _, inside = _onsite_slope(network, 0.6 * cutoff, 0.05)
    value, slope = _onsite_slope(network, cutoff - 0.04, 0.05)
    # 0.04 Å inside, smooth_cutoff is exp(-50).
    np.testing.assert_allclose(value, outside, atol=1e-5)
    assert inside > 1e-2
    assert slope < 1e-3 * inside + 1e-4


def test_blocks_fade_at_the_cutoff_of_their_pair(network):
    for (zi, zj), cutoff in network.config.cutoffs(network.basis).pairs.items():

        def largest(distance, numbers=(zi, zj)):
            [(_, _, pairs)] = network.predict(ase.Atoms(numbers, [[0, 0, 0], [0, 0, distance]]))
            return np.abs(pairs).max(initial=0.0)

        assert largest(0.5 * cutoff) > 0.1
        assert largest(0.999 * cutoff) < 1e-6  # the switch is exp(-170) there
        assert largest(1.001 * cutoff) == 0.0


def test_derivatives_are_finite_at_perfect_crystals_and_free_atoms(network):
    crystals = [
        ase.build.bulk("SiO", "rocksalt", a=4.3),
        ase.build.bulk("Si", "fcc", a=3.9),
        ase.Atoms("O"),
        ase.Atoms("SiO", [[0, 0, 0], [0, 0, 1.6]]),
    ]

    # Parameters of zero leave exact zeros in the features: the hardest case for norms and roots.
    zero = jax.tree.map(jnp.zeros_like, network.parameters)
    for parameters in (network.parameters, zero):
        found = network.slopes(parameters, *crystals)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_what_symmetry_forbids_stays_zero(network):
    """At a cubic site no irrep of degree 1 or 2 exists; its noise must not be blown up."""
    [(_, onsite, _)] = network.predict(ase.build.bulk("SiO", "rocksalt", a=4.3))
    for number, row in zip((14, 8), onsite, strict=True):
        irreps = network.layout.onsite[number]
        row = row[: irreps.size]
        assert np.abs(row[irreps.l == 0]).max() > 0.1
        # A hundred terms of order one cancel to some 1e-6 in float32; norms divide by 0.1 at the least and
        # maps multiply by ten or so. Noise that is blown up is of order one, as the scalars are.
        np.testing.assert_allclose(row[irreps.l > 0], 0.0, atol=5e-4)


def test_every_parameter_matters(network, crystal, molecule):
    """A layer whose output is dropped has parameters without a slope."""
    found, _ = network.slopes(network.parameters, crystal, molecule)
    leaves = jax.tree_util.tree_leaves_with_path(found)
    dead = [jax.tree_util.keystr(path) for path, leaf in leaves if not np.abs(leaf).max() > 0.0]
    # Pseudoscalars (0-) take three vectors, and 3-body descriptors have two: theirs are rightly dead.
    assert [name for name in dead if "'0-'" not in name] == []
