"""Hamiltonians with known spectra: one s orbital an atom, hoppings by distance."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Column, Structures


def s_basis(*numbers: int, electrons: float = 1.0) -> Basis:
    """One s orbital for each element."""
    shells = (Shell(0, 5.0),)
    return Basis({z: ElementBasis(z, shells, electrons, basis_name="s") for z in numbers})


def build_tight_binding(
    atoms: ase.Atoms,
    onsite: Mapping[int, float],
    hopping: float,
    bond: float,
    overlap: float = 0.0,
    electrons: float = 1.0,
    splitting: float | None = None,
) -> Hamiltonian:
    """Nearest-neighbour tight binding.

    Args:
        atoms: the structure.
        onsite: energy of each element's orbital, eV.
        hopping: H between atoms closer than `bond`, eV.
        bond: Å.
        overlap: S between them.
        electrons: per atom.
        splitting: with it there are two spin channels, shifted by ∓ splitting / 2.
    """
    atoms = wrapped(atoms)
    basis = s_basis(*onsite, electrons=electrons)
    found = stored_pairs(atoms, {pair: bond for pair in basis.species_pairs()})

    def spins(matrix: np.ndarray, shift: np.ndarray | float) -> np.ndarray:
        if splitting is None:
            return matrix
        return np.stack([matrix - splitting / 2 * shift, matrix + splitting / 2 * shift])

    onsite_blocks = {}
    for z in np.unique(atoms.numbers):
        index = np.flatnonzero(atoms.numbers == z)
        unit = np.ones((len(index), 1, 1))
        onsite_blocks[int(z)] = OnsiteBlocks(index, spins(onsite[z] * unit, unit), unit)
    pair_blocks = {}
    for pair, (i, j, cell_offset, _) in found.items():
        unit = np.ones((len(i), 1, 1))
        pair_blocks[pair] = PairBlocks(
            i, j, cell_offset, spins(hopping * unit, overlap * unit), overlap * unit
        )
    scalars = {"n_electrons": electrons * len(atoms)}
    return Hamiltonian(atoms, basis, onsite_blocks, pair_blocks, scalars)


@pytest.fixture(scope="session")
def tight_binding():
    """The function that builds them."""
    return build_tight_binding


@pytest.fixture(scope="session")
def with_onsite():
    """A function that returns a chain with other energies of its atoms, energy times S as the rest has none."""

    def change(hamiltonian, energies):
        blocks = hamiltonian.onsite[1]
        values = np.asarray(energies, dtype=float)[:, None, None]
        return replace(hamiltonian, onsite={1: OnsiteBlocks(blocks.atom, values, blocks.overlap)})

    return change


@pytest.fixture(scope="session")
def chain():
    """A function for a 1-D chain, 1 Å apart, with `cells` atoms in the cell: ε = 2 t cos(2π k) for one."""

    def make(cells: int = 1, hopping: float = -1.0, **options) -> Hamiltonian:
        atoms = ase.Atoms(
            f"H{cells}",
            positions=[[n, 0, 0] for n in range(cells)],
            cell=[cells, 10, 10],
            pbc=[True, False, False],
        )
        return build_tight_binding(atoms, {1: 0.0}, hopping, 1.1, **options)

    return make


@pytest.fixture(scope="session")
def graphene():
    """A function for graphene or, with a mass, boron nitride; any supercell."""

    def make(supercell=(1, 1, 1), mass: float = 0.0, hopping: float = -2.7, **options):
        side = 1.42 * np.sqrt(3)
        atoms = ase.Atoms(
            "BN",
            scaled_positions=[[0, 0, 0.5], [1 / 3, 1 / 3, 0.5]],
            cell=[[side, 0, 0], [side / 2, side * np.sqrt(3) / 2, 0], [0, 0, 10]],
            pbc=[True, True, False],
        )
        onsite = {5: mass, 7: -mass}
        return build_tight_binding(atoms.repeat(supercell), onsite, hopping, 1.5, **options)

    return make


@pytest.fixture(scope="session")
def write_hamiltonians():
    """A function that writes Hamiltonians as a store, with a design variable `order`."""

    def write(path: Path, hamiltonians: list[Hamiltonian]) -> Path:
        structures = Structures(
            [hamiltonian.atoms for hamiltonian in hamiltonians],
            [f"s{n}" for n in range(len(hamiltonians))],
            {"order": Column(np.arange(len(hamiltonians)) / 2, "eV", "a design variable")},
        )
        writer = HamiltonianWriter(path, structures, Provenance("gh-label"))
        for index, hamiltonian in enumerate(hamiltonians):
            writer.write(index, hamiltonian)
        return writer.publish(hamiltonians[0].basis)

    return write


@pytest.fixture(scope="session")
def spectra_system():
    """The benchmark's module that makes extended-Hückel Hamiltonians with the true S."""
    from gh_tools.resources import share_path

    path = share_path("benchmarks/scale/spectra_system.py")
    spec = importlib.util.spec_from_file_location("spectra_system", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def wse2_sheet(spectra_system):
    """A function for a WSe2 sheet with 4 of its Se atoms away, rattled: 3 size² - 4 atoms."""
    from gh_tools.dft.basis_sets import basis_table
    from gh_tools.dft.config import LabelConfig

    table = basis_table(LabelConfig(basis="szp(dzp)", setups={"W": "6"}), (34, 74))

    def make(size: int = 6, rattle: float = 0.05) -> Hamiltonian:
        from ase.build import mx2

        atoms = mx2("WSe2", "2H", a=3.32, thickness=3.36, size=(size, size, 1), vacuum=8.0)
        atoms.pbc = [True, True, False]
        rng = np.random.default_rng(size)
        atoms.positions += rng.normal(scale=rattle, size=(len(atoms), 3))
        del atoms[rng.choice(np.flatnonzero(atoms.numbers == 34), 4, replace=False)]
        return spectra_system.extended_hueckel(wrapped(atoms), table)

    return make


@pytest.fixture(scope="session")
def sheet(wse2_sheet) -> Hamiltonian:
    """104 atoms, 936 orbitals."""
    return wse2_sheet()
