"""Calculators by name: what there is, what is missing, and what makes no sense."""

import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from gh_tools.errors import MissingExtraError, NoInputError, UsageError
from gh_tools.structures.calculators import CALCULATORS, make_calculator


def energy(atoms, calculator):
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_potential_energy()


def test_emt_is_ase_s():
    atoms = bulk("Au", cubic=True)
    assert energy(atoms, make_calculator("emt", {})) == energy(atoms, EMT())


def test_xtb_knows_water_and_takes_options():
    water = molecule("H2O")
    # Total energies of the methods' own documentation, for nearly this geometry.
    gfn2 = energy(water, make_calculator("xtb", {}))
    gfn1 = energy(water, make_calculator("xtb", {"method": "GFN1-xTB"}))
    assert (gfn2, gfn1) == (pytest.approx(-137.97, abs=0.02), pytest.approx(-156.97, abs=0.02))


def test_xtb_forgets_when_told():
    """A resumed run starts with a new calculator; one that was not resets its own."""
    calculator, water = make_calculator("xtb", {}), molecule("H2O")
    water.calc = calculator
    for seed in range(3):
        water.rattle(0.05, seed=seed)
        water.get_forces()
    calculator.reset()
    fresh = water.copy()
    fresh.calc = make_calculator("xtb", {})
    np.testing.assert_array_equal(water.get_forces(), fresh.get_forces())


def test_any_class_of_ase():
    found = make_calculator("ase.calculators.lj:LennardJones", {"sigma": 2.5, "rc": 6.0})
    assert found.parameters["sigma"] == 2.5


@pytest.mark.parametrize("name", ["xtb", "chgnet", "sevennet", "mace", "lammps"])
def test_what_is_not_installed_names_its_extra(monkeypatch, tmp_path, name):
    module = CALCULATORS[name][0]
    for part in (module, module.split(".")[0]):
        monkeypatch.setitem(sys.modules, part, None)  # as Python sees what is not there
    (tmp_path / "x.model").touch()
    given = {"mace": f"mace:{tmp_path}/x.model", "lammps": "lammps:hfo2"}.get(name, name)
    with pytest.raises(MissingExtraError, match=rf"gh-tools\[{name}\]"):
        make_calculator(given, {})


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("vasp", {}, UsageError, "expected emt, xtb"),
        ("emt:x", {}, UsageError, "takes no file"),
        ("mace", {}, UsageError, "mace:FILE"),
        ("lammps:sio2", {"colour": "red"}, UsageError, "options: Lammps does not take"),
        ("mace:/no/such/file", {}, NoInputError, "no such model"),
        ("no_such_module:Class", {}, UsageError, "cannot be imported"),
        ("ase.calculators.emt:Emt", {}, UsageError, "has no Emt"),
        ("os:system", {"command": "touch owned"}, UsageError, "os:system is no calculator"),
        ("os:getcwd", {}, UsageError, "is no calculator"),
        ("subprocess:Popen", {"args": "true"}, UsageError, "is no calculator"),
        ("ase.calculators.tip3p:TIP3P", {"colour": "red"}, UsageError, "options: TIP3P"),
    ],
)
def test_what_makes_no_sense(name, options, error, message):
    with pytest.raises(error, match=message):
        make_calculator(name, options)
