"""Comparing Hamiltonians: against dense matrices and SciPy."""

from __future__ import annotations

import copy

import ase
import numpy as np
import pytest
import scipy.linalg

from gh_tools.errors import DataError
from gh_tools.evaluation.eigenvalue_errors import (
    both_eigenvalues,
    eigenvalue_errors,
    gap_error,
    reference_kpoints,
)
from gh_tools.evaluation.matrix_errors import check_same_structure, hamiltonian_errors
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Bands, Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.kpoints import KPoints

BASIS = Basis(
    {
        5: ElementBasis(5, (Shell(0, 1.5), Shell(1, 1.6)), n_valence=3),
        7: ElementBasis(7, (Shell(0, 1.4),), n_valence=2),
    }
)


@pytest.fixture
def reference() -> Hamiltonian:
    """Random blocks that decay, S near the unit matrix, on a cell with many images."""
    rng = np.random.default_rng(0)
    atoms = wrapped(
        ase.Atoms("BNBN", rng.uniform(0, 3, (4, 3)), cell=np.eye(3) * 3 + 0.2, pbc=[1, 1, 0])
    )

    def onsite(k: int) -> OnsiteBlocks:
        h = rng.normal(size=(2, k, k))
        unit = np.broadcast_to(np.eye(k), (2, k, k)).copy()
        number = 5 if k == 4 else 7
        return OnsiteBlocks(np.flatnonzero(atoms.numbers == number), h + h.transpose(0, 2, 1), unit)

    pairs = {}
    for (zi, zj), (i, j, cell_offset, vector) in stored_pairs(atoms, basis_cutoffs(BASIS)).items():
        decay = np.exp(-2 * np.linalg.norm(vector, axis=1))[:, None, None]
        shape = (len(i), BASIS[zi].n_orbitals, BASIS[zj].n_orbitals)
        h, s = rng.normal(size=(2, *shape)) * decay
        pairs[zi, zj] = PairBlocks(i, j, cell_offset, h, 0.02 * s)
    bands = Bands(
        np.array([[0.0, 0, 0], [0.25, 0.1, 0]]), np.array([0.25, 0.75]), np.zeros((1, 2, 10))
    )
    scalars = {"n_electrons": 10.0}
    return Hamiltonian(atoms, BASIS, {5: onsite(4), 7: onsite(1)}, pairs, scalars, bands)


@pytest.fixture
def predicted(reference) -> Hamiltonian:
    rng = np.random.default_rng(1)
    found = copy.deepcopy(reference)
    for _, blocks in found.groups():
        noise = rng.normal(scale=0.01, size=blocks.hamiltonian.shape)
        if isinstance(blocks, OnsiteBlocks):
            noise = noise + noise.transpose(0, 2, 1)
        blocks.hamiltonian = (blocks.hamiltonian + noise).astype(np.float32)
    found.bands = None
    return found


def test_matrix_elements_against_all_cells(predicted, reference):
    """H(R) as one dense matrix for each lattice vector R: every element of every pair, once."""
    difference = copy.deepcopy(reference)
    indicator = copy.deepcopy(reference)
    for (_, d), (_, p), (_, one) in zip(
        difference.groups(), predicted.groups(), indicator.groups(), strict=True
    ):
        d.hamiltonian = p.hamiltonian.astype(float) - d.hamiltonian
        one.hamiltonian = np.ones_like(d.hamiltonian)
    cell_offsets = np.concatenate([blocks.cell_offset for blocks in reference.pairs.values()])
    reach = abs(cell_offsets).max(axis=0)
    grid = 2 * reach + 1
    k = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), -1).reshape(-1, 3)
    total = count = 0.0
    dense = [[bloch_matrix(h, point) for point in k] for h in (difference, indicator)]
    for cell in np.ndindex(*grid):
        phase = np.exp(-2j * np.pi * k @ (np.array(cell) - reach)) / len(k)
        of_cell, ones = (np.einsum("k,kij->ij", phase, np.array(h)).real for h in dense)
        total += abs(of_cell).sum()
        count += np.round(ones).sum()
    errors = hamiltonian_errors(predicted, reference)
    assert errors.all.count == count
    # Fourier sums of numbers of 0.01 eV
    assert errors.all.mae == pytest.approx(total / count, rel=1e-10)
    assert errors.all_onsite.count == 2 * 16 + 2
    assert errors.all.total == pytest.approx(errors.all_onsite.total + errors.all_pairs.total)


def test_by_species_pair_and_distance(predicted, reference):
    errors = hamiltonian_errors(predicted, reference)
    key = (5, 7)
    blocks = reference.pairs[key]
    direct = abs(predicted.pairs[key].hamiltonian.astype(float) - blocks.hamiltonian)
    assert errors.pairs[key].mae == pytest.approx(direct.mean(), rel=1e-12)
    assert sum(part.count for part in errors.distance.values()) == errors.all_pairs.count
    sums = {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}
    for pair, blocks in reference.pairs.items():
        for row, vector in enumerate(reference.vectors(pair)):
            off = predicted.pairs[pair].hamiltonian[row] - blocks.hamiltonian[row]
            sums[int(np.linalg.norm(vector))] += 2 * abs(off).sum()
    for distance, part in errors.distance.items():
        assert part.total == pytest.approx(sums[distance], rel=1e-6)
    joined = errors + errors
    assert (
        joined.all.mae == pytest.approx(errors.all.mae) and joined.all.count == 2 * errors.all.count
    )


def test_missing_pairs_count_as_zero_in_any_order(reference):
    found = copy.deepcopy(reference)
    blocks = found.pairs[5, 5]
    order = np.random.default_rng(2).permutation(len(blocks.i))[:-1]
    lost = np.setdiff1d(np.arange(len(blocks.i)), order)
    for name in ("i", "j", "cell_offset", "hamiltonian"):
        setattr(blocks, name, getattr(blocks, name)[order])
    errors = hamiltonian_errors(found, reference)
    expected = 2 * abs(reference.pairs[5, 5].hamiltonian[lost]).sum()
    assert errors.all.total == pytest.approx(expected, rel=1e-12)
    assert hamiltonian_errors(reference, found).all == errors.all
    del found.pairs[5, 5]
    assert hamiltonian_errors(found, reference).pairs[5, 5].total == pytest.approx(
        2 * abs(reference.pairs[5, 5].hamiltonian).sum()
    )


def test_eigenvalues_against_scipy(predicted, reference):
    errors = eigenvalue_errors(*both_eigenvalues(predicted, reference))
    mine, theirs = (
        np.array(
            [
                scipy.linalg.eigvalsh(bloch_matrix(h, k), bloch_matrix(h, k, "overlap"))
                for k in reference.bands.kpoint
            ]
        )
        for h in (predicted, reference)
    )
    weights = np.repeat([[0.25], [0.75]], 10, axis=1)
    off = mine - theirs
    # Two dense solvers of the same 10 x 10 problem
    assert errors.all == pytest.approx(np.average(abs(off), weights=weights), rel=1e-9)
    shifted = abs(off - np.average(off, weights=weights))
    assert errors.all_shifted == pytest.approx(np.average(shifted, weights=weights), rel=1e-9)
    assert 0 < errors.window < 0.1
    assert errors.ghosts == 0


def test_a_constant_is_taken_off(reference):
    """H + c S has all eigenvalues, and the Fermi level, c higher."""
    found = copy.deepcopy(reference)
    for _, blocks in found.groups():
        blocks.hamiltonian = blocks.hamiltonian + 0.2 * blocks.overlap
    errors = eigenvalue_errors(*both_eigenvalues(found, reference))
    for value in (errors.window, errors.all, errors.fermi_level):
        assert value == pytest.approx(0.2, abs=1e-9)
    assert errors.window_shifted < 1e-9 and errors.all_shifted < 1e-9


def test_gaps_scale_with_the_matrix_and_do_not_see_constants(reference):
    changed = copy.deepcopy(reference)
    for _, blocks in changed.groups():
        blocks.hamiltonian = 1.1 * blocks.hamiltonian + 0.2 * blocks.overlap
    for n_electrons in (2, 8, 14):
        predicted, true, _ = both_eigenvalues(changed, reference)
        gap = gap_error((changed, reference), (predicted, true), n_electrons)
        grid = (
            true.energies[..., n_electrons // 2] - true.energies[..., n_electrons // 2 - 1]
        ).min()
        assert gap.reference <= grid + 1e-6
        # Edges are refined to 0.1 meV.
        assert gap.predicted == pytest.approx(1.1 * gap.reference, abs=3e-4)
        assert gap.reference > 0 and gap.error == gap.predicted - gap.reference
    metal = gap_error((changed, reference), (predicted, true), 3)
    assert metal.predicted == metal.reference == 0 and np.isnan(metal.error)


def test_window_and_ghosts_by_hand():
    def eigenvalues(*energies: float) -> Eigenvalues:
        gamma = KPoints(np.zeros((1, 3)), np.ones(1))
        return Eigenvalues(np.array([[energies]]), gamma, np.array([1]))

    errors = eigenvalue_errors(
        eigenvalues(-9, -1.1, 1.6, 9.0), eigenvalues(-10.0, -1.0, 1.0, 8.5), n_electrons=4
    )
    # Two electrons in each of the lower two eigenvalues: the Fermi level lies in the gap.
    assert errors.fermi_level == pytest.approx(0.25, abs=1e-6)
    assert errors.window == pytest.approx((0.1 + 0.6) / 2)
    assert errors.window_shifted == pytest.approx(0.35)
    assert errors.all == pytest.approx((1 + 0.1 + 0.6 + 0.5) / 4)
    assert errors.ghosts == 1  # at 1.6 eV; -1.1 has a neighbour and 9.0 lies outside


def test_other_structures_are_refused(predicted, reference):
    check_same_structure(predicted, reference, "both")
    predicted.atoms.positions[0] += 0.01
    with pytest.raises(DataError, match="positions differ"):
        check_same_structure(predicted, reference, "both")
    predicted.atoms = reference.atoms[[1, 0, 2, 3]]
    with pytest.raises(DataError, match="another order"):
        check_same_structure(predicted, reference, "both")
    predicted.atoms = reference.atoms.copy()
    predicted.atoms.positions[1] += predicted.atoms.cell[0]
    with pytest.raises(DataError, match="R means other pairs"):
        check_same_structure(predicted, reference, "both")
    predicted.atoms = reference.atoms
    predicted.scalars = {"n_electrons": reference.scalars["n_electrons"] + 1}
    with pytest.raises(DataError, match="electrons as in the reference"):
        check_same_structure(predicted, reference, "both")


def test_kpoints_without_a_dft_run(predicted):
    kpoints = reference_kpoints(predicted)
    assert kpoints.weights.sum() == pytest.approx(1)
    assert not kpoints.points[:, 2].any() and len(kpoints) > 1
