"""The primitive cell that a structure repeats, and the band path that follows from it."""

import numpy as np
import pytest
from ase.build import bulk, graphene, mx2
from ase.spacegroup import crystal

from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.bands import band_structure
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.primitive import supercell_matrix
from gh_tools.structures.supercells import hermite_normal_forms, supercell
from gh_tools.structures.transform import Transformations, transform

BN = graphene("BN", a=2.504, vacuum=5.0)
BN.pbc = [True, True, False]
MOS2 = mx2("MoS2", vacuum=6.0)


def cells(atoms):
    return abs(round(np.linalg.det(supercell_matrix(atoms))))


def changed(atoms, seed, **options):
    return transform(atoms, Transformations(**options), np.random.default_rng(seed))[0]


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (BN, 1),
        (bulk("Si"), 1),
        (bulk("Si", cubic=True), 4),
        (bulk("Fe", cubic=True), 2),
        (bulk("MgO", "rocksalt", a=4.2, cubic=True), 4),
        (crystal(["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)], spacegroup=167, cellpar=[4.76, 4.76, 12.99, 90, 90, 120]), 3),
        (crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.59, 4.59, 2.96, 90, 90, 90]), 1),
    ],
)  # fmt: skip
def test_primitive_cells_of_crystals(atoms, expected):
    # The centrings of the space groups say how many there are: F has 4, I has 2, R in hexagonal axes 3.
    assert cells(atoms) == expected


def test_every_sublattice_gives_back_its_primitive_lattice():
    for atoms in (BN, bulk("Si")):
        periodic = atoms.pbc
        d = int(periodic.sum())
        for form in hermite_normal_forms(6, d)[:: 1 if d == 2 else 5]:
            matrix = np.eye(3, dtype=int)
            matrix[np.ix_(periodic, periodic)] = form
            large = supercell(atoms, matrix)
            found = supercell_matrix(large)
            primitive = np.linalg.solve(found, large.cell.array)
            # Another basis of the same lattice.
            change = (primitive @ np.linalg.inv(atoms.cell.array))[np.ix_(periodic, periodic)]
            np.testing.assert_allclose(change, np.rint(change), atol=1e-9)
            assert abs(np.linalg.det(change)) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_strain_displacements_and_defects_do_not_hide_it(seed):
    large = changed(BN, seed, size=(4, 4, 1), strain=0.03, rattle=0.05, vacancies={"B": 1})
    assert cells(large) == 16
    small = changed(BN, seed, size=(2, 2, 1), strain=0.03, rattle=0.05, vacancies={"B": 1})
    assert cells(small) == 4
    varied = changed(MOS2, seed, size="varied", strain=0.02, rattle=0.08)
    assert cells(varied) == len(varied) / 3
    doped = changed(
        bulk("Si", cubic=True), seed, size=(2, 2, 2), rattle=0.05, substitute={"Si": {"Ge": 2}}
    )
    assert cells(doped) == 32  # fmt: skip
    # Vectors are exact multiples, whatever the displacements are.
    large = changed(BN, seed, size=(4, 4, 1), rattle=0.05)
    primitive = np.linalg.solve(supercell_matrix(large), large.cell.array)
    np.testing.assert_allclose(np.linalg.norm(primitive[:2], axis=1), 2.504, atol=1e-9)


def test_crystals_of_their_own_are_no_supercells():
    # A double perovskite is a simple cubic perovskite but for the order of Ag and Bi.
    sites = [(0, 0, 0), (0.5, 0, 0), (0.25, 0.25, 0.25), (0.25, 0, 0)]
    double = crystal(["Ag", "Bi", "Cs", "Br"], sites, spacegroup=225, cellpar=[11.2] * 3 + [90] * 3)
    assert cells(double) == 4
    # Tilted octahedra: four cells of a cubic perovskite but for displacements of half an Å.
    sites = [(0.0356, 0.25, 0.9928), (0, 0, 0.5), (0.4838, 0.25, 0.0722), (0.2894, 0.0373, 0.7108)]
    tilted = crystal(
        ["Ca", "Ti", "O", "O"], sites, spacegroup=62, cellpar=[5.44, 7.64, 5.38, 90, 90, 90]
    )
    assert cells(tilted) == 1
    assert cells(changed(tilted, 0, size=(2, 2, 1), rattle=0.03)) == 4
    alloy = changed(bulk("Ag", cubic=True), 0, size=(2, 2, 2), substitute={"Ag": {"Au": 0.5}})
    assert cells(alloy) == 1


@pytest.mark.parametrize(
    "matrix", [np.diag([2, 2, 1]), np.diag([4, 2, 1]), [[2, 1, 0], [0, 3, 0], [0, 0, 1]]]
)
def test_bands_of_a_supercell_along_its_path_hold_those_of_the_primitive_cell(
    tight_binding, matrix
):
    large = supercell(BN, np.array(matrix))
    config = SamplingConfig(kpts=(3, 3, 1))
    named = {}
    for atoms in (BN, large):
        hamiltonian = tight_binding(atoms, {5: 1.0, 7: -1.0}, -2.5, 1.6)
        path = band_path(hamiltonian.atoms, "GMKG", 25)
        named[len(atoms)] = path, band_structure(hamiltonian, path, config)
    (path, bands), (of_large, folded) = named.values()
    n = len(large) // len(BN)
    assert (path.primitive_cells, of_large.primitive_cells) == (1, n)
    assert of_large.lattice == "primitive hexagonal"
    assert "folded" in of_large.describe()[1]
    np.testing.assert_allclose(folded.distance, bands.distance, atol=1e-9)
    for own, all_bands in zip(bands.energies[0], folded.energies[0], strict=True):
        assert len(all_bands) == n * len(own)
        for energy in own:
            assert np.abs(all_bands - energy).min() < 1e-9
