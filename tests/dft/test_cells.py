"""Labels do not depend on which cell vectors of a lattice were given, against plain GPAW in cells that it can do."""

import ase
import numpy as np
import pytest
import scipy.linalg
from ase.build import bulk, make_supercell
from ase.cell import Cell

from gh_tools.dft.basis_sets import basis_table, gpaw_arguments
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.run_cell import with_reduced_cell
from gh_tools.dft.sampling import kpoint_sampling
from gh_tools.dft.scf import label_structure
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.structures import registry
from gh_tools.structures.generate import generate
from tests.dft.conftest import WSE2

# Eigenvalues of all cells come from the same grid, and differ by rounding, which self-consistency magnifies
# little: two cycles of the same steps. The bound is the demand on labels in general.
SAME = 1e-6


def eigenvalues(hamiltonian, k, spin=0):
    h, s = (
        bloch_matrix(
            hamiltonian,
            np.asarray(k, dtype=float),
            field,
            spin=spin if field == "hamiltonian" else 0,
        )
        for field in ("hamiltonian", "overlap")
    )
    return scipy.linalg.eigh(h, s, eigvals_only=True)


def in_cell(atoms, matrix):
    """The same crystal in a cell of other vectors, integer combinations of its own."""
    atoms = atoms.copy()
    atoms.set_cell(np.array(matrix) @ atoms.cell.array)
    return atoms


def labelled(atoms, config, tmp_path):
    result = label_structure(
        atoms, config, basis_table(config, atoms.numbers), tmp_path / "gpaw.txt"
    )
    np.testing.assert_array_equal(result.atoms.cell.array, atoms.cell.array)
    assert result.scalars["eigenvalue_error"] < 0.01
    return result


def plain_gpaw(atoms, config, basis, kpts):
    """A calculator with the settings of `config`, in the cell that the structure has."""
    from gpaw.new.ase_interface import GPAW

    atoms.calc = GPAW(
        mode="lcao",
        xc="PBE",
        h=config.h,
        nbands="nao",
        occupations={"name": "fermi-dirac", "width": config.smearing},
        convergence=config.convergence.model_dump(),
        kpts=kpts,
        txt=None,
        **gpaw_arguments(basis),
    )
    atoms.get_potential_energy()
    return atoms.calc


def test_silicon_at_gamma_in_a_skewed_cell(tmp_path):
    """19° between vectors: GPAW itself gives 4.811 eV and an energy of 4.106 eV in this cell."""
    atoms = in_cell(bulk("Si"), [[1, 0, 0], [2, 1, 0], [0, 0, 1]])
    config = LabelConfig(h=0.25, basis="dzp", kpts=(1, 1, 1))
    result = labelled(atoms, config, tmp_path)
    # In the primitive cell of 60°, the numbers of plain GPAW with the same settings.
    assert eigenvalues(result, [0, 0, 0])[1] == pytest.approx(6.388, abs=5e-4)
    assert result.scalars["energy"] == pytest.approx(6.636, abs=5e-4)


def test_a_left_handed_skewed_crystal_with_few_k_points(tmp_path):
    """Its k grid is none along the vectors of the primitive cell, in which plain GPAW is the reference."""
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=3)
    matrix = np.array([[0, 1, 1], [1, 3, 0], [0, 1, 0]])
    assert round(np.linalg.det(matrix)) == 1 and np.linalg.det(atoms.cell.array) > 0
    matrix[1] *= -1
    skewed = in_cell(atoms, matrix)
    config = LabelConfig(h=0.3, kpts=(1, 3, 2))
    result = labelled(skewed, config, tmp_path)

    grid = np.indices((1, 3, 2)).reshape(3, -1).T / [1, 3, 2]
    assert "kpts" in kpoint_sampling(skewed, config)
    calculator = plain_gpaw(atoms, config, result.basis, grid @ np.linalg.inv(matrix).T)
    energy = calculator.get_potential_energy()
    assert result.scalars["energy"] == pytest.approx(energy, abs=SAME)
    assert result.scalars["fermi_level"] == pytest.approx(calculator.get_fermi_level(), abs=SAME)
    for k in (np.array([0.11, -0.23, 0.37]), np.array([0.5, 0.0, 0.1])):
        fixed = calculator.fixed_density(kpts=[k], symmetry="off", txt=None)
        found = eigenvalues(result, matrix @ k)
        np.testing.assert_allclose(found, fixed.get_eigenvalues(kpt=0), atol=SAME)
    # The stored k-points are those that were asked for, of k and -k one.
    assert result.bands.weight.sum() == pytest.approx(1)
    stored = {tuple((sign * k % 1).round(6) % 1) for k in result.bands.kpoint for sign in (-1, 1)}
    assert stored == {tuple((k % 1).round(6) % 1) for k in grid}


@pytest.mark.parametrize("matrix", [[[2, 1], [1, 1]], [[1, 1], [1, 0]]], ids=["11", "60"])
def test_a_slab_with_an_oblique_third_vector(matrix, case, tmp_path):
    """11° between the vectors in the plane; or 60°, in which GPAW itself differs by 20 meV."""
    reference = case("wse2")
    matrix = scipy.linalg.block_diag(matrix, 1)
    atoms = in_cell(reference.atoms, matrix)
    atoms.cell[2] += 0.7 * atoms.cell[0] - 1.3 * atoms.cell[1]
    result = labelled(atoms, LabelConfig(**WSE2), tmp_path)
    for k in np.array([[0, 0, 0], [0.13, -0.29, 0]]):
        expected = eigenvalues(reference.hamiltonian, k)
        np.testing.assert_allclose(eigenvalues(result, matrix @ k), expected, atol=SAME)
    for name in ("fermi_level", "energy"):
        expected = reference.hamiltonian.scalars[name]
        assert result.scalars[name] == pytest.approx(expected, abs=SAME)


def test_a_wire_with_spin_in_an_oblique_cell(tmp_path):
    # Few steps: the moment vanishes slowly, and each step would make more of the last bit, by which the cells differ.
    few = {"energy": 5e-4}
    config = LabelConfig(
        h=0.3, kpts=(1, 4, 1), spin="collinear", magmoms={"H": 1.0}, vacuum=2.5, convergence=few
    )
    positions = [(3.5, 0.1, 3.0), (3.3, 1.3, 3.1)]
    box = ase.Atoms("H2", positions, cell=np.diag([7, 2.6, 6]), pbc=[False, True, False])
    oblique = box.copy()
    oblique.set_cell([[7.0, 1.1, 0], [0, 2.6, 0], [1.4, 0.7, 6.0]])
    expected, found = (labelled(atoms, config, tmp_path) for atoms in (box, oblique))
    assert expected.n_spins == found.n_spins == 2
    for spin in range(2):
        for k in ([0, 0, 0], [0, 0.21, 0]):
            np.testing.assert_allclose(
                eigenvalues(found, k, spin), eigenvalues(expected, k, spin), atol=SAME
            )
    for name, value in expected.scalars.items():
        assert found.scalars[name] == pytest.approx(value, abs=SAME)


def test_a_molecule_in_an_oblique_cell(tmp_path):
    config = LabelConfig(h=0.3, vacuum=2.5)
    box = ase.Atoms("HF", [(3, 3, 3), (3, 3.2, 3.9)], cell=np.diag([7, 6, 6.5]))
    oblique = box.copy()
    oblique.set_cell([[7.0, 0, 0], [3.0, 6.0, 0], [-1.4, 4.7, 6.5]])
    expected, found = (labelled(atoms, config, tmp_path) for atoms in (box, oblique))
    for key, blocks in expected.groups():
        other = dict(found.groups())[key]
        np.testing.assert_allclose(other.hamiltonian, blocks.hamiltonian, atol=SAME)


def test_a_rhombohedral_crystal_against_its_hexagonal_cell(tmp_path):
    """Angles of 40° and three shortest vectors to choose from; the reference has 90° and 120°, and three atoms."""
    atoms = ase.Atoms("Al", cell=Cell.fromcellpar([4.6, 4.6, 4.6, 40, 40, 40]), pbc=True)
    config = LabelConfig(h=0.25, kpts=(3, 3, 3))
    result = labelled(atoms, config, tmp_path)
    hexagonal = make_supercell(atoms, [[1, -1, 0], [0, 1, -1], [1, 1, 1]])
    # The 27 points of the rhombohedral grid, folded.
    kpts = [(p / 3, q / 3, (p - q) / 3) for p in range(3) for q in range(3)]
    reference = plain_gpaw(hexagonal, config, result.basis, kpts)
    # The grids differ. Moved against its grid, the energy of this crystal changes by 4 meV, and its Fermi level by
    # less than the 0.5 meV that self-consistency leaves. GPAW's in the cell of 40° are off by 24 and 2 meV.
    assert result.scalars["energy"] == pytest.approx(reference.get_potential_energy() / 3, abs=4e-3)
    assert result.scalars["fermi_level"] == pytest.approx(reference.get_fermi_level(), abs=5e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("wse2", {}), ("wse2", {"orthogonal": False, "size": (2, 2)}), ("tmd", {})],
)
def test_cells_of_recipes_are_left_as_they_are(name, options):
    """Strained ones, too: labels are those of earlier versions to the last digit."""
    recipe = registry.get_recipe(name)
    config = recipe.config(**options)
    for atoms in generate(recipe, config, 10).atoms:
        np.testing.assert_array_equal(with_reduced_cell(atoms).cell.array, atoms.cell.array)


def test_a_shifted_grid_is_the_mean_value_point_of_supercells(tmp_path):
    """Grids of 2 x 1 x 1 and of one point, shifted by a quarter of a step, sample the same states in a cell and its double."""
    cell = ase.Atoms("H2", [(0.1, 0.2, 0.3), (0.8, 0.4, 0.3)], cell=[2.4, 2.6, 2.8], pbc=True)
    small, large = (
        labelled(atoms, LabelConfig(h=0.3, kpts=kpts, kpts_shift=0.25), tmp_path)
        for atoms, kpts in ((cell, (2, 1, 1)), (cell.repeat((2, 1, 1)), (1, 1, 1)))
    )
    assert large.scalars["energy"] == pytest.approx(2 * small.scalars["energy"], abs=4 * SAME)
    k = np.array([0.3, 0.1, -0.2])
    folded = np.sort(np.concatenate([eigenvalues(small, k + [half, 0, 0]) for half in (0.0, 0.5)]))
    np.testing.assert_allclose(eigenvalues(large, k * [2, 1, 1]), folded, atol=4 * SAME)


def test_a_shifted_grid_is_that_of_its_own_cell(tmp_path):
    """Written in the vectors of any cell of the lattice, with the points opposite to it, and along periods alone."""
    given = LabelConfig(kpts=(3, 1, 2), kpts_shift=0.25)
    skewed = in_cell(bulk("Si"), [[1, 0, 0], [2, 1, 0], [0, 0, 1]])
    change = with_reduced_cell(skewed).cell.array @ np.linalg.inv(skewed.cell.array)
    found = kpoint_sampling(skewed, given)["kpts"] @ np.linalg.inv(change).T
    grid = (np.indices((3, 1, 2)).reshape(3, -1).T + 0.25) / [3, 1, 2]
    wanted = np.concatenate([grid, -grid])
    apart = found[:, None] - wanted
    assert len(found) == len(wanted)
    assert (np.abs(apart - np.round(apart)).max(axis=2) < 1e-9).any(axis=0).all()
    sheet = skewed.copy()
    sheet.pbc = [True, True, False]
    assert not kpoint_sampling(sheet, given)["kpts"][:, 2].any()
    half = kpoint_sampling(bulk("Si"), LabelConfig(kpts=(1, 1, 1), kpts_shift=0.5))
    np.testing.assert_allclose(half["kpts"], [[0.5, 0.5, 0.5]])
