"""Noise of a known size: what follows for eigenvalues is what perturbation theory says; ghosts have the cause that was planted."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
import pytest
import scipy.linalg

from gh_tools.evaluation.eigenvalue_errors import both_eigenvalues
from gh_tools.evaluation.ghosts import trace_ghosts
from gh_tools.evaluation.noise import ErrorModel, draw_of_members, spectral_errors
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints

K = 4  # orbitals of an atom: s and p
N = 4
BASIS = Basis({14: ElementBasis(14, (Shell(0, 3.0), Shell(1, 3.0)), 4.0)})
GAMMA = KPoints(np.zeros((1, 3)), np.ones(1))


def chain(seed=0, overlap=0.05):
    """Four atoms of random blocks, with a well-held S."""
    rng = np.random.default_rng(seed)
    atoms = ase.Atoms("Si4", [(2.2 * n, 0.3 * n % 0.5, 0) for n in range(N)])
    i, j = np.triu_indices(N, 1)
    own = rng.normal(size=(N, K, K))
    onsite = OnsiteBlocks(
        np.arange(N),
        own + np.swapaxes(own, 1, 2) + 3 * np.diag(np.arange(K)),
        np.broadcast_to(np.eye(K), (N, K, K)).copy(),
    )
    shape = (len(i), K, K)
    pairs = PairBlocks(
        i,
        j,
        np.zeros((len(i), 3), int),
        rng.normal(size=shape),
        overlap * rng.normal(size=shape),
    )
    return Hamiltonian(atoms, BASIS, {14: onsite}, {(14, 14): pairs}, {"n_electrons": 16.0})


def with_errors(reference, rng, size, shift=0.0):
    """A prediction whose errors are normal, of one size, and a shift s S."""
    onsite, pairs = reference.onsite[14], reference.pairs[14, 14]
    drawn = rng.normal(size=onsite.hamiltonian.shape) * size
    upper = np.triu(drawn) + np.swapaxes(np.triu(drawn, 1), -1, -2)
    return replace(
        reference,
        onsite={
            14: replace(onsite, hamiltonian=onsite.hamiltonian + upper + shift * onsite.overlap)
        },
        pairs={
            (14, 14): replace(
                pairs,
                hamiltonian=pairs.hamiltonian
                + size * rng.normal(size=pairs.hamiltonian.shape)
                + shift * pairs.overlap,
            )
        },
    )


def dense(hamiltonian):
    return (bloch_matrix(hamiltonian, np.zeros(3), name) for name in ("hamiltonian", "overlap"))


def test_eigenvalues_vary_as_first_order_perturbation_theory_says():
    """Var(ε) = σ² [Σ_a c_a⁴ + Σ_{a<b} (2 c_a c_b)²] of independent elements, plus the variance of the shift."""
    rng = np.random.default_rng(1)
    size, shift = 2e-4, 5e-4
    model, reference = ErrorModel(), chain()
    for n in range(300):
        label = chain(n)
        model.add(with_errors(label, rng, size, shift * rng.normal()), label)
    draws = 600
    energies = np.array(
        [
            solve(model.draw(reference, rng), GAMMA, projected=False).energies[0, 0]
            for _ in range(draws)
        ]
    )
    h, s = dense(reference)
    true, vectors = scipy.linalg.eigh(h, s)
    square = vectors.real**2
    variance = size**2 * (
        (square**2).sum(axis=0) + 2 * (square.sum(axis=0) ** 2 - (square**2).sum(axis=0))
    )
    variance += shift**2
    # A variance of n draws is known to (2/n)^½, that of the model's table to a percent or so.
    found = ((energies - true) ** 2).mean(axis=0)
    np.testing.assert_allclose(found, variance, rtol=5 * np.sqrt(2 / draws))
    # The shift is common to all.
    common = (energies - true).mean(axis=1).std()
    assert common == pytest.approx(np.sqrt(shift**2 + (variance - shift**2).mean() / 16), rel=0.3)


def test_the_table_holds_the_errors_and_the_shift():
    rng = np.random.default_rng(2)
    model = ErrorModel()
    for n in range(200):
        label = chain(n)
        model.add(with_errors(label, rng, 0.01, 0.2), label)
    assert np.mean(model.shifts) == pytest.approx(0.2, abs=0.002)
    for group, squares in model.squares.items():
        deviation = np.sqrt(squares / model.counts[group])
        np.testing.assert_allclose(deviation, 0.01, rtol=0.25)


def test_noise_of_members_has_their_covariance():
    rng = np.random.default_rng(3)
    reference = chain()
    members = [with_errors(reference, rng, 1e-3) for _ in range(4)]

    def joined(kind, key):
        every = np.stack([getattr(m, kind)[key].hamiltonian for m in members])
        return every - every.mean(axis=0)

    predicted = replace(
        reference,
        onsite={14: replace(reference.onsite[14], members=joined("onsite", 14)[:, None])},
        pairs={
            (14, 14): replace(reference.pairs[14, 14], members=joined("pairs", (14, 14))[:, None])
        },
    )
    drawn = np.array(
        [
            draw_of_members(predicted, reference, rng).pairs[14, 14].hamiltonian.ravel()
            for _ in range(2000)
        ]
    )
    expected = np.cov(joined("pairs", (14, 14)).reshape(4, -1).T, ddof=1)
    found = np.cov(drawn.T)
    np.testing.assert_allclose(found, expected, atol=0.15 * np.abs(expected).max())


def test_errors_of_noise_like_that_found_are_as_large():
    """Of a prediction whose errors are independent, noise of their size gives errors like those found."""
    rng = np.random.default_rng(4)
    labels = [chain(n) for n in range(40)]
    predictions = [with_errors(label, rng, 5e-3) for label in labels]
    model = ErrorModel()
    for mine, theirs in zip(predictions, labels, strict=True):
        model.add(mine, theirs)
    found, follows = [], []
    for mine, theirs in zip(predictions, labels, strict=True):
        solved = solve(theirs, GAMMA, projected=False)
        found.append(spectral_errors(mine, theirs, solved)["window"])
        follows.append(spectral_errors(model.draw(theirs, rng), theirs, solved)["window"])
    assert np.mean(follows) == pytest.approx(np.mean(found), rel=0.15)


def ghosts_of(predicted, reference):
    *eigenvalues, electrons = both_eigenvalues(predicted, reference, GAMMA)
    return trace_ghosts(predicted, reference, tuple(eigenvalues), electrons)


def test_a_block_that_is_wrong_is_named():
    reference = chain()
    predicted = with_errors(reference, np.random.default_rng(5), 1e-3)
    predicted.pairs[14, 14].hamiltonian[2] += 1.5  # atoms 0 and 3
    before = predicted.pairs[14, 14].hamiltonian.copy()
    ghosts = ghosts_of(predicted, reference)
    assert ghosts and {ghost.cause for ghost in ghosts} == {"block"}
    assert ghosts[0].where == "Si 0 and Si 3 in R = (0, 0, 0)"
    np.testing.assert_array_equal(predicted.pairs[14, 14].hamiltonian, before)  # offered, not done


def test_a_nearly_singular_overlap_is_named():
    reference = chain()
    # Two orbitals of atoms 0 and 1 are nearly the same, and have one energy.
    onsite, pairs, held = reference.onsite[14], reference.pairs[14, 14], 0.998
    pairs.overlap[:] = pairs.hamiltonian[:] = 0.0
    pairs.overlap[0, 0, 0] = held
    onsite.hamiltonian[:2] = np.diag(np.arange(K))
    pairs.hamiltonian[0, 0, 0] = held * onsite.hamiltonian[0, 0, 0]
    for seed in range(20):
        predicted = with_errors(reference, np.random.default_rng(seed), 5e-3)
        held = [ghost for ghost in ghosts_of(predicted, reference) if ghost.held < 0.05]
        if held:
            assert {ghost.cause for ghost in held} == {"overlap"}
            return
    pytest.fail("no ghost was made")


def test_without_ghosts_there_is_nothing_to_trace():
    reference = chain()
    assert ghosts_of(with_errors(reference, np.random.default_rng(6), 1e-4), reference) == []
