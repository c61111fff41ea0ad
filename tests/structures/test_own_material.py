"""From a file of one's own material to a training set."""

import logging

import numpy as np
import pytest
from ase.build import bulk, graphene, molecule
from ase.io import write

from gh_tools.errors import UsageError
from gh_tools.structures import registry
from gh_tools.structures.generate import generate
from gh_tools.structures.geometry import empty_heights

RECIPE = registry.get_recipe("file")


@pytest.fixture
def boron_nitride(tmp_path):
    """A layer as files of crystals have it: periodic in three directions, with 15 Å of nothing."""
    layer = graphene("BN", a=2.51, vacuum=7.5)
    layer.pbc = True
    write(tmp_path / "bn.cif", layer)
    return str(tmp_path / "bn.cif")


def made(path, n=None, **options):
    config = RECIPE.complete(RECIPE.config(paths=[path], **options), n)
    return generate(RECIPE, config, n)


def test_a_file_alone_is_read_as_it_is(boron_nitride):
    structures = made(boron_nitride)
    assert structures.names == ["bn"]
    assert len(structures.atoms[0]) == 2


def test_more_than_the_file_holds_is_a_training_set(boron_nitride, caplog):
    with caplog.at_level(logging.INFO, "gh-tools"):
        structures = made(boron_nitride, 12, pbc=(True, True, False))
    assert len({len(atoms) for atoms in structures.atoms}) > 2
    assert all(6 <= len(atoms) <= 14 for atoms in structures.atoms)
    assert {"cells", "strain_x", "strain_y"} <= set(structures.columns)
    assert len(set(structures.names)) == 12
    again = made(boron_nitride, 3, pbc=(True, True, False))
    for ours, theirs in zip(again.atoms, structures.atoms, strict=False):
        np.testing.assert_array_equal(ours.positions, theirs.positions)


def test_what_is_set_stays(boron_nitride):
    structures = made(boron_nitride, 4, pbc=(True, True, False), size=(2, 2, 1), rattle=0.03)
    assert [len(atoms) for atoms in structures.atoms] == [8] * 4
    assert "strain_x" not in structures.columns
    displaced = made(boron_nitride, 3, pbc=(True, True, False), strain=0.03, vacancies={"B": 1})
    assert len({len(atoms) for atoms in displaced.atoms}) > 1
    assert all(len(set(atoms.positions[:, 2].round(6))) > 1 for atoms in displaced.atoms)
    flat = made(boron_nitride, 3, pbc=(True, True, False), rattle=0)
    assert all(len(set(atoms.positions[:, 2].round(6))) == 1 for atoms in flat.atoms)
    supercell = made(boron_nitride, size=(3, 3, 1))
    assert [len(atoms) for atoms in supercell.atoms] == [18]
    with pytest.raises(UsageError, match="more structures than the 1"):
        generate(RECIPE, RECIPE.config(paths=[boron_nitride], size=(2, 2, 1)), 3)


def test_images_take_turns(tmp_path):
    write(tmp_path / "two.xyz", [bulk("Si"), bulk("Ge")])
    structures = made(str(tmp_path / "two.xyz"), 6)
    assert [atoms.symbols[0] for atoms in structures.atoms] == ["Si", "Ge"] * 3


def test_molecules_are_displaced_alone(tmp_path):
    write(tmp_path / "water.xyz", molecule("H2O"))
    structures = made(str(tmp_path / "water.xyz"), 5)
    assert [len(atoms) for atoms in structures.atoms] == [3] * 5
    assert len({atoms.get_distance(0, 1) for atoms in structures.atoms}) == 5


def test_a_layer_among_vacuum_is_pointed_out(boron_nitride, caplog):
    made(boron_nitride)
    assert "15.0 Å of nothing" in caplog.text
    assert "--set pbc=[true,true,false]" in caplog.text
    caplog.clear()
    made(boron_nitride, pbc=(True, True, False))
    made(boron_nitride, pbc=(True, True, True))
    assert "nothing" not in caplog.text


def test_layered_crystals_are_no_layers(tmp_path, caplog):
    graphite = graphene("C2", a=2.46)
    graphite.set_cell([*graphite.cell.array[:2], [0, 0, 3.35]])
    graphite.pbc = True
    write(tmp_path / "graphite.cif", graphite)
    made(str(tmp_path / "graphite.cif"))
    assert "nothing" not in caplog.text
    np.testing.assert_allclose(empty_heights(bulk("Si", cubic=True)), 5.43 / 4)
