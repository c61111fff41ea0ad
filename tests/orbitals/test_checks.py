"""The checks accept overlaps of Gaussians, known in closed form, and find each fault put into them."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gh_tools.orbitals import checks
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped

# s orbitals exp(-r²/2w²), w = 1/√2 Å: ⟨0|R⟩ = exp(-R²/4w²) = exp(-R²/2), 4e-8 at the cutoff.
REACH = 2.9


def gaussians(atoms):
    atoms = wrapped(atoms)
    numbers = np.unique(atoms.numbers).tolist()
    basis = Basis({z: ElementBasis(z, (Shell(0, REACH),), 1.0) for z in numbers})
    onsite, pairs = {}, {}
    for z in numbers:
        ones = np.ones((np.count_nonzero(atoms.numbers == z), 1, 1))
        onsite[z] = OnsiteBlocks(np.flatnonzero(atoms.numbers == z), -5 * ones, ones)
    found = stored_pairs(atoms, {pair: 2 * REACH for pair in basis.species_pairs()})
    for pair, (i, j, cell_offset, vector) in found.items():
        overlap = np.exp(-((vector**2).sum(axis=1)) / 2)[:, None, None]
        pairs[pair] = PairBlocks(i, j, cell_offset, -5 * overlap, overlap)
    return Hamiltonian(atoms, basis, onsite, pairs, {"fermi_level": 0.0})


@pytest.fixture
def salt():
    return gaussians(bulk("NaCl", "rocksalt", a=5.0).repeat((2, 1, 1)))


def test_a_good_hamiltonian_has_no_fault(salt):
    assert checks.check_hamiltonian(salt) == []


def test_lowest_eigenvalue_of_a_chain():
    chain = gaussians(Atoms("H", cell=[1.3, 0, 0], pbc=[True, False, False]))
    n = np.arange(1, 5)
    for k in (0.0, 0.2, 0.5):
        exact = 1 + 2 * np.sum(np.exp(-((1.3 * n) ** 2) / 2) * np.cos(2 * np.pi * k * n))
        found = checks.lowest_overlap_eigenvalue(chain, np.array([k, 0, 0]))
        assert found == pytest.approx(exact, abs=1e-6)  # the cutoff drops 4e-8


def test_lanczos_agrees_with_the_dense_solver(salt, monkeypatch):
    k = checks.GENERIC_K
    dense = checks.lowest_overlap_eigenvalue(salt, k)
    monkeypatch.setattr(checks, "LANCZOS_FROM", 0)
    # Its relative tolerance is 1e-3.
    assert checks.lowest_overlap_eigenvalue(salt, k) == pytest.approx(dense, rel=5e-3)


def _nan(ham):
    ham.pairs[11, 17].hamiltonian[0, 0, 0] = np.nan


def _negative_uncertainty(ham):
    ham.onsite[17].uncertainty = np.full((2, 1, 1), -1.0)


def _infinite_scalar(ham):
    ham.scalars["fermi_level"] = np.inf


def _missing_atom(ham):
    ham.onsite[11] = OnsiteBlocks(np.array([0]), np.ones((1, 1, 1)), np.ones((1, 1, 1)))


def _wrong_direction(ham):
    blocks = ham.pairs[17, 17]
    blocks.i[0], blocks.j[0] = blocks.j[0], blocks.i[0]
    blocks.cell_offset[0] *= -1


def _twice(ham):
    blocks = ham.pairs[11, 17]
    blocks.i[1], blocks.j[1], blocks.cell_offset[1] = (
        blocks.i[0],
        blocks.j[0],
        blocks.cell_offset[0],
    )


def _wrong_species(ham):
    ham.pairs[11, 17].i[3] = 1


def _beyond_the_structure(ham):
    ham.pairs[11, 17].j[3] = 9


def _zero_bond(ham):
    ham.pairs[11, 17].overlap[np.linalg.norm(ham.vectors((11, 17)), axis=1) < 2.6] = 0


def _not_positive(ham):
    for blocks in ham.pairs.values():
        blocks.overlap *= 20


def _huge_energy(ham):
    ham.onsite[17].hamiltonian[0] = 1e12


def _huge_overlap(ham):
    ham.onsite[17].overlap[0] = 1e12


def _overlap_above_its_diagonal(ham):
    ham.pairs[11, 17].overlap[2] = -1.1


def _negative_diagonal(ham):
    ham.onsite[11].overlap[0] = -1.0


def _far_away(ham):
    ham.pairs[11, 17].cell_offset[0] = [0, 0, 10**6]


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (_huge_energy, r"onsite/17/hamiltonian: expected energies within .* found 1e\+12"),
        (_huge_overlap, r"onsite/17/overlap: expected overlaps within .* found 1e\+12"),
        (_overlap_above_its_diagonal, "pairs/11-17/overlap: expected at most 1, .* found 1.1"),
        (_negative_diagonal, "onsite/11/overlap: expected a positive diagonal, found -1"),
        (_far_away, "pairs/11-17/cell_offset: expected atoms at most 11.6 Å apart"),
        (_nan, "pairs/11-17/hamiltonian: 1 of .* not finite"),
        (_negative_uncertainty, "onsite/17/uncertainty: expected none below zero"),
        (_infinite_scalar, "scalar/fermi_level: expected a finite number"),
        (_missing_atom, "onsite/11/atom: expected each of the 2 atoms"),
        (_wrong_direction, "pairs/17-17: expected one of"),
        (_twice, "pairs/11-17: expected each pair once, found 1 "),
        (_wrong_species, "pairs/11-17: i and j must be atoms of species 11 and 17"),
        (_beyond_the_structure, "pairs/11-17: i and j must lie in 0..3, found 0..9"),
        (_zero_bond, "pairs/11-17: .* within 2.90 Å have no overlap"),
        (_not_positive, "overlap: .* must be positive definite"),
    ],
)
def test_each_fault_is_found_and_named(salt, spoil, sentence):
    spoil(salt)
    found = checks.check_hamiltonian(salt)
    assert any(re.search(sentence, fault) for fault in found), found


def test_blocks_that_are_not_symmetric():
    ham = gaussians(Atoms("H"))
    ham.onsite[1].hamiltonian = np.array([[[0.0, 0.1], [0.2, 0.0]]])
    assert list(checks.check_onsite(ham)) == [
        "onsite/1/hamiltonian: blocks must be symmetric, they differ by 0.1"
    ]


def test_lattice_vectors_of_positions_that_are_not_wrapped(salt):
    for pair, blocks in salt.pairs.items():
        cell_offset = blocks.cell_offset.copy()
        cell_offset[:, 0] += (blocks.j == 3).astype(int) - (blocks.i == 3)
        salt.pairs[pair] = PairBlocks(
            blocks.i, blocks.j, cell_offset, blocks.hamiltonian, blocks.overlap
        )
    found = list(checks.check_bonds(salt))
    assert any("R must be counted from positions wrapped into the cell" in f for f in found), found
