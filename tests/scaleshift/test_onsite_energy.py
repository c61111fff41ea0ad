"""The on-site energy model: symmetric, local as stated, fitted to few structures, exact on the way through."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from ase.build import bulk, mx2
from scipy.spatial.transform import Rotation

from gh_tools.dft.overlap import Overlap
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import StructureWork, predict_structure
from gh_tools.labels.labels import read_labels
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import Cutoffs, Neighbours, wrapped
from gh_tools.scaleshift import atomic_descriptors, onsite_energy
from gh_tools.scaleshift.fit_terms import fit_scaleshift
from gh_tools.scaleshift.onsite_energy import (
    OnsiteEnergyModel,
    fit_onsite_energies,
    left_out_residuals,
    mean_onsite_energies,
    shifted,
)
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.store import load_model
from gh_tools.training.data.samples import SampleMaker, predicted_hamiltonian
from gh_tools.training.objective.calibration import with_members

N_DESCRIPTORS = (
    1 + 2 * atomic_descriptors.TWO_BODY[1] + 3 * 21
)  # two elements; 6 functions make 21 pairs


@pytest.fixture(scope="module")
def planted(inputs):
    random = np.random.default_rng(0)
    local, neighbour = (
        random.normal(size=(2, 2, N_DESCRIPTORS)) * np.array([0.1, 0.002])[:, None, None]
    )
    return OnsiteEnergyModel(inputs.basis, 2.0, local, neighbour)


@pytest.fixture(scope="module", params=["without charges", "with charges"])
def either(planted, request):
    if request.param == "without charges":
        return planted
    charge = 0.02 * np.random.default_rng(1).normal(size=(2, N_DESCRIPTORS))
    return replace(planted, charge=charge)


def sheet(seed: int):
    atoms = mx2("WSe2", a=3.32, thickness=3.2, size=(2, 2, 1), vacuum=6.0)
    atoms.pbc = [True, True, False]
    atoms.rattle(0.1, seed=seed)
    return wrapped(atoms)


def test_rotated_moved_and_reordered_structures_have_the_same(either):
    atoms = sheet(1)
    expected = either.of_structure(atoms)
    assert np.ptp(expected) > 0.1
    rotation = Rotation.from_rotvec([0.3, -0.5, 0.8]).as_matrix()
    order = np.random.default_rng(2).permutation(len(atoms))
    other = atoms[order]
    other.set_cell(atoms.cell.array @ rotation.T)
    other.positions = other.positions @ rotation.T + 0.7
    np.testing.assert_allclose(either.of_structure(wrapped(other)), expected[order], atol=2e-5)
    mirrored = atoms.copy()
    mirrored.positions[:, 2] *= -1
    np.testing.assert_allclose(either.of_structure(mirrored), expected, atol=2e-5)


def test_supercells_and_parts_have_the_same(either, monkeypatch):
    atoms = sheet(1)
    expected = either.of_structure(atoms)
    large = wrapped(atoms.repeat((2, 3, 1)))
    np.testing.assert_allclose(either.of_structure(large), np.tile(expected, 6), atol=2e-5)
    monkeypatch.setattr(atomic_descriptors, "_LISTED", 5)
    chosen = np.array([3, 17, 40])
    part = either(large, Neighbours(large, either.reach), chosen)
    np.testing.assert_allclose(part, expected[chosen % 12], atol=2e-5)


def test_nothing_beyond_the_stated_reach_counts(planted):
    atoms = sheet(1)
    atoms.pbc = False
    far = sheet(2)
    far.pbc = False
    # Contributions of what is 12 Å away depend on what is 6.5 Å from there.
    gap = planted.reach + atomic_descriptors.TWO_BODY[0] + 0.01
    far.positions[:, 2] += atoms.positions[:, 2].max() + gap - far.positions[:, 2].min()
    both = planted.of_structure(atoms + far)
    np.testing.assert_array_equal(both[: len(atoms)], planted.of_structure(atoms))


def test_few_structures_tell_what_was_planted(planted, inputs):
    structures = [sheet(seed) for seed in range(60)]
    energies = [planted.of_structure(atoms) for atoms in structures]
    fitted = fit_onsite_energies(inputs.basis, structures[:50], energies[:50])
    error = np.concatenate(
        [fitted.of_structure(a) - v for a, v in zip(structures[50:], energies[50:], strict=True)]
    )
    species = np.concatenate([atoms.numbers for atoms in structures[50:]])
    v = np.concatenate(energies[50:])
    deviation = np.concatenate([v[species == z] - v[species == z].mean() for z in (34, 74)]).std()
    assert np.sqrt(np.mean(error**2)) < 0.25 * deviation


def crystal(seed: int):
    atoms = bulk("WSe", "rocksalt", a=5.4, cubic=True)
    atoms.set_cell(
        atoms.cell * np.random.default_rng(seed).uniform(0.95, 1.05, 3), scale_atoms=True
    )
    atoms.rattle(0.2, seed=seed)
    return wrapped(atoms)


def test_charges_are_found_where_there_are_any(planted, inputs):
    """Charges that depend on the surroundings, and charge alike all atoms of an element as well."""
    charge = 0.05 * np.random.default_rng(6).normal(size=(2, N_DESCRIPTORS))
    charge[:, 0] = 0.5, -0.5
    charged = replace(planted, charge=charge)
    structures = [crystal(seed) for seed in range(50)]
    energies = [charged.of_structure(atoms) for atoms in structures]
    fitted = fit_onsite_energies(inputs.basis, structures[:40], energies[:40])
    assert fitted.charge is not None
    assert fitted.draws.shape == (onsite_energy.DRAWS, 3, 2, N_DESCRIPTORS)
    errors = [
        fitted.of_structure(a) - v for a, v in zip(structures[40:], energies[40:], strict=True)
    ]
    deviation = np.concatenate([v - v.mean() for v in np.array(energies).T]).std()
    assert np.sqrt(np.mean(np.square(errors))) < 0.25 * deviation
    means = np.mean(energies, axis=1)
    assert np.std([e.mean() for e in errors]) < 0.25 * means.std()
    arrays = fitted.to_arrays()
    again = OnsiteEnergyModel.from_arrays(arrays, inputs.basis, "")
    np.testing.assert_array_equal(
        again.of_structure(structures[0]), fitted.of_structure(structures[0])
    )
    atoms = structures[45]
    everyone = np.arange(len(atoms))
    _, members = fitted.with_members(atoms, Neighbours(atoms, fitted.reach), everyone, 4)
    assert members.std(axis=0).min() > 0


def test_energies_without_deviation_have_no_model(inputs):
    structures = [sheet(seed) for seed in range(2)]
    energies = [np.where(atoms.numbers == 74, 1.0, 2.0) for atoms in structures]
    assert fit_onsite_energies(inputs.basis, structures, energies) is None


def test_energies_that_surroundings_do_not_tell_have_no_model(inputs):
    random = np.random.default_rng(3)
    structures = [sheet(seed) for seed in range(6)]
    energies = [random.normal(size=len(atoms)) for atoms in structures]
    assert fit_onsite_energies(inputs.basis, structures, energies) is None


def test_what_is_left_out_is_what_fits_without_it_leave():
    random = np.random.default_rng(4)
    columns, values, stops = random.normal(size=(9, 5)), random.normal(size=9), [2, 6]
    kernel, ridge = columns @ columns.T, 0.3
    inverse = np.linalg.inv(kernel + ridge * np.eye(9))
    found, variances = left_out_residuals(inverse, inverse @ values, stops)
    for own in np.split(np.arange(9), stops):
        rest = np.setdiff1d(np.arange(9), own)
        fit = np.linalg.solve(
            columns[rest].T @ columns[rest] + ridge * np.eye(5), columns[rest].T @ values[rest]
        )
        np.testing.assert_allclose(found[own], values[own] - columns[own] @ fit, atol=1e-12)
        # Of a prior of width one and noise whose variance is the ridge.
        posterior = np.linalg.inv(columns[rest].T @ columns[rest] / ridge + np.eye(5))
        expected = np.einsum("rc,cd,rd->r", columns[own], posterior, columns[own]) + ridge
        np.testing.assert_allclose(variances[own], expected, atol=1e-12)


def test_draws_have_the_covariance_of_the_posterior(monkeypatch):
    monkeypatch.setattr(onsite_energy, "DRAWS", 40_000)
    random = np.random.default_rng(5)
    columns = random.normal(size=(7, 5)) * np.array([1.0, 1.0, 0.1, 0.01, 0.0])
    inverse = np.linalg.inv(columns @ columns.T + onsite_energy.NOISE**2 * np.eye(7))
    draws = onsite_energy._posterior_draws(columns, inverse)
    posterior = np.linalg.inv(columns.T @ columns / onsite_energy.NOISE**2 + np.eye(5))
    unit = np.sqrt(np.diag(posterior))
    # Of so many draws each element of a correlation is known to 1 / 200.
    np.testing.assert_allclose(
        np.cov(draws.T) / np.outer(unit, unit), posterior / np.outer(unit, unit), atol=0.03
    )


def test_draws_tell_how_far_unseen_structures_are_off(planted, inputs):
    structures = [sheet(seed) for seed in range(60)]
    energies = [planted.of_structure(atoms) for atoms in structures]
    ratios = []
    for seen in (10, 50):
        fitted = fit_onsite_energies(inputs.basis, structures[:seen], energies[:seen])
        errors, deviations = [], []
        for atoms, v in zip(structures[50:], energies[50:], strict=True):
            every = np.arange(len(atoms))
            found, moved = fitted.with_members(
                atoms, Neighbours(atoms, fitted.reach), every, onsite_energy.DRAWS
            )
            np.testing.assert_array_equal(found, fitted.of_structure(atoms))
            np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=1e-12)
            errors.append(found - v)
            deviations.append(moved.std(axis=0, ddof=1))
        ratios.append(
            [np.sqrt(np.mean(np.square(np.concatenate(x)))) for x in (errors, deviations)]
        )
    (few, few_told), (many, many_told) = ratios
    assert few > 1.5 * many
    assert 0.5 < few_told / few < 2
    assert 0.5 < many_told / many < 2


def test_members_differ_by_their_own_energies_too(inputs):
    [label] = read_labels(inputs.readers, [1])
    random = np.random.default_rng(6)
    energies = random.normal(size=len(label.atoms))
    differences = random.normal(size=(3, len(label.atoms)))
    differences -= differences.mean(axis=0)
    noise = {
        key: random.normal(size=(3, *blocks.hamiltonian.shape)) for key, blocks in label.groups()
    }
    members = []
    for m in range(3):
        own = [
            {
                key: replace(b, hamiltonian=b.hamiltonian + noise[key][m])
                for key, b in blocks.items()
            }
            for blocks in (label.onsite, label.pairs)
        ]
        members.append(replace(label, onsite=own[0], pairs=own[1]))
    found = shifted(with_members(members), energies, differences)
    each = zip(members, differences, strict=True)
    wanted = with_members([shifted(own, energies + moved) for own, moved in each])
    for (_, mine), (_, theirs) in zip(found.groups(), wanted.groups(), strict=True):
        for name in ("hamiltonian", "uncertainty", "members"):
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), atol=1e-10)


@pytest.fixture(scope="module")
def scaleshift(inputs):
    layout = IrrepLayout(inputs.basis)
    [fitted] = fit_scaleshift(
        inputs.readers, np.arange(4), layout, ["bond"], onsite_energies=True
    ).values()
    return fitted


def _cutoffs(inputs, pair: float) -> Cutoffs:
    return Cutoffs(4.0, dict.fromkeys(inputs.basis.species_pairs(), pair))


def test_what_is_taken_from_labels_is_given_back(inputs, scaleshift):
    layout = IrrepLayout(inputs.basis)
    maker = SampleMaker(layout, scaleshift, _cutoffs(inputs, 30.0))
    [label] = read_labels(inputs.readers, [2])
    sample = maker.labelled(maker(label, "x"), label)
    found = predicted_hamiltonian(sample, sample.onsite, sample.pairs, layout, "bond")
    for (_, blocks), (_, wanted) in zip(found.groups(), label.groups(), strict=True):
        # References are in single precision, scales of some eV
        np.testing.assert_allclose(blocks.hamiltonian, wanted.hamiltonian, atol=2e-5)
    rest = mean_onsite_energies(shifted(label, -sample.onsite_energies))
    np.testing.assert_allclose(
        rest, mean_onsite_energies(label) - sample.onsite_energies, atol=1e-9
    )


def test_pairs_beyond_the_pair_cutoff_stay_zero(inputs, scaleshift):
    layout = IrrepLayout(inputs.basis)
    maker = SampleMaker(layout, scaleshift, _cutoffs(inputs, 5.0))
    [label] = read_labels(inputs.readers, [2])
    sample = maker.labelled(maker(label, "x"), label)
    found = predicted_hamiltonian(sample, sample.onsite, sample.pairs, layout, "bond")
    lost = []
    for key, near in sample.kept.items():
        assert near.any() and not near.all()
        np.testing.assert_array_equal(found.pairs[key].hamiltonian[~near], 0.0)
        lost.append(np.abs(label.pairs[key].hamiltonian[~near]).max())
    assert sample.dropped == max(lost)


def test_stores_hold_it(inputs, scaleshift):
    arrays = {f"scaleshift/{key}": values for key, values in scaleshift.to_arrays().items()}
    again = ScaleShift.from_arrays(arrays, inputs.basis, "scaleshift/", "bond").onsite_energy
    for name in ("r_min", "local", "neighbour", "draws"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scaleshift.onsite_energy, name))


def test_predictions_hold_it_whole_or_in_domains(random_bond_model, planted):
    model = load_model(random_bond_model)
    with_it, without = (
        model._replace(scaleshift=replace(model.scaleshift, onsite_energy=energies))
        for energies in (planted, None)
    )
    atoms, predictor = sheet(3), Predictor(with_it)
    bare, whole = predict_structure(Predictor(without), atoms), predict_structure(predictor, atoms)
    v = planted.of_structure(atoms)
    work = StructureWork(predictor, Overlap(model.basis, atoms.numbers), atoms, 1.0)
    assert len(work.domains) > 3
    parts = [work.blocks(number, range(len(work.domains))) for number in range(len(work.domains))]
    for key, blocks in whole.pairs.items():
        expected = 0.5 * (v[blocks.i] + v[blocks.j])[:, None, None] * blocks.overlap
        difference = blocks.hamiltonian - bare.pairs[key].hamiltonian
        np.testing.assert_allclose(difference, expected, atol=1e-5)
        found = [part.pairs[key] for part in parts if key in part.pairs]
        order = np.lexsort(
            (
                *np.concatenate([part.cell_offset for part in found]).T[::-1],
                np.concatenate([part.j for part in found]),
                np.concatenate([part.i for part in found]),
            )
        )
        joined = np.concatenate([part.hamiltonian for part in found])[order]
        np.testing.assert_allclose(joined, blocks.hamiltonian, atol=1e-5)
    for key, blocks in whole.onsite.items():
        expected = v[blocks.atom][:, None, None] * blocks.overlap
        difference = blocks.hamiltonian - bare.onsite[key].hamiltonian
        np.testing.assert_allclose(difference, expected, atol=1e-5)


def test_members_of_predictions_have_their_own_whole_or_in_domains(random_bond_model, planted):
    model = load_model(random_bond_model)
    random = np.random.default_rng(7)
    last_layers = {
        name: jax.tree.map(
            lambda weight: weight + 0.1 * random.normal(size=(3, *np.shape(weight))),
            model.params["params"][name],
        )
        for name in ("onsite_readout", "bond_readout")
    }
    draws = 0.1 * random.normal(size=(2, 2, 2, N_DESCRIPTORS)) * planted.local
    with_it, without = (
        model._replace(
            last_layers=last_layers,
            calibration=Calibration(),
            scaleshift=replace(model.scaleshift, onsite_energy=energies),
        )
        for energies in (replace(planted, draws=draws), planted)
    )
    atoms = sheet(3)
    predictor = Predictor(with_it, error_bars=True)
    whole = predict_structure(predictor, atoms)
    bare = predict_structure(Predictor(without, error_bars=True), atoms)
    every = np.arange(len(atoms))
    neighbours = Neighbours(atoms, planted.reach)
    _, moved = with_it.scaleshift.onsite_energy.with_members(atoms, neighbours, every, 3)
    assert moved.std() > 0.01
    work = StructureWork(predictor, Overlap(model.basis, atoms.numbers), atoms, 1.0)
    parts = [work.blocks(number, range(len(work.domains))) for number in range(len(work.domains))]
    for key, blocks in whole.onsite.items():
        added = blocks.members - bare.onsite[key].members
        expected = moved[:, blocks.atom][:, None, :, None, None] * blocks.overlap
        np.testing.assert_allclose(added, expected, atol=1e-5)
        joined = np.concatenate([p.onsite[key].members for p in parts if key in p.onsite], axis=2)
        order = np.argsort(np.concatenate([p.onsite[key].atom for p in parts if key in p.onsite]))
        np.testing.assert_allclose(joined[:, :, order], blocks.members, atol=1e-5)
    for key, blocks in whole.pairs.items():
        added = blocks.members - bare.pairs[key].members
        of_pairs = 0.5 * (moved[:, blocks.i] + moved[:, blocks.j])
        expected = of_pairs[:, None, :, None, None] * blocks.overlap
        np.testing.assert_allclose(added, expected, atol=1e-5)
        np.testing.assert_array_equal(blocks.hamiltonian, bare.pairs[key].hamiltonian)
