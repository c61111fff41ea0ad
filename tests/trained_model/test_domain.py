"""Structures like those of training are within the domain, and those that leave it are named with what they leave."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule, mx2

from gh_tools.structures.transform import Transformations, transform
from gh_tools.trained_model.domain import Domain

A = 2.504
BN = Atoms(
    "BN",
    scaled_positions=[(1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)],
    cell=[[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, 15]],
    pbc=(1, 1, 0),
)
MOS2 = mx2("MoS2", vacuum=8.0)
MOS2.pbc = (1, 1, 0)
MATERIALS = {
    "BN": BN,
    "MoS2": MOS2,
    "Si": bulk("Si"),
    "GaAs": bulk("GaAs", "zincblende", 5.65),
    "Ag": bulk("Ag"),
}
TRAINING = Transformations(size="varied", strain=0.02, rattle=0.05)


def drawn(atoms, n, seed, **options):
    rng = np.random.default_rng(seed)
    changes = TRAINING.model_copy(update=options)
    return [transform(atoms, changes, rng)[0] for _ in range(n)]


def large(atoms):
    return (4, 4, 1) if atoms.pbc.sum() == 2 else (3, 3, 3)


@pytest.fixture(scope="module")
def domains():
    return {name: Domain.of(drawn(atoms, 30, 0)) for name, atoms in MATERIALS.items()}


@pytest.mark.parametrize("name", MATERIALS)
def test_structures_like_those_of_training_are_within(domains, name):
    atoms = MATERIALS[name]
    alike = [*drawn(atoms, 20, 1), *drawn(atoms, 10, 2, size=large(atoms))]
    outside = [found for one in alike if (found := domains[name].departures(one))]
    # Strains are uniform: by chance, one of thirty structures may be beyond all of as many others.
    assert len(outside) <= 2, outside
    assert domains[name].departures(atoms.repeat(large(atoms))) == []


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("strain", lambda a: a.set_cell(a.cell.array * [1.06, 1, 1], scale_atoms=True)),
        (
            "strain",
            lambda a: a.set_cell(
                a.cell.array @ (np.eye(3) + 0.06 * np.eye(3)[[1, 0, 2]] * [1, 1, 0]),
                scale_atoms=True,
            ),
        ),
        ("density", lambda a: a.set_cell(a.cell.array * 0.95, scale_atoms=True)),
        ("coordination", lambda a: a.__delitem__(5)),
        ("distance", lambda a: a.positions.__setitem__(0, a.positions[1] - 1.0 / 3**0.5)),
    ],
    ids=["uniaxial", "shear", "compressed", "vacancy", "close"],
)
def test_what_leaves_the_domain_is_named(domains, name, what, change):
    atoms = MATERIALS[name].repeat(large(MATERIALS[name]))
    change(atoms)
    found = domains[name].departures(atoms)
    assert what in {departure.what for departure in found}, found


def test_a_vacancy_is_told_in_a_cell_of_any_size_with_the_atoms_around_it(domains):
    atoms = BN.repeat((20, 20, 1))
    del atoms[400]  # a boron atom
    (found,) = domains["BN"].departures(atoms)
    assert found.text == "3 N with 2 neighbours, where training had 3"
    assert set(atoms.symbols[found.atoms]) == {"N"}
    with_vacancies = Domain.of(
        [*drawn(BN, 20, 0), *drawn(BN, 10, 3, size=(3, 3, 1), vacancies={"B": 1})]
    )
    assert with_vacancies.departures(atoms) == []


def test_elements_compositions_and_periodicity_are_compared(domains):
    doped = BN.repeat((4, 4, 1))
    doped.symbols[0] = "C"
    texts = [departure.text for departure in domains["BN"].departures(doped)]
    assert any("made of B, C, N, where training had B-N" in text for text in texts)
    stack = BN.copy()
    stack.pbc = True
    assert [d.text for d in domains["BN"].departures(stack)] == [
        "a bulk crystal, where training had layers"
    ]
    alloy = bulk("Ag").repeat((2, 2, 2))
    alloy.symbols[:4] = "Au"
    rich = alloy.copy()
    rich.symbols[4:7] = "Au"
    found = Domain.of([alloy]).departures(rich)
    assert "87.5 % Au, where training had 50 %" in [departure.text for departure in found]


def test_molecules_have_a_domain_without_a_density():
    rng = np.random.default_rng(0)

    def water():
        atoms = molecule("H2O")
        atoms.rattle(0.05, rng=rng)
        return atoms

    domain = Domain.of([water() for _ in range(20)])
    assert all(domain.departures(water()) == [] for _ in range(20))
    dimer = water() + water()
    dimer.positions[3:] += [0, 0, 1.2]
    assert {d.what for d in domain.departures(dimer)} >= {"distance", "coordination"}


def test_a_domain_survives_the_store_and_holds_that_of_a_parent(domains):
    both = domains["BN"].union(domains["MoS2"])
    again = Domain.from_arrays(both.to_arrays())
    assert again.describe() == both.describe()
    for name in ("BN", "MoS2"):
        atoms = MATERIALS[name].repeat((4, 4, 1))
        assert again.departures(atoms) == []
        del atoms[0]
        assert again.departures(atoms) == domains[name].departures(atoms) != []
    assert sum(array.nbytes for array in both.to_arrays().values()) < 10_000
    assert both.of_kinds({3}).kinds == set()
