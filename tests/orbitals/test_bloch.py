import numpy as np
import pytest
import scipy.linalg

from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from tests.orbitals.tables import SIO, basis, quartz_like, random_hamiltonian

K = np.array([0.13, -0.27, 0.41])


def test_a_chain_of_s_orbitals_has_the_textbook_band():
    import ase

    e0, t, s = -1.0, 0.7, 0.1
    chain = ase.Atoms("H", cell=[2.0, 9, 9], pbc=(True, False, False))
    one = np.array([0])
    onsite = {1: OnsiteBlocks(one, np.full((1, 1, 1), e0), np.ones((1, 1, 1)))}
    cell_offset = np.array([[-1, 0, 0]])
    pairs = {
        (1, 1): PairBlocks(one, one, cell_offset, np.full((1, 1, 1), t), np.full((1, 1, 1), s))
    }
    chain = Hamiltonian(chain, basis(H=[(0, 1.1)]), onsite, pairs)
    for k in (0.0, 0.1, 0.25, 0.5):
        h, o = (bloch_matrix(chain, np.array([k, 0, 0]), f) for f in ("hamiltonian", "overlap"))
        expected = (e0 + 2 * t * np.cos(2 * np.pi * k)) / (1 + 2 * s * np.cos(2 * np.pi * k))
        assert np.real(h / o).item() == pytest.approx(expected, abs=1e-14)


def test_the_sum_runs_over_both_directions_of_every_pair():
    ham = random_hamiltonian(quartz_like(), SIO)
    start = SIO.orbital_ptr(ham.atoms.numbers)
    expected = np.zeros((ham.n_orbitals,) * 2, dtype=complex)
    for blocks in ham.onsite.values():
        for atom, h in zip(blocks.atom, blocks.hamiltonian, strict=True):
            expected[start[atom] : start[atom + 1], start[atom] : start[atom + 1]] += h
    for blocks in ham.pairs.values():
        for i, j, r, h in zip(
            blocks.i, blocks.j, blocks.cell_offset, blocks.hamiltonian, strict=True
        ):
            rows, columns = slice(start[i], start[i + 1]), slice(start[j], start[j + 1])
            expected[rows, columns] += np.exp(2j * np.pi * K @ r) * h
            expected[columns, rows] += np.exp(-2j * np.pi * K @ r) * h.T
    assert np.allclose(bloch_matrix(ham, K), expected, atol=1e-12)


def test_matrices_are_hermitian_real_at_gamma_and_equal_as_sparse():
    ham = random_hamiltonian(quartz_like(), SIO, spins=2)
    for spin in (0, 1):
        h = bloch_matrix(ham, K, spin=spin)
        assert np.allclose(h, h.conj().T, atol=1e-13)
        assert np.array_equal(bloch_matrix(ham, K, spin=spin, sparse=True).toarray(), h)
        gamma = bloch_matrix(ham, np.zeros(3), spin=spin)
        assert gamma.dtype == np.float64
        assert np.allclose(gamma, gamma.T, atol=1e-13)
    assert not np.allclose(bloch_matrix(ham, K, spin=0), bloch_matrix(ham, K, spin=1))


def test_eigenvalues_do_not_depend_on_the_cell_that_an_atom_is_counted_in():
    # Moving one atom by a lattice vector changes every R of its pairs, and must change nothing else.
    ham = random_hamiltonian(quartz_like(), SIO)
    moved = random_hamiltonian(quartz_like(), SIO)
    atom, by = 2, np.array([1, 0, -2])
    moved.atoms.positions[atom] += by @ moved.atoms.cell.array
    for blocks in moved.pairs.values():
        blocks.cell_offset = (
            blocks.cell_offset + np.outer(blocks.i == atom, by) - np.outer(blocks.j == atom, by)
        )
    eigenvalues = [
        scipy.linalg.eigvalsh(bloch_matrix(h, K), bloch_matrix(h, K, "overlap"))
        for h in (ham, moved)
    ]
    assert np.allclose(*eigenvalues, atol=1e-11)
    for pair in ham.pairs:
        assert np.allclose(ham.vectors(pair), moved.vectors(pair), atol=1e-12)
