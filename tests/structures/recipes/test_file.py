"""The recipe file: what ASE writes comes back, with the numbers of its info as columns."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.structures.generate import generate
from gh_tools.structures.recipes.file import FileConfig
from gh_tools.structures.registry import NAMES, get_recipe

FILE = get_recipe("file")


def read(*paths, n=None, **options):
    return generate(FILE, FileConfig(paths=[str(path) for path in paths], **options), n)


@pytest.fixture
def trajectory(tmp_path):
    """Three images: two of salt with a temperature, one of water with a name."""
    images = [bulk("NaCl", "rocksalt", a=5.6 + 0.1 * k) for k in range(2)] + [molecule("H2O")]
    for k, atoms in enumerate(images[:2]):
        atoms.info["temperature"] = 300.0 + k
        atoms.info["doped"] = bool(k)
        atoms.info["comment"] = "text is no column"
    images[2].info["name"] = "water"
    write(tmp_path / "run.extxyz", images)
    return tmp_path / "run.extxyz", images


def test_images_columns_and_names(trajectory):
    path, images = trajectory
    found = read(path, units={"temperature": "K"})
    assert found.names == ["run-0000", "run-0001", "water"]
    for got, expected in zip(found.atoms, images, strict=True):
        assert got.get_chemical_formula() == expected.get_chemical_formula()
        # extxyz holds eight decimals
        np.testing.assert_allclose(got.positions, expected.positions, atol=1e-7)
        np.testing.assert_allclose(got.cell, expected.cell, atol=1e-7)
        assert got.pbc.tolist() == expected.pbc.tolist()
    np.testing.assert_array_equal(found.columns["temperature"].values, [300, 301, np.nan])
    np.testing.assert_array_equal(found.columns["doped"].values, [0, 1, np.nan])
    assert found.columns["temperature"].unit == "K"
    assert "comment" not in found.columns
    # 58.443 g/mol over a³/4
    density = 58.443 / 6.02214076e23 / (5.6e-8**3 / 4)
    assert found.columns["density"].values[0] == pytest.approx(density, rel=1e-4)
    assert np.isnan(found.columns["density"].values[2])


def test_choice_of_images(trajectory):
    path, _ = trajectory
    assert read(path, images="-1").names == ["water"]
    assert read(path, n=2).names == ["run-0000", "run-0001"]
    with pytest.raises(UsageError, match=r"-n 4 .* 3"):
        read(path, n=4)


@pytest.mark.parametrize("name", ["salt.cif", "POSCAR", "salt.xyz", "salt.json", "salt.traj"])
def test_formats(tmp_path, name):
    write(tmp_path / name, bulk("NaCl", "rocksalt", a=5.6))
    found = read(tmp_path / name)
    assert found.atoms[0].get_chemical_formula() == "ClNa"
    assert found.atoms[0].get_volume() == pytest.approx(5.6**3 / 4)


def test_same_names_of_several_files_are_numbered(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "x.xyz", molecule("CO"))
    found = read(*sorted(tmp_path.glob("*/x.xyz")))
    assert found.names == ["x", "x.1"]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NoInputError, match=r"gone\.xyz"):
        read(tmp_path / "gone.xyz")
    (tmp_path / "bad.xyz").write_text("this is no structure\n")
    with pytest.raises(DataError, match=r"bad\.xyz"):
        read(tmp_path / "bad.xyz")
    with pytest.raises(NoInputError, match="at least one file"):
        read()


def test_overlapping_atoms_are_refused(tmp_path):
    atoms = molecule("CO")
    atoms.positions[1] = atoms.positions[0] + [0, 0, 0.2]
    write(tmp_path / "close.xyz", atoms)
    with pytest.raises(DataError, match=r"close: atoms .* 0\.20 Å apart"):
        read(tmp_path / "close.xyz")
    assert len(read(tmp_path / "close.xyz", minimum_distance=0)) == 1


def test_every_recipe_of_the_registry_loads():
    for name in NAMES:
        recipe = get_recipe(name)
        assert recipe.name == name
        assert recipe.summary
        for field, info in recipe.config.model_fields.items():
            assert info.description, f"{name}: {field} has no docstring"
    with pytest.raises(UsageError, match="no recipe"):
        get_recipe("unobtainium")
