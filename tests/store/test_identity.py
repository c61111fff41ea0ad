"""When two structures are the same, and when only their names are."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule, mx2

from gh_tools.errors import DataError
from gh_tools.orbitals.pairs import wrapped
from gh_tools.store import identity
from gh_tools.store.identity import copies, difference, match
from gh_tools.store.structures import Structures


def layer(seed=0):
    atoms = mx2("WSe2", a=3.32, thickness=3.2, vacuum=5.0).repeat((2, 2, 1))
    atoms.rattle(0.05, seed=seed)
    return atoms


def wire(seed=0):
    atoms = molecule("C2H4")
    atoms.rattle(0.02, seed=seed)
    atoms.center(vacuum=4.0)
    atoms.pbc = (False, True, False)
    return atoms


def crystal(seed=0):
    atoms = bulk("HfO2", "fluorite", a=5.08)
    atoms.set_cell(atoms.cell.array @ np.diag([1, 1.02, 0.99]), scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def water(seed=0):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    return atoms


KINDS = [layer, wire, crystal, water]


def rounded(atoms):
    """As a text file of eight decimals gives it back."""
    atoms = atoms.copy()
    atoms.cell[:] = np.round(atoms.cell.array, 8)
    atoms.positions = np.round(atoms.positions, 8)
    return atoms


def elsewhere(atoms, seed=3):
    """Each atom in another cell, and those near a face on its other side."""
    atoms = atoms.copy()
    random = np.random.default_rng(seed)
    atoms.positions += (random.integers(-3, 4, (len(atoms), 3)) * atoms.pbc) @ atoms.cell.array
    return atoms


def shuffled(atoms, seed=4):
    return atoms[np.random.default_rng(seed).permutation(len(atoms))]


def moved(atoms):
    atoms = atoms.copy()
    atoms.positions += (0.31, -1.7, 2.9)
    return atoms


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "change",
    [rounded, elsewhere, shuffled, moved, lambda a: moved(shuffled(elsewhere(rounded(a))))],
)
def test_copies_are_found_however_they_are_written(make, change):
    others = [make(seed) for seed in (1, 2)]
    structures = [others[0], make(0), others[1], change(make(0)), wrapped(change(make(0)))]
    assert copies(structures).tolist() == [0, 1, 2, 1, 1]


@pytest.mark.parametrize("make", KINDS)
def test_one_moved_atom_makes_another_structure(make):
    """By 0.01 Å, as for forces by differences; each atom and direction is a structure of its own."""
    structures = [make(0)]
    for atom in range(2):
        for direction in range(3):
            structures.append(make(0))
            structures[-1].positions[atom, direction] += 0.01
    assert copies(structures).tolist() == list(range(7))


def test_displaced_atoms_of_a_perfect_crystal():
    """All structure factors of a perfect supercell vanish, but for those that its displaced atom makes."""
    perfect = bulk("Si", cubic=True)
    structures = [perfect]
    for atom in (0, 3):
        for step in (0.02, -0.02):
            structures.append(perfect.copy())
            structures[-1].positions[atom, 0] += step
    # An fcc translation takes one site to the other of the same sublattice.
    assert copies(structures).tolist() == [0, 1, 2, 3, 4]
    same = perfect.copy()
    same.positions[1, 0] += 0.02
    twin = perfect.copy()
    translation = perfect.get_scaled_positions()
    partner = [i for i in range(8) if np.allclose((translation[i] - translation[1]) % 0.5, 0)][-1]
    twin.positions[partner, 0] += 0.02
    assert partner != 1 and copies([same, twin]).tolist() == [0, 0]


@pytest.mark.parametrize("make", KINDS)
def test_other_elements_cells_and_periods_make_other_structures(make):
    swapped, stretched, opened = make(), make(), make()
    swapped.numbers[[0, -1]] = swapped.numbers[[-1, 0]]
    structures = [make(), swapped]
    if stretched.pbc.any():
        axis = np.flatnonzero(stretched.pbc)[0]
        stretched.cell[axis] *= 1.001
        opened.pbc[axis] = False
        structures += [stretched, opened]
    assert copies(structures).tolist() == list(range(len(structures)))


def test_many_structures_are_compared_with_few():
    """A thousand cells of one composition and one copy: candidates come from a tree."""
    random = np.random.default_rng(0)
    structures = []
    for _ in range(1000):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.positions += random.normal(0, 0.1, (2, 3))
        structures.append(atoms)
    structures.append(moved(structures[500]))
    found = copies(structures)
    assert found[1000] == 500 and np.unique(found).size == 1000


def test_frames_of_a_crystal_are_compared_with_few(monkeypatch):
    """Their structure factors are means over many atoms, nearly the same in all: each two were compared once."""
    frames = [bulk("Cu", cubic=True).repeat((3, 3, 3)) for _ in range(12)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.03, seed=seed)
    frames.append(moved(shuffled(frames[7])))
    compared = []

    def compare(one, other):
        compared.append(one)
        return is_copy(one, other)

    is_copy = identity._is_copy
    monkeypatch.setattr(identity, "_is_copy", compare)
    assert copies(frames).tolist() == [*range(12), 7]
    assert len(compared) == 1


@pytest.mark.parametrize("change", [rounded, elsewhere, wrapped])
def test_no_difference_but_rounding_and_lattice_vectors(change):
    assert difference(change(layer()), layer()) is None


def cases():
    other, longer, closed, pushed = layer(), layer(), layer(), layer()
    other.numbers[0] = 42
    longer.cell[0, 0] += 0.01
    closed.pbc = True
    pushed.positions[5, 1] += 0.01
    return [
        (other, "expected Se8W4, found MoSe8W3"),
        (shuffled(layer()), "another order"),
        (longer, "the cells differ by up to 0.01 Å"),
        (closed, "expected periodic directions TTF, found TTT"),
        (pushed, "the positions differ by up to 0.01 Å"),
    ]


@pytest.mark.parametrize(("found", "said"), cases())
def test_names_alone_do_not_match(found, said):
    assert said in difference(found, layer())
    one, two = Structures([found], ["cell"]), Structures([water(), layer()], ["water", "cell"])
    with pytest.raises(DataError, match=r"a against b: structure 'cell' is another one .*" + said):
        match(one, two, "a against b")


def test_charges_must_match():
    bare = Structures([ase.Atoms("OH", [(0, 0, 0), (0, 0, 1)])], ["x"])
    assert match(bare, bare.with_charges(np.array([0.0])), "") == [(0, 0)]
    with pytest.raises(DataError, match=r"expected charge -1, found \+0"):
        match(bare, bare.with_charges(np.array([-1.0])), "a against b")


def test_what_the_other_store_lacks():
    few, many = Structures([water()], ["a"]), Structures([water(1), water()], ["b", "a"])
    assert match(few, many, "") == [(0, 1)]
    with pytest.raises(DataError, match="no structure named 'b'"):
        match(many, few, "")
    assert match(many, few, "", partly=True) == [(1, 0)]
    with pytest.raises(DataError, match="no structure named 'b'"):
        match(many.select([0]), few, "", partly=True)
