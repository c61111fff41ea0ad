"""The scale-shift: known parameters are recovered, and the layers undo themselves."""

from __future__ import annotations

import ase
import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.bond_frame import exchange_atoms
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs
from gh_tools.scaleshift.decay_fit import fit_decay, fit_log_decay
from gh_tools.scaleshift.fit_terms import fit_scaleshift
from gh_tools.scaleshift.scaleshift import ScaleShift, shift_only
from gh_tools.scaleshift.stretched_exponential import SCALE_FLOOR

BASIS = Basis(
    {
        14: ElementBasis(14, (Shell(0, 2.0), Shell(1, 2.5)), n_valence=4),
        8: ElementBasis(
            8, (Shell(0, 2.0), Shell(0, 1.5), Shell(1, 2.0), Shell(2, 2.0)), n_valence=6
        ),
    }
)
LAYOUT = IrrepLayout(BASIS)
# a (eV), λ (Å), p of the scalars of each species pair, by component
SHIFTS = {key: (-4.0 - key[1] / 10, 1.5 + key[0] / 100, 1.3) for key in BASIS.species_pairs()}
VANISHING_PAIR_SHELLS = (0, 1)  # of O-O, in both orders


class Labels:
    """Label stores as `fit_scaleshift` needs them, made from a law that is known."""

    def __init__(self, n: int, seed: int, scatter: float = 0.05):
        rng = np.random.default_rng(seed)
        self.basis = BASIS
        self.hams = [self._hamiltonian(rng, scatter) for _ in range(n)]

    def __len__(self) -> int:
        return len(self.hams)

    def read(self, index: int) -> Hamiltonian:
        return self.hams[index]

    @classmethod
    def of(cls, hams: list[Hamiltonian]) -> Labels:
        labels = cls(0, seed=0)
        labels.hams = hams
        return labels

    def _hamiltonian(self, rng: np.random.Generator, scatter: float) -> Hamiltonian:
        grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3) * 1.9
        atoms = ase.Atoms(
            rng.choice([8, 14], size=27),
            grid + rng.normal(scale=0.15, size=(27, 3)),
            cell=[5.7] * 3,
            pbc=True,
        )
        atoms.wrap()
        onsite = {}
        for number in BASIS.numbers:
            irreps = LAYOUT.onsite[number]
            atom = np.flatnonzero(atoms.numbers == number)
            values = rng.normal(scale=0.3, size=(atom.size, irreps.size)) + np.where(
                irreps.scalar, -10.0, 0
            )
            values[:, irreps.l == 2] = 0
            onsite[number] = OnsiteBlocks(atom, irreps.to_blocks(values))
        pairs = {}
        for key, (i, j, cell_offset, vector) in stored_pairs(atoms, basis_cutoffs(BASIS)).items():
            irreps = LAYOUT.pair[key]
            decay = np.exp(
                -((np.linalg.norm(vector, axis=1)[:, None] / SHIFTS[key][1]) ** SHIFTS[key][2])
            )
            values = decay * (
                np.where(irreps.scalar, SHIFTS[key][0], 0)
                + scatter * rng.normal(size=(i.size, irreps.size))
            )
            if key == (8, 8):
                values[:, _vanishing(irreps)] = 0
            pairs[key] = PairBlocks(i, j, cell_offset, irreps.to_blocks(values))
        return Hamiltonian(atoms, BASIS, onsite, pairs)


def _vanishing(irreps) -> np.ndarray:
    return (irreps.shell_a + irreps.shell_b == 1) & (irreps.shell_a != irreps.shell_b)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels(8, seed=1)


@pytest.fixture(scope="module")
def fitted(labels) -> ScaleShift:
    return fit_scaleshift([labels], np.arange(8), LAYOUT)["global"]


@pytest.mark.parametrize(
    "law", [(-6.0, 2.0, 1.2), (30.0, 1.5, 0.8), (2.0, 5.0, 4.0), (-0.5, 3.0, 2.0), (0.01, 0.8, 0.7)]
)
def test_stretched_exponential_is_recovered(law):
    r = np.random.default_rng(0).uniform(2.2, 8.0, 500)
    value = law[0] * np.exp(-((r / law[1]) ** law[2]))
    found, fitted_values = fit_decay(r, value, np.ones_like(r))
    # Exact data: what is left is the optimiser's own tolerance.
    np.testing.assert_allclose(found, law, rtol=1e-6)
    np.testing.assert_allclose(fitted_values, value, atol=1e-8 * abs(value).max())
    # Well above the floor the logarithmic fit sees the same law; the floor's pull is floor² / value².
    found = fit_log_decay(r, abs(value), np.ones_like(r), floor=1e-9 * abs(value).min())
    np.testing.assert_allclose(found, (abs(law[0]), *law[1:]), rtol=1e-4)


def test_noise_is_fitted_to_the_global_minimum():
    rng = np.random.default_rng(3)
    r = rng.uniform(2.2, 8.0, 400)
    weight = rng.uniform(0.1, 3, 400)
    value = -6 * np.exp(-((r / 2.0) ** 1.2)) + rng.normal(scale=0.3, size=r.size)
    _, fitted_values = fit_decay(r, value, weight)
    reached = np.sum(weight * (value - fitted_values) ** 2)
    # A brute-force search over (κ, p), the amplitude by linear regression, finds nothing lower.
    kappa, power = (
        axis.reshape(-1, 1)
        for axis in np.meshgrid(np.geomspace(1e-3, 80, 150), np.linspace(0.5, 8, 150))
    )
    shape = np.exp(-kappa * ((r / r.min()) ** power - 1))
    gain = (shape @ (weight * value)) ** 2 / (shape**2 @ weight)
    assert reached <= np.sum(weight * value**2) - gain.max()


def test_pair_shift_follows_the_law(fitted):
    for key, (a, length, power) in SHIFTS.items():
        irreps = LAYOUT.pair[key]
        r = np.linspace(fitted.pair_terms[key].r_min, BASIS.pair_range(*key), 50)
        shift, _ = fitted.pair_terms[key](r)
        law = a * np.exp(-((r / length) ** power))
        alive = irreps.scalar & ~(_vanishing(irreps) & (key == (8, 8)))
        # Noise of 5 % of e^-(…) on a ≈ -5 eV leaves 1 % of the law; several hundred pairs average it.
        expected = np.tile(law[:, None], (1, alive.sum()))
        np.testing.assert_allclose(shift[:, alive], expected, atol=0.02 * abs(law[0]))
        assert not shift[:, ~irreps.scalar].any()


def test_scaled_targets_are_of_order_one(fitted, labels):
    for key in SHIFTS:
        irreps = LAYOUT.pair[key]
        r = np.concatenate([np.linalg.norm(ham.vectors(key), axis=1) for ham in labels.hams])
        values = np.concatenate(
            [irreps.to_irreps(ham.pairs[key].hamiltonian) for ham in labels.hams]
        )
        shift, scale = fitted.pair_terms[key](r)
        alive = ~(_vanishing(irreps) & (key == (8, 8)))
        scaled = ((values - shift) / scale)[:, alive]
        for near, far in ((0, 3), (3, 4), (4, 5)):
            rows = (r >= near) & (r < far)
            if rows.any():
                rms = np.sqrt(np.mean(scaled[rows] ** 2))
                assert 0.6 < rms < 1.5, (key, near, far)


def test_onsite_moments(fitted, labels):
    for number in BASIS.numbers:
        irreps = LAYOUT.onsite[number]
        values = np.concatenate(
            [irreps.to_irreps(ham.onsite[number].hamiltonian) for ham in labels.hams]
        )
        term = fitted.onsite_terms[number]
        np.testing.assert_allclose(
            term.shift[irreps.scalar], values.mean(axis=0)[irreps.scalar], rtol=1e-12
        )
        np.testing.assert_allclose(
            term.scale[irreps.scalar], values.std(axis=0)[irreps.scalar], rtol=1e-12
        )
        assert not term.shift[~irreps.scalar].any()
        # One number for the 2l+1 components of an irrep: anything else would break equivariance.
        first_p = (irreps.l == 1) & (irreps.channel == 0)
        rms = np.sqrt(np.mean(values[:, first_p] ** 2))
        np.testing.assert_allclose(term.scale[first_p], rms, rtol=1e-12)


def test_vanishing_channels_keep_identity(fitted):
    irreps = LAYOUT.pair[8, 8]
    shift, scale = fitted.pair_terms[8, 8](np.array([0.5, 2.0, 3.9]))
    assert np.all(shift[:, _vanishing(irreps)] == 0)
    assert np.all(scale[:, _vanishing(irreps)] == 1)
    for number in BASIS.numbers:
        quadrupole = LAYOUT.onsite[number].l == 2
        assert np.all(fitted.onsite_terms[number].scale[quadrupole] == 1)


def test_species_without_data_keep_identity(labels):
    only_oxygen = Labels.of([_without_silicon(labels.read(0))])
    found = fit_scaleshift([only_oxygen], np.arange(1), LAYOUT)["global"]
    shift, scale = found.pair_terms[8, 14](np.array([1.0, 3.0]))
    assert np.all(shift == 0) and np.all(scale == 1)
    assert np.all(found.onsite_terms[14].shift == 0) and np.all(found.onsite_terms[14].scale == 1)


def _without_silicon(ham: Hamiltonian) -> Hamiltonian:
    return Hamiltonian(ham.atoms, ham.basis, {8: ham.onsite[8]}, {(8, 8): ham.pairs[8, 8]})


def test_fit_is_deterministic_and_knows_no_order(fitted, labels):
    again = fit_scaleshift([labels], np.arange(8), LAYOUT)["global"]
    for path, array in fitted.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[path], array)
    rotated, rest = Labels.of(labels.hams[:2:-1]), Labels.of(labels.hams[2::-1])
    other = fit_scaleshift([rotated, rest], np.arange(8), LAYOUT)["global"]
    r = np.linspace(1.5, 4.0, 20)
    for key in SHIFTS:
        for mine, theirs in zip(fitted.pair_terms[key](r), other.pair_terms[key](r), strict=True):
            # Sums in another order round differently, and the optimiser stops elsewhere within 1e-10.
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)


def test_only_the_given_structures_count(fitted, labels):
    some = fit_scaleshift([labels], np.array([0, 3]), LAYOUT)["global"]
    atoms = np.concatenate([labels.read(i).onsite[8].hamiltonian[:, 0, 0] for i in (0, 3)])
    np.testing.assert_allclose(some.onsite_terms[8].shift[0], atoms.mean(), rtol=1e-12)
    with pytest.raises(DataError, match="no labelled structure"):
        fit_scaleshift([labels], np.array([], dtype=int), LAYOUT)


def test_bins_do_not_move_the_minimum(fitted, labels):
    r = np.concatenate([np.linalg.norm(ham.vectors((8, 14)), axis=1) for ham in labels.hams])
    irreps = LAYOUT.pair[8, 14]
    values = np.concatenate([irreps.to_irreps(ham.pairs[8, 14].hamiltonian) for ham in labels.hams])
    component = int(np.flatnonzero(irreps.scalar)[0])
    _, direct = fit_decay(r, values[:, component], np.ones_like(r))
    # Bins of 0.002 Å against each pair by itself: the curves agree to a small part of a meV.
    np.testing.assert_allclose(fitted.pair_terms[8, 14](r)[0][:, component], direct, atol=1e-5)


def test_vectorised_layers_and_round_trip(fitted, labels):
    ham = labels.read(2)
    species = np.searchsorted(BASIS.numbers, ham.atoms.numbers)
    shift, scale = fitted.onsite(species)
    assert shift.shape == scale.shape == (27, LAYOUT.onsite_size)
    atom = ham.onsite[8].atom
    size = LAYOUT.onsite[8].size
    values = LAYOUT.onsite[8].to_irreps(ham.onsite[8].hamiltonian)
    scaled = (values - shift[atom, :size]) / scale[atom, :size]
    # float64 throughout: energies of 10 eV carry 2e-15
    np.testing.assert_allclose(shift[atom, :size] + scale[atom, :size] * scaled, values, atol=1e-13)
    silicon = ham.onsite[14].atom
    assert np.all(shift[silicon, LAYOUT.onsite[14].size :] == 0)
    assert np.all(scale[silicon, LAYOUT.onsite[14].size :] == 1)

    keys = BASIS.species_pairs()
    distance = np.concatenate([np.linalg.norm(ham.vectors(key), axis=1) for key in keys])
    pair_type = np.repeat(np.arange(3), [len(ham.pairs[key].i) for key in keys])
    mixed = np.random.default_rng(0).permutation(pair_type.size)
    shift, scale = fitted.pairs(pair_type[mixed], distance[mixed])
    assert shift.shape == scale.shape == (pair_type.size, LAYOUT.pair_size)
    assert np.all(scale >= SCALE_FLOOR)
    rows = np.argsort(mixed)[pair_type == 1]
    own = fitted.pair_terms[keys[1]](distance[pair_type == 1])
    size = LAYOUT.pair[keys[1]].size
    np.testing.assert_array_equal(shift[rows, :size], own[0])
    np.testing.assert_array_equal(scale[rows, :size], own[1])


def test_arrays_round_trip(fitted):
    arrays = {f"scaleshift/{path}": array for path, array in fitted.to_arrays().items()}
    again = ScaleShift.from_arrays(arrays, BASIS, prefix="scaleshift/")
    for path, array in fitted.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[path], array)


def test_shift_alone_is_the_mean(fitted, labels):
    predicted = shift_only(labels.read(0), LAYOUT, fitted)
    mean = LAYOUT.onsite[8].to_blocks(fitted.onsite_terms[8].shift)
    np.testing.assert_array_equal(predicted.onsite[8].hamiltonian[0], mean)
    before = np.concatenate([b.hamiltonian.ravel() for b in labels.read(0).pairs.values()])
    after = np.concatenate(
        [
            (b.hamiltonian - p.hamiltonian).ravel()
            for b, p in zip(labels.read(0).pairs.values(), predicted.pairs.values(), strict=True)
        ]
    )
    assert np.mean(abs(after)) < 0.3 * np.mean(abs(before))


def test_like_atoms_are_scaled_alike_from_both_ends(fitted):
    """Shells a, b of a pair of like atoms are b, a seen from its other atom."""
    distance = np.linspace(1.5, 5.0, 7)
    for key, terms in fitted.pair_terms.items():
        if key[0] != key[1]:
            continue
        partner, sign = exchange_atoms(LAYOUT.pair[key], "global")
        shift, scale = terms(distance)
        # Fitted by an optimiser whose own tolerance is 1e-8
        np.testing.assert_allclose(scale[:, partner], scale, rtol=1e-6)
        np.testing.assert_allclose(sign * shift[:, partner], shift, rtol=1e-6, atol=1e-9)
