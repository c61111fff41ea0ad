"""Eigenvalues against analytic bands, folding, time reversal and bloch_matrix itself."""

import logging

import ase
import numpy as np
import pytest
import scipy.linalg

from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import bloch_matrices, bloch_matrix
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack

# Eigenvalues of a few eV from matrices of a few rows: rounding is a few 1e-15.
EXACT = 1e-12


def test_chain_is_a_cosine(chain):
    kpoints = monkhorst_pack((16, 1, 1))
    eigenvalues = solve(chain(hopping=-1.3), kpoints)
    expected = -2.6 * np.cos(2 * np.pi * kpoints.points[:, 0])
    np.testing.assert_allclose(eigenvalues.energies[0, :, 0], expected, atol=EXACT)
    assert eigenvalues.degeneracy == 2
    assert eigenvalues.states.sum() == pytest.approx(2.0, abs=1e-13)


def test_non_orthogonal_chain(chain):
    kpoints = monkhorst_pack((16, 1, 1))
    cosine = np.cos(2 * np.pi * kpoints.points[:, 0])
    eigenvalues = solve(chain(hopping=-1.3, overlap=0.2), kpoints)
    expected = -2.6 * cosine / (1 + 0.4 * cosine)
    np.testing.assert_allclose(eigenvalues.energies[0, :, 0], expected, atol=EXACT)


def test_heteronuclear_non_orthogonal_dimer(tight_binding):
    atoms = ase.Atoms("HLi", positions=[[0, 0, 0], [1, 0, 0]])
    ea, eb, t, s = -5.0, -1.0, -2.0, 0.3
    eigenvalues = solve(tight_binding(atoms, {1: ea, 3: eb}, t, 1.5, s), monkhorst_pack((1, 1, 1)))
    # det(H - ES) = 0: (1 - s²) E² - (ea + eb - 2ts) E + ea eb - t² = 0.
    energy = np.sort(np.roots([1 - s**2, -(ea + eb - 2 * t * s), ea * eb - t**2]))
    np.testing.assert_allclose(eigenvalues.energies[0, 0], energy, atol=EXACT)
    # From the secular equation c_b / c_a = -(ea - E) / (t - E s); P_a = c_a² + s c_a c_b over norm.
    ratio = -(ea - energy) / (t - energy * s)
    norm = 1 + ratio**2 + 2 * s * ratio
    np.testing.assert_allclose(eigenvalues.projections[0, 0, 0], (1 + s * ratio) / norm, atol=EXACT)
    np.testing.assert_allclose(eigenvalues.projections.sum(axis=0), 1.0, atol=EXACT)


def test_graphene_bands(graphene):
    kpoints = monkhorst_pack((6, 6, 1))
    eigenvalues = solve(graphene(mass=0.4), kpoints)
    k1, k2, _ = 2 * np.pi * kpoints.points.T
    form = np.abs(1 + np.exp(1j * k1) + np.exp(1j * k2))
    expected = np.sqrt(0.4**2 + (2.7 * form) ** 2)
    np.testing.assert_allclose(eigenvalues.energies[0, :, 1], expected, atol=EXACT)
    np.testing.assert_allclose(eigenvalues.energies[0, :, 0], -expected, atol=EXACT)


def test_batched_sums_are_the_single_ones(graphene):
    hamiltonian = graphene(supercell=(2, 1, 1), overlap=0.1, splitting=0.5)
    points = np.array([[0, 0, 0], [0.5, 0, 0], [0.13, -0.4, 0], [0.25, 0.5, 0]])
    for field, spin in [("overlap", 0), ("hamiltonian", 0), ("hamiltonian", 1)]:
        for point, matrix in zip(
            points, bloch_matrices(hamiltonian, points, field, spin), strict=True
        ):
            expected = bloch_matrix(hamiltonian, point, field, spin)
            np.testing.assert_allclose(matrix, expected, atol=EXACT)
            assert matrix.dtype == expected.dtype
            assert np.isrealobj(matrix) == np.all(2 * point == np.round(2 * point))


def test_half_of_the_grid_has_the_eigenvalues_and_weights_of_all_of_it(graphene):
    hamiltonian = graphene(supercell=(2, 1, 1), mass=0.3, overlap=0.1)
    full = solve(hamiltonian, monkhorst_pack((4, 3, 1), time_reversal=False))
    half = solve(hamiltonian, monkhorst_pack((4, 3, 1)))
    for power in range(1, 5):  # moments of the total spectrum and of a projected one
        total = [
            np.sum(eigenvalues.states * eigenvalues.energies**power) for eigenvalues in (full, half)
        ]
        projected = [
            np.sum(eigenvalues.states * eigenvalues.projections[0] * eigenvalues.energies**power)
            for eigenvalues in (full, half)
        ]
        assert total[0] == pytest.approx(total[1], abs=1e-9)
        assert projected[0] == pytest.approx(projected[1], abs=1e-9)


def test_supercell_folds_the_bands(graphene):
    primitive = solve(graphene(mass=0.3, overlap=0.1), monkhorst_pack((4, 4, 1)))
    folded = solve(graphene((2, 1, 1), mass=0.3, overlap=0.1), monkhorst_pack((2, 4, 1)))
    many = np.repeat(primitive.energies.ravel(), np.rint(primitive.states * 8).astype(int).ravel())
    few = np.repeat(folded.energies.ravel(), np.rint(folded.states * 4).astype(int).ravel())
    np.testing.assert_allclose(np.sort(many), np.sort(few), atol=1e-11)


def test_spin_channels(chain):
    kpoints = monkhorst_pack((8, 1, 1))
    paired = solve(chain(overlap=0.1), kpoints)
    polarised = solve(chain(overlap=0.1, splitting=0.6), kpoints)
    assert (paired.degeneracy, polarised.degeneracy) == (2, 1)
    assert polarised.states.sum() == pytest.approx(paired.states.sum(), abs=1e-13)
    for spin, shift in enumerate([-0.3, 0.3]):
        np.testing.assert_allclose(polarised.energies[spin], paired.energies[0] + shift, atol=EXACT)


def test_eigenvalues_alone_are_the_same(graphene):
    hamiltonian, kpoints = graphene(mass=0.1, overlap=0.1), monkhorst_pack((3, 3, 1))
    eigenvalues = solve(hamiltonian, kpoints, projected=False)
    assert eigenvalues.projections is None
    np.testing.assert_allclose(
        eigenvalues.energies, solve(hamiltonian, kpoints).energies, atol=EXACT
    )


def test_overlap_that_is_not_positive_is_an_error_naming_the_basis(tight_binding):
    atoms = ase.Atoms("HLi", positions=[[0, 0, 0], [1, 0, 0]])
    hamiltonian = tight_binding(atoms, {1: 0.0, 3: 0.0}, -1.0, 1.5, overlap=1.1)
    with pytest.raises(DataError, match=r"not positive definite.*basis") as caught:
        solve(hamiltonian, monkhorst_pack((1, 1, 1)))
    assert "-1.0e-01" in str(caught.value)


def test_poor_overlap_is_a_warning_naming_the_basis(tight_binding, caplog):
    atoms = ase.Atoms("HLi", positions=[[0, 0, 0], [1, 0, 0]])
    hamiltonian = tight_binding(atoms, {1: 0.0, 3: 0.0}, -1.0, 1.5, overlap=1 - 1e-5)
    logger = logging.getLogger("gh_tools")
    logger.addHandler(caplog.handler)
    try:
        eigenvalues = solve(hamiltonian, monkhorst_pack((1, 1, 1)))
    finally:
        logger.removeHandler(caplog.handler)
    assert "eigenvalue 1.0e-05" in caplog.text and "basis 's'" in caplog.text
    # The warning is about H's errors; exact input still gives E = ±t / (1 ± s) to 1e-16 / 1e-5.
    np.testing.assert_allclose(eigenvalues.energies[0, 0], [-1 / (2 - 1e-5), 1 / 1e-5], rtol=1e-10)


def test_nan_is_an_error(chain):
    hamiltonian = chain()
    hamiltonian.onsite[1].hamiltonian[0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        solve(hamiltonian, monkhorst_pack((4, 1, 1)))


def test_random_blocks_against_scipy_on_a_supercell():
    """Several orbitals a site and unlike sites: weights against eigenvectors by inverse S."""
    rng = np.random.default_rng(0)
    from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
    from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks

    basis = Basis(
        {
            8: ElementBasis(8, (Shell(0, 3.0), Shell(1, 3.0)), 6.0),
            14: ElementBasis(14, (Shell(2, 3.0),), 4.0),
        }
    )
    atoms = ase.Atoms("SiO", positions=[[0, 0, 0], [1, 1, 0]], cell=[3, 3, 3], pbc=True)
    cell_offset = np.array([[0, 0, 0], [1, 0, 0], [0, -1, 1]])
    symmetric = {z: rng.normal(size=(1, n, n)) for z, n in [(8, 4), (14, 5)]}
    onsite = {
        z: OnsiteBlocks(
            np.array([a]),
            symmetric[z] + symmetric[z].transpose(0, 2, 1),
            np.eye(basis[z].n_orbitals)[None],
        )
        for z, a in [(8, 1), (14, 0)]
    }
    pairs = {
        (8, 14): PairBlocks(
            np.full(3, 1),
            np.full(3, 0),
            cell_offset,
            rng.normal(size=(3, 4, 5)),
            0.05 * rng.normal(size=(3, 4, 5)),
        )
    }
    hamiltonian = Hamiltonian(atoms, basis, onsite, pairs)
    k = np.array([0.21, -0.37, 0.11])
    eigenvalues = solve(hamiltonian, KPoints(k[None], np.ones(1)))
    # Written out by hand: silicon's five orbitals first.
    phase = np.exp(2j * np.pi * cell_offset @ k)
    matrices = {}
    for field in ("hamiltonian", "overlap"):
        coupling = np.einsum("r,rab->ab", phase, getattr(pairs[8, 14], field))
        matrices[field] = np.block(
            [
                [getattr(onsite[14], field)[0], coupling.conj().T],
                [coupling, getattr(onsite[8], field)[0]],
            ]
        )
    inverse = np.linalg.solve(matrices["overlap"], matrices["hamiltonian"])
    values, vectors = scipy.linalg.eig(inverse)
    order = np.argsort(values.real)
    values, vectors = values[order].real, vectors[:, order]
    np.testing.assert_allclose(eigenvalues.energies[0, 0], values, atol=1e-11)
    weights = (vectors.conj() * (matrices["overlap"] @ vectors)).real
    oxygen = weights[5:].sum(axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(eigenvalues.projections[0, 0, 0], oxygen, atol=1e-10)
