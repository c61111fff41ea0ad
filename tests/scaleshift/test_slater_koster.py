"""Scale and shift in the frame of the bond: known functions are recovered, and nothing runs away."""

from __future__ import annotations

import numpy as np
import pytest

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bond_frame import exchange_atoms, from_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.scaleshift.slater_koster import FLOOR, BondFit, BondTerms

BASIS = Basis(
    {
        8: ElementBasis(8, (Shell(0, 2.0), Shell(1, 3.0)), 6.0),
        14: ElementBasis(14, (Shell(0, 2.5), Shell(1, 3.0), Shell(2, 2.0)), 4.0),
    }
)
LAYOUT = IrrepLayout(BASIS)
R_MIN, CUTOFF = 1.6, 6.0


def law(irreps, distance):
    """Two-centre integrals that vanish at the cutoff, and the deviation of what is around them."""
    along = (irreps.parity == 0) & (irreps.m == 0)
    amplitude = np.where(along, 1.0 + irreps.channel + irreps.l, 0.0)
    r = distance[:, None]
    shift = amplitude * np.exp(-((r / 2.0) ** 2)) * (1 - (r / CUTOFF) ** 2) ** 2
    scale = 0.3 * np.exp(-0.8 * r) * (1.0 + np.abs(irreps.m))
    return shift, scale


def fit(key, scatter, n_pairs=4000):
    irreps, rng = LAYOUT.pair[key], np.random.default_rng(0)
    vectors = rng.normal(size=(n_pairs, 3))
    distance = rng.uniform(R_MIN, CUTOFF, n_pairs)
    vectors *= (distance / np.linalg.norm(vectors, axis=1))[:, None]
    shift, scale = law(irreps, distance)
    components = shift + scatter * scale * rng.normal(size=shift.shape)
    terms = BondFit(irreps, key[0] == key[1], CUTOFF)
    for part in np.array_split(np.arange(n_pairs), 3):
        terms.add(vectors[part], from_frame("bond", irreps, components[part], vectors[part]))
    return irreps, terms.fit()


def test_two_centre_integrals_are_recovered():
    irreps, terms = fit((8, 14), scatter=0.0)
    r = np.linspace(1.01 * R_MIN, CUTOFF, 200)
    shift, scale = terms(r)
    expected, _ = law(irreps, r)
    # Sixteen smooth functions, held back by the ridge, of a decay over 1 Å.
    np.testing.assert_allclose(shift, expected, atol=5e-3)
    assert not shift[:, (irreps.m != 0) | (irreps.parity == 1)].any()
    assert scale.min() >= FLOOR
    assert terms(np.array([CUTOFF]))[0].any() == 0  # the shift ends at the cutoff


def test_deviations_are_scaled_to_order_one():
    irreps, terms = fit((8, 14), scatter=1.0)
    r = np.linspace(1.1 * R_MIN, 0.95 * CUTOFF, 50)
    _, scale = terms(r)
    _, expected = law(irreps, r)
    # Of some 200 pairs in each bin.
    np.testing.assert_allclose(np.log(scale), np.log(expected), atol=0.3)


@pytest.mark.parametrize("number", BASIS.numbers)
def test_like_atoms_have_no_first_one(number):
    irreps, terms = fit((number, number), scatter=1.0)
    partner, sign = exchange_atoms(irreps)
    shift, scale = terms(np.linspace(R_MIN, CUTOFF, 20))
    np.testing.assert_allclose(sign * shift[:, partner], shift, atol=1e-10)
    np.testing.assert_allclose(scale[:, partner], scale, rtol=1e-10)


def test_distances_without_data_get_what_the_nearest_have():
    _, terms = fit((8, 14), scatter=1.0)
    for near, edge in ((0.2, terms.r_min), (1e-3, terms.r_min)):
        for found, expected in zip(terms(np.array([near])), terms(np.array([edge])), strict=True):
            np.testing.assert_array_equal(found, expected)
    _, beyond = terms(np.array([CUTOFF, 2 * CUTOFF]))
    np.testing.assert_array_equal(beyond[0], beyond[1])


@pytest.mark.parametrize("n_pairs", [0, 1, 2])
def test_little_data_gives_finite_terms(n_pairs):
    irreps = LAYOUT.pair[8, 14]
    terms = BondFit(irreps, False, CUTOFF)
    vectors = np.array([[1.7, 0.0, 0.0], [0.0, 2.4, 0.0]])[:n_pairs]
    terms.add(vectors, np.ones((n_pairs, irreps.size)))
    shift, scale = terms.fit()(np.linspace(0.5, CUTOFF, 30))
    assert np.isfinite(shift).all() and np.isfinite(scale).all()
    assert np.abs(shift).max() < 10 and scale.min() > 0
    if n_pairs == 0:
        assert not shift.any() and (scale == 1).all()


def test_stored_and_read_again():
    _, terms = fit((8, 14), scatter=1.0)
    again = BondTerms.from_arrays(terms.to_arrays())
    r = np.linspace(1.0, 7.0, 30)
    for found, expected in zip(again(r), terms(r), strict=True):
        np.testing.assert_array_equal(found, expected)
