"""Charged structures: against GPAW's old interface, which shares neither density nor Poisson set-up with the new."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import molecule

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.charged import charged
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_structures
from gh_tools.dft.scf import label_structure
from gh_tools.errors import DataError
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import band_edges
from gh_tools.spectra.kpoints import monkhorst_pack
from gh_tools.spectra.spectrum import electrons_of
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Column, Structures

COARSE = {"h": 0.3, "vacuum": 3.0}
HYDROXIDE = ase.Atoms("OH", [(0, 0, 0), (0, 0, 0.97)])


def hydroxide(periodic=False) -> ase.Atoms:
    atoms = HYDROXIDE.copy()
    atoms.center(vacuum=3.0)
    atoms.pbc = periodic
    return atoms


def labelled(atoms, folder, **settings):
    config = LabelConfig(**COARSE, **settings)
    return label_structure(atoms, config, basis_table(config, atoms.numbers), folder / "gpaw.txt")


@pytest.mark.parametrize(
    ("periodic", "charge", "spin"), [(False, -1.0, False), (True, -1.0, False), (False, 0.5, True)]
)
def test_eigenvalues_and_energy_are_those_of_plain_gpaw(tmp_path, periodic, charge, spin):
    from gpaw.calculator import GPAW

    atoms = hydroxide(periodic)
    moments = {"spin": "collinear", "magmoms": {"O": 1.0}} if spin else {}
    kpoints = {"kpts": (1, 1, 1)} if periodic else {}
    found = labelled(atoms, tmp_path, charge=charge, **moments, **kpoints)
    if spin:
        atoms.set_initial_magnetic_moments([1.0, 0.0])
    atoms.calc = GPAW(
        mode="lcao",
        basis="szp(dzp)",
        h=0.3,
        xc="PBE",
        nbands="nao",
        charge=charge,
        occupations={"name": "fermi-dirac", "width": 0.1},
        convergence=LabelConfig().convergence.model_dump(),
        txt=None,
    )
    energy = atoms.get_potential_energy()
    # Two self-consistent cycles that end where the density changes by 1e-4 of an electron
    assert found.scalars["energy"] == pytest.approx(energy, abs=2e-3)
    for channel in range(1 + spin):
        expected = atoms.calc.get_eigenvalues(spin=channel)
        np.testing.assert_allclose(found.bands.eigenvalue[channel, 0], expected, atol=5e-3)
        # and the blocks give them back
        eigenvalues = solve(found, monkhorst_pack([1, 1, 1]), projected=False)
        np.testing.assert_allclose(
            eigenvalues.energies[channel, 0], found.bands.eigenvalue[channel, 0], atol=1e-5
        )
    assert electrons_of(found) == 7 - charge
    if spin:
        moment = atoms.get_magnetic_moment()
        assert found.scalars["magnetic_moment"] == pytest.approx(moment, abs=1e-3)


@pytest.mark.parametrize(
    ("charge", "pbc"), [(-1.0, False), (0.0, False), (0.0, (True, True, False))]
)
def test_a_charge_or_dipole_may_stand_anywhere_in_its_box(tmp_path, charge, pbc):
    """LiF, and a layer of it: 1.2 Å beside the middle, eigenvalues were off by 0.04 and 0.37 eV."""
    box = HYDROXIDE.copy()
    if not charge:
        box = ase.Atoms("LiF", [(0, 0, 0), (0, 0, 1.5)])
    box.set_cell([7.2, 7.2, 10.8], scale_atoms=False)
    box.pbc = pbc
    box.center()
    beside = box.copy()
    beside.translate((0, 0, 1.2))
    settings = {"charge": charge} | ({"kpts": (1, 1, 1)} if box.pbc.any() else {})
    both = [labelled(atoms, tmp_path, **settings).bands.eigenvalue for atoms in (box, beside)]
    np.testing.assert_allclose(*both, atol=1e-5)


def test_each_structure_has_the_charge_of_its_column(tmp_path):
    columns = {"charge": Column(np.array([-1.0, 1.0]))}
    hydronium = molecule("NH3")
    hydronium.symbols[0] = "O"
    structures = Structures([HYDROXIDE, hydronium], ["hydroxide", "hydronium"], columns)
    config = LabelConfig(**COARSE)
    path, failures = label_structures(tmp_path / "x.zarr", structures, config, Provenance("test"))
    assert failures == []
    reader = HamiltonianReader(path)
    assert reader.structures.charges.tolist() == [-1, 1]
    # Closed shells, each of eight electrons
    for index in range(2):
        hamiltonian = reader.read(index)
        assert hamiltonian.scalars["n_electrons"] == 8
        eigenvalues = solve(hamiltonian, monkhorst_pack([1, 1, 1]), projected=False)
        edges = band_edges(eigenvalues, electrons_of(hamiltonian))
        expected = hamiltonian.bands.eigenvalue[0, 0, 3:5]
        assert (edges.valence, edges.conduction) == pytest.approx(tuple(expected), abs=1e-5)
        assert edges.gap > 7.0


def test_column_and_configuration_must_agree():
    values = {"charge": Column(np.array([-1.0, np.nan]))}
    structures = Structures([HYDROXIDE] * 2, ["a", "b"], values, "x.zarr")
    basis = basis_table(LabelConfig(), [1, 8])

    def charges(structures, given):
        return charged(structures, given, basis).charges.tolist()

    assert charges(structures, -1.0) == [-1, -1]
    with pytest.raises(DataError, match=r"x.zarr: column/charge says -1 for 'a', .* \+0; leave"):
        charges(structures, 0.0)
    with pytest.raises(
        DataError, match=r"x.zarr: column/charge: .* found nan for 'b'; give it one"
    ):
        charges(structures, None)
    structures.columns["charge"].unit = "C"
    with pytest.raises(DataError, match="found the unit 'C'"):
        charges(structures.select([0]), None)
    bare = Structures([HYDROXIDE], ["a"])
    assert charges(bare, None) == [0] and charges(bare, -1.0) == [-1]


@pytest.mark.parametrize(
    ("charge", "pbc", "said"),
    [
        (7.0, False, r"charge \+7 leaves 0 of its 7 valence electrons"),
        (8.0, False, r"leaves -1 of its 7"),
        (-30.0, False, r"leaves 37 of its 7 .* up to 26"),
        (-1.0, (True, True, False), r"periodic in some directions only \(pbc TTF\)"),
        (0.5, (False, False, True), r"pbc FFT"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, charge, pbc, said):
    structures = Structures([hydroxide(), hydroxide(pbc)], ["fine", "odd"])
    structures = structures.with_charges(np.array([0.0, charge]))
    path = tmp_path / "x.zarr"
    with pytest.raises(DataError, match="odd: .*" + said):
        label_structures(path, structures, LabelConfig(**COARSE), Provenance("test"))
    assert list(tmp_path.iterdir()) == []
    config = LabelConfig(**COARSE, charge=charge)
    with pytest.raises(DataError, match=said):
        label_structure(
            structures.atoms[1], config, basis_table(config, [1, 8]), tmp_path / "gpaw.txt"
        )
