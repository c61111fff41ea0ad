"""Adsorbates above layers: which atoms are of the surface, where adsorbates are, and what is refused."""

import numpy as np
import pytest
from ase.build import add_vacuum, fcc111, graphene, mx2

from gh_tools.errors import DataError
from gh_tools.structures.adsorption import surface_atoms
from gh_tools.structures.transform import Transformations, transform

UP = np.array([0.0, 0.0, 1.0])


def changed(atoms, seed=0, **options):
    return transform(atoms, Transformations(**options), np.random.default_rng(seed))


def test_surface_atoms_are_those_that_ase_tags_as_the_first_plane():
    slab = fcc111("Ag", (3, 3, 4), vacuum=6.0)
    slab.pbc = [True, True, False]
    assert surface_atoms(slab, UP).tolist() == np.flatnonzero(slab.get_tags() == 1).tolist()
    assert surface_atoms(slab, -UP).tolist() == np.flatnonzero(slab.get_tags() == 4).tolist()
    layer = mx2("MoS2", vacuum=6.0).repeat((2, 2, 1))
    upper = (layer.symbols == "S") & (layer.positions[:, 2] > layer.positions[:, 2].mean())
    assert surface_atoms(layer, UP).tolist() == np.flatnonzero(upper).tolist()


@pytest.mark.parametrize("rotated", [False, True])
def test_adsorbates_are_as_high_as_asked_and_keep_their_shape(rotated):
    layer = mx2("MoS2", vacuum=6.0).repeat((3, 3, 1))
    if rotated:  # the layer may be of any two cell vectors, and its cell of any handedness
        layer.rotate(90, "x", rotate_cell=True)
        layer.set_cell(layer.cell.array[[2, 1, 0]])
        layer.pbc = [False, True, True]
    across = int(np.flatnonzero(~layer.pbc)[0])
    up = layer.cell.array[across] / np.linalg.norm(layer.cell.array[across])
    made, columns = changed(layer, adsorb={"H2O": 2, "Li": 1}, height=2.5)
    assert made.symbols[-7:].get_chemical_formula() == "H4LiO2"
    assert columns["h2o_adsorbed"].value == 2
    assert columns["li_coverage"].value == pytest.approx(1 / 9)
    heights = layer.positions @ up
    for molecule in (made[-7:-4], made[-4:-1], made[-1:]):
        lowest = molecule.positions[np.argmin(molecule.positions @ up)]
        away = lowest - layer.positions
        away -= np.rint(away @ np.linalg.pinv(layer.cell.array)) @ layer.cell.array
        assert np.linalg.norm(away - 2.5 * up, axis=1).min() < 1e-6
        assert lowest @ up == pytest.approx(heights.max() + 2.5)
    water = made[-7:-4]
    assert water.get_distance(0, 1) == pytest.approx(0.9690, abs=1e-3)
    assert water.get_angle(1, 0, 2) == pytest.approx(104, abs=1)
    # The empty space above stays.
    empty = made.cell.array[across] @ up - (made.positions @ up).max()
    assert empty == pytest.approx(layer.cell.array[across] @ up - heights.max())


def test_molecules_have_every_orientation_and_rates_their_mean():
    layer = graphene(vacuum=5.0)
    layer.pbc = [True, True, False]
    axes, counts = [], []
    for seed in range(200):
        made, columns = changed(layer, seed, size=(2, 2, 1), adsorb={"CO": 0.25}, height=3.0)
        counts.append(columns["co_adsorbed"].value)
        molecules = made.positions[8:].reshape(-1, 2, 3)
        axes += list(molecules[:, 1] - molecules[:, 0])
    assert abs(np.mean(counts) - 2.0) < 4 * np.sqrt(8 * 0.25 * 0.75 / 200)
    axes = np.array(axes) / np.linalg.norm(axes, axis=1)[:, None]
    # Second moments of a uniform direction: 1/3, with a variance of 4/45.
    assert np.abs(axes.T @ axes / len(axes) - np.eye(3) / 3).max() < 4 * np.sqrt(4 / 45 / len(axes))
    assert np.abs(axes.mean(axis=0)).max() < 4 * np.sqrt(1 / 3 / len(axes))


def test_what_cannot_adsorb_is_refused():
    with pytest.raises(ValueError, match=r"adsorb\n.*no element 'H20', nor a molecule"):
        Transformations(adsorb={"H20": 1})
    layer = graphene(vacuum=5.0)
    layer.pbc = [True, True, False]
    with pytest.raises(DataError, match="adsorption of H: 3 atoms are asked for, but there are 2"):
        changed(layer, adsorb={"H": 3})
    add_vacuum(layer, 1.0)
    layer.pbc = True
    with pytest.raises(DataError, match="set pbc, as in"):
        changed(layer, adsorb={"H": 1})
