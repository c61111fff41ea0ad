"""Labels of small systems, each made by one real GPAW run and read back from a store."""

from dataclasses import dataclass

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule, mx2
from ase.units import Ha

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import extract, run
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.pairs import wrapped
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures


@dataclass
class Case:
    """A labelled structure.

    Attributes:
        calculator: GPAW after the run.
        hamiltonian: the labels, as a store gives them back.
        config: of the run.
        atoms: the structure as it was given.
    """

    calculator: object
    hamiltonian: Hamiltonian
    config: LabelConfig
    atoms: ase.Atoms

    def reference(self, k):
        """H(k) in eV for each spin, and S(k), both as GPAW itself makes them."""
        choice = {"kpts": [k], "symmetry": "off"} if self.atoms.pbc.any() else {}
        fixed = self.calculator.fixed_density(txt=None, **choice).dft
        matrices = fixed.scf_loop.hamiltonian.create_hamiltonian_matrix_calculator(fixed.potential)
        waves = list(fixed.ibzwfs)
        h = np.array([matrices.calculate_matrix(w).data * Ha for w in waves])
        return h, waves[0].S_MM.data.copy()


def _water():
    return molecule("H2O")


def _rotated_water():
    atoms = _water()
    atoms.rotate(53.0, (0.3, -0.5, 0.8))
    return atoms


def _wse2():
    # Two of the three atoms outside the cell, as a molecular dynamics run would leave them.
    atoms = mx2("WSe2", a=3.32, thickness=3.2, vacuum=4.0)
    atoms.rattle(0.05, seed=1)
    atoms.positions[0] -= 2 * atoms.cell[0] + atoms.cell[1]
    atoms.positions[2] += atoms.cell[1]
    return atoms


GOLD = {"energy_shift": {"Au": 0.3}, "kpts": (4, 4, 4), "h": 0.22}
WSE2 = {"setups": {"W": "6"}, "kpts": (2, 2, 1), "h": 0.3, "vacuum": 4.0}
HAFNIA = {"energy_shift": {"Hf": 0.3}, "kpts": (1, 1, 1), "h": 0.22}  # a run at Γ alone
WATER = {"h": 0.2, "vacuum": 4.0}
OXYGEN = {"h": 0.25, "spin": "collinear", "magmoms": {"O": 1.0}, "vacuum": 4.0}
CASES = {
    "wse2": (_wse2, WSE2),
    "gold": (lambda: bulk("Au", a=4.08), GOLD),
    "hafnia": (lambda: bulk("HfO2", "fluorite", a=5.08), HAFNIA),
    "water": (_water, WATER),
    "rotated-water": (_rotated_water, WATER),
    "oxygen": (lambda: molecule("O2"), OXYGEN),
}


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    """Return a function that gives a case by name; each is run once."""
    folder, made = tmp_path_factory.mktemp("cases"), {}

    def get(name):
        if name not in made:
            make, settings = CASES[name]
            config, given = LabelConfig(**settings), make()
            atoms = wrapped(given)
            basis = basis_table(config, atoms.numbers)
            calculator = run(atoms, config, basis, folder / f"{name}.txt")
            path = folder / f"{name}.hamiltonians.zarr"
            writer = HamiltonianWriter(path, Structures([given], [name]), Provenance("test"))
            writer.write(0, extract(atoms, calculator, config, basis))
            writer.publish(basis, {"spins": 2 if config.spin == "collinear" else 1})
            made[name] = Case(calculator, HamiltonianReader(path).read(0), config, given)
        return made[name]

    return get
