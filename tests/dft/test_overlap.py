"""S from the basis table alone, against GPAW, geometry and group theory."""

import json
import subprocess
import sys

import ase
import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import overlap
from gh_tools.dft.two_center import solid_harmonics
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.order import wigner_d
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped


def overlap_hamiltonian(atoms, basis, cutoffs=None):
    pairs = stored_pairs(atoms, cutoffs or basis_cutoffs(basis))
    onsite, blocks = overlap(atoms, basis, pairs)
    return Hamiltonian(
        atoms,
        basis,
        {z: OnsiteBlocks(np.flatnonzero(atoms.numbers == z), None, s) for z, s in onsite.items()},
        {key: PairBlocks(*pairs[key][:3], None, s) for key, s in blocks.items()},
    )


# Within the sum of two reaches: what projectors of third atoms carry beyond is left out, which
# matters where a basis is confined until its edge is steep.
@pytest.mark.parametrize(("name", "tolerance"), [("wse2", 1e-6), ("hafnia", 1e-6), ("gold", 1e-5)])
def test_overlap_without_scf_is_that_of_gpaw(case, name, tolerance):
    made = case(name)
    atoms, basis = wrapped(made.atoms), made.hamiltonian.basis
    computed = overlap_hamiltonian(atoms, basis)
    k = np.array([0.21, -0.37, 0.11]) * atoms.pbc
    _, reference = made.reference(k)
    np.testing.assert_allclose(bloch_matrix(computed, k, "overlap"), reference, atol=tolerance)


def test_overlap_rotates_with_the_molecule_up_to_l_three():
    atoms = ase.Atoms("HfOSiHf", [(0, 0, 0), (1.9, 0.3, 0.2), (0.4, 2.1, -0.8), (-0.7, 0.9, 2.6)])
    basis = basis_table(LabelConfig(energy_shift={"Hf": 0.3}), atoms.numbers)
    rotation = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    rotated = atoms.copy()
    rotated.positions = atoms.positions @ rotation.T
    before, after = (overlap_hamiltonian(a, basis) for a in (atoms, rotated))
    d = {z: wigner_d(basis[z].degrees, rotation) for z in basis.numbers}
    for (key, one), (_, other) in zip(before.groups(), after.groups(), strict=True):
        zi, zj = (key, key) if isinstance(key, int) else key
        np.testing.assert_allclose(other.overlap, d[zi] @ one.overlap @ d[zj].T, atol=1e-10)


def test_overlap_of_a_distorted_supercell_is_positive_and_extensive():
    config = LabelConfig(setups={"Ag": "11"}, energy_shift={"Ag": 0.3})
    atoms = bulk("Ag", a=4.1, cubic=True) * (2, 2, 2)
    basis = basis_table(config, atoms.numbers)
    assert basis[47].n_valence == 11
    atoms.rattle(0.1, seed=3)
    s = bloch_matrix(overlap_hamiltonian(wrapped(atoms), basis), np.zeros(3), "overlap")
    twice = bloch_matrix(
        overlap_hamiltonian(wrapped(atoms * (2, 1, 1)), basis), np.zeros(3), "overlap"
    )
    # At Γ, the sum over both halves of a doubled cell is the small cell's matrix.
    n = len(s)
    np.testing.assert_allclose(twice[:n, :n] + twice[:n, n:], s, atol=1e-10)
    assert np.linalg.eigvalsh(s)[0] > 0.05


def test_overlap_needs_no_basis_file(tmp_path):
    # In a Python that finds no basis file at all, from nothing but the arrays of a store.
    basis = basis_table(LabelConfig(energy_shift={"Hf": 0.3}), [8, 72])
    table = {key: values.tolist() for key, values in basis.to_arrays().items()}
    (tmp_path / "basis.json").write_text(json.dumps(table))
    script = """
import sys, json, numpy as np, ase, gpaw.basis_data
def refuse(*args, **kwargs):
    raise FileNotFoundError("no basis files here")
gpaw.basis_data.search_for_file = refuse
from gh_tools.orbitals.basis import Basis
from gh_tools.dft.overlap import overlap
basis = Basis.from_arrays({k: np.array(v) for k, v in json.load(open(sys.argv[1])).items()})
pairs = {(8, 72): (np.array([0]), np.array([1]), np.zeros((1, 3), int))}
_, blocks = overlap(ase.Atoms("OHf", [(0, 0, 0), (0, 1.2, 1.6)]), basis, pairs)
np.save(sys.argv[2], blocks[8, 72])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "basis.json", tmp_path / "s.npy"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    atoms = ase.Atoms("OHf", [(0, 0, 0), (0, 1.2, 1.6)])
    here = overlap(atoms, basis, stored_pairs(atoms, {(8, 72): 3.0}))[1][8, 72]
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), here)


def test_other_paw_setups_and_unknown_elements_are_refused():
    basis = basis_table(LabelConfig(), [8])
    element = basis[8]
    other = Basis({8: type(element)(**vars(element) | {"fingerprint": "0" * 32})})
    atoms = ase.Atoms("O", [(0, 0, 0)])
    with pytest.raises(DataError, match="fingerprint"):
        overlap(atoms, other, {})
    with pytest.raises(DataError, match="no basis is known for Si"):
        overlap(ase.Atoms("Si"), basis, {})


def test_solid_harmonics_are_orthonormal_on_the_sphere():
    # Gauss-Legendre times uniform quadrature, exact for products of degree up to 12.
    z, weight = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * np.pi / 8
    rho = np.sqrt(1 - z**2)[:, None]
    points = np.stack([rho * np.cos(phi), rho * np.sin(phi), np.repeat(z[:, None], 16, 1)], axis=-1)
    values = solid_harmonics(6, points.reshape(-1, 3))
    weights = np.repeat(weight, 16) * np.pi / 8
    np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye(49), atol=1e-12)
