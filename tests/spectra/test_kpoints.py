import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.dft.kpoints import monkhorst_pack as ase_monkhorst_pack

from gh_tools.errors import UsageError
from gh_tools.spectra.kpoints import (
    grid_for_density,
    kpoints_for_density,
    monkhorst_pack,
    reduced_grid,
)


@pytest.mark.parametrize("grid", [(1, 1, 1), (6, 6, 1), (5, 4, 3), (2, 2, 2), (3, 1, 1)])
def test_grid_is_gamma_centred_and_reduced_by_time_reversal(grid):
    full = monkhorst_pack(grid, time_reversal=False)
    half = monkhorst_pack(grid)
    # ASE's grid is centred on Γ for odd counts and shifted by half a step for even ones.
    shift = [0.5 / n if n % 2 == 0 else 0.0 for n in grid]
    expected = (ase_monkhorst_pack(grid) + shift + 1e-9) % 1

    def as_set(points):
        return {tuple(p) for p in np.round((points + 1e-9) % 1, 6)}

    assert as_set(full.points) == as_set(expected)
    assert len(full) == np.prod(grid)
    assert as_set(np.concatenate([half.points, -half.points])) == as_set(full.points)
    n_own = np.all(np.isclose(2 * full.points, np.round(2 * full.points)), axis=1).sum()
    assert len(half) == (len(full) + n_own) // 2
    assert not half.points[0].any()
    assert np.all(half.points > -0.5) and np.all(half.points <= 0.5)
    for kpoints in (full, half):
        assert kpoints.weights.sum() == pytest.approx(1.0, abs=1e-14)


def test_density_counts_points_per_inverse_length():
    slab = ase.Atoms("H", cell=[4.0, 8.0, 20.0], pbc=[True, True, False])
    # |b| = 2π / 4 Å = 1.57 Å⁻¹, times 3 Å: 4.7 points are needed.
    assert grid_for_density(slab, 3.0) == (5, 3, 1)
    assert grid_for_density(ase.Atoms("H"), 3.0) == (1, 1, 1)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)])
def test_a_density_gives_all_cells_of_a_lattice_the_same_points(pbc):
    cell = np.array([[3.0, 0, 0], [0.4, 4.0, 0], [0, 0, 9.0]])
    skewed = cell.copy()
    skewed[0] += 2 * cell[1]
    skewed[1] += 3 * skewed[0]
    skewed[2] += 0.7 * cell[0] if not pbc[2] else 2 * cell[1]

    def waves(cell):
        """Components of the points along the lattice's own vectors, and their weights."""
        found = kpoints_for_density(ase.Atoms("H", cell=cell, pbc=pbc), 2.0)
        assert found.weights.sum() == pytest.approx(1.0)
        assert not found.points[0].any()
        along = found.points @ np.linalg.inv(cell).T @ given.T
        rows = np.column_stack([along[:, list(pbc)], found.weights])
        # Of k and -k either is there.
        both = [{tuple((sign * row[:-1] % 1).round(6) % 1) for sign in (-1, 1)} for row in rows]
        return {(min(k), row[-1].round(6)) for k, row in zip(both, rows, strict=True)}

    given = cell
    usual = kpoints_for_density(ase.Atoms("H", cell=cell, pbc=pbc), 2.0)
    assert len(usual) == len(monkhorst_pack((5, 4, 2) if pbc[2] else (5, 4, 1)))
    assert waves(cell) == waves(skewed)


@pytest.mark.parametrize("grid", [(0, 1, 1), (2, 2), (1.5, 1, 1)])
def test_bad_grids_are_refused(grid):
    with pytest.raises(UsageError, match="three positive whole numbers"):
        monkhorst_pack(grid)


def test_bad_density_is_refused():
    with pytest.raises(UsageError, match="positive"):
        grid_for_density(ase.Atoms("H", cell=[1, 1, 1], pbc=True), 0.0)


@pytest.mark.parametrize("repeat, grid", [(1, 18), (2, 12), (4, 6), (5, 3), (8, 2), (20, 1)])
def test_grids_of_hexagonal_cells_hold_gamma_k_and_m(repeat, grid):
    """Small cells need multiples of six; in large ones, special points are folded together."""
    layer = ase.Atoms("BN", [[0, 0, 0], [0, 1.45, 0]], cell=[2.51, 2.51, 20, 90, 90, 120])
    layer.pbc = [True, True, False]
    supercell = layer.repeat((repeat, repeat, 1))
    assert reduced_grid(supercell, 5.0) == (grid, grid, 1)
    # Strain, another choice of vectors, and a third direction change nothing in the plane.
    strained = supercell.copy()
    strained.set_cell(supercell.cell.array @ np.diag([1.02, 0.99, 1]), scale_atoms=True)
    assert reduced_grid(strained, 5.0)[:2] in ((grid, grid), (grid + 1, grid), (grid, grid + 1))
    if grid >= 4:
        assert reduced_grid(strained, 5.0) == (grid, grid, 1)
        # The same from cell vectors at 60° and at 150°: K is at thirds, M at a half.
        sharp = ase.Atoms(
            cell=[[1, 0, 0], [1, 1, 0], [0, 0, 1]] @ supercell.cell.array, pbc=layer.pbc
        )
        waves = kpoints_for_density(sharp, 5.0).points @ sharp.cell.reciprocal()
        b1, b2 = supercell.cell.reciprocal()[:2]
        for special in ((b1 + b2) / 3, b1 / 2, b2 / 2):
            difference = [supercell.cell.array @ (sign * waves - special).T for sign in (1, -1)]
            away = [np.abs(d - np.round(d)).max(axis=0).min() for d in difference]
            assert min(away) < 1e-9
    crystal = supercell.copy()
    crystal.pbc = True
    assert reduced_grid(crystal, 5.0)[:2] == (grid, grid)


def test_grids_of_other_lattices_are_as_dense_as_asked_for():
    """The vectors of the primitive fcc cell are at 60° too, but span no hexagonal lattice with a third across."""
    silicon = bulk("Si")
    basis = ase.Atoms(cell=silicon.cell, pbc=True)
    assert reduced_grid(silicon, 5.0) == grid_for_density(basis, 5.0)
    square = ase.Atoms(cell=[3, 3, 20], pbc=[True, True, False])
    assert reduced_grid(square, 5.0) == (11, 11, 1)
