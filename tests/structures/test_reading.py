"""Files whose text ASE would take for something else: read as meant, or refused with the site and the way out."""

import gzip
import logging
import os

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write

from gh_tools.console import log
from gh_tools.errors import DataError, NoInputError
from gh_tools.structures.generate import generate
from gh_tools.structures.recipes.file import FileConfig
from gh_tools.structures.registry import get_recipe

FILE = get_recipe("file")
WATER = "3\n{}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def read(*paths, **options):
    return generate(FILE, FileConfig(paths=[str(path) for path in paths], **options))


@pytest.fixture
def said(caplog):
    """Return what was logged."""
    caplog.set_level(logging.INFO, logger="gh_tools")
    log.propagate, before = True, log.propagate
    yield lambda: caplog.text
    log.propagate = before


def test_a_name_with_an_at_sign_is_that_file(tmp_path):
    (tmp_path / "run").write_text(WATER.format(""))
    (tmp_path / "run@300.xyz").write_text(WATER.format("").replace("O", "S"))
    assert read(tmp_path / "run@300.xyz").atoms[0].get_chemical_formula() == "H2S"
    with pytest.raises(NoInputError, match=r"run@0:2: .* images of .*run, give --set images=0:2"):
        read(tmp_path / "run@0:2")


@pytest.mark.parametrize(
    "images, expected", [("-1", [2]), (1, [1]), ("::2", [0, 2]), ("1:", [1, 2])]
)
@pytest.mark.parametrize("name", ["run.extxyz", "run.traj", "run.json", "run.db"])
def test_images_of_every_container(tmp_path, name, images, expected):
    write(tmp_path / name, [bulk("Cu", a=3.6 + 0.1 * k) for k in range(3)])
    found = read(tmp_path / name, images=images)
    assert [round(10 * (4 * a.get_volume()) ** (1 / 3)) - 36 for a in found.atoms] == expected


@pytest.mark.parametrize("make, message", [
    (os.mkfifo, "found a pipe"),
    (os.mkdir, "found a folder"),
    (lambda path: path.write_text(""), "[Ee]mpty"),
    (lambda path: path.write_text("0\n\n"), "none or an empty one"),
    (lambda path: path.write_bytes(WATER.format("caf\xe9").encode("latin1")), "not UTF-8"),
    (lambda path: path.write_text(WATER.format("").replace("H", "D")), "'D' is the symbol of no .* deuterium"),
    (lambda path: path.write_text(WATER.format("").replace("H", "H1")), "'H1' is the symbol of no"),
    (lambda path: path.write_text(WATER.format("").replace("H", "X")), "atom 1 is a dummy atom"),
    (lambda path: path.write_text(WATER.format("").replace("0.96", "nan")), "image 0: the position of atom 1"),
    (lambda path: path.write_text(WATER.format('pbc="T F F"')), "periodic along its first cell vector"),
    (lambda path: path.write_text(WATER.format('lattice="5 0 0 0 5 0 0 0 5"')), "'lattice'"),
    (lambda path: path.write_text(WATER.format("a-b=1 a_b=2")), "'a-b' and 'a_b' would both become"),
    (lambda path: path.write_text(WATER.format("total_charge=-1")), "'total_charge', .* called 'charge'"),
    (lambda path: path.write_text(WATER.format("Charge=-1")), "'Charge', .* called 'charge'"),
    (lambda path: path.write_text(WATER.format("charge=-1e")), "'charge' is -1e, .* a number"),
    (lambda path: path.write_text(WATER.format("units=Bohr")), "units=Bohr, .* taken as Å"),
    (lambda path: path.write_text(WATER.format("k" * 300 + "=1")), "longer than 200 bytes"),
])  # fmt: skip
def test_files_that_are_refused(tmp_path, make, message):
    path = tmp_path / "file.xyz"
    make(path)
    with pytest.raises((DataError, NoInputError), match=rf"file\.xyz: .*{message}"):
        read(path)


def test_keys_that_collide_in_different_images(tmp_path):
    images = [Atoms("He", info={"a b": 1.0}), Atoms("He", info={"a-b": 2.0})]
    write(tmp_path / "run.traj", images)
    with pytest.raises(DataError, match="both become the column a_b"):
        read(tmp_path / "run.traj")


def test_words_of_a_comment_are_no_columns(tmp_path, said):
    (tmp_path / "a.xyz").write_text(WATER.format('water at 300 K T=300.0 doped=T "dry"=F'))
    columns = read(tmp_path / "a.xyz").columns
    assert {name: c.values.tolist() for name, c in columns.items()} == {
        "n_atoms": [3], "T": [300], "doped": [1], "dry": [0],
    }  # fmt: skip
    assert "left out, having no place in a store of structures: comment" in said()


def test_what_follows_from_a_structure_is_computed(tmp_path, said):
    atoms = bulk("Cu")
    atoms.info.update(n_atoms=99.0, density=1.0)
    write(tmp_path / "cu.extxyz", atoms)
    columns = read(tmp_path / "cu.extxyz").columns
    assert columns["n_atoms"].values.tolist() == [1]
    assert columns["density"].values[0] == pytest.approx(8.96, abs=0.1)
    assert "density, n_atoms" in said()


@pytest.mark.parametrize("name", ["rich.extxyz", "rich.traj", "rich.db", "rich.json"])
def test_what_is_left_out_is_told(tmp_path, name, said):
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_velocities(np.ones((3, 3)))
    atoms.set_initial_charges([1, 0, 0])
    numbers = {"temperature": 300.0, "label": "warm"}
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0, forces=np.ones((3, 3)))
    if name.endswith(("db", "json")):
        connect(tmp_path / name).write(atoms, **numbers)
    else:
        atoms.info.update(numbers)
        write(tmp_path / name, atoms)
    assert read(tmp_path / name).columns["temperature"].values.tolist() == [300]
    assert said().count("left out") == 1
    for what in ("constraints", "energy", "forces", "initial_charges", "label", "momenta"):
        assert what in said()
    assert "temperature" not in said()


def test_isotopes_are_their_element(tmp_path, said):
    heavy = molecule("H2O")
    heavy.set_masses([15.999, 2.014, 2.014])
    heavy.center(3)
    heavy.pbc = True
    write(tmp_path / "heavy.traj", heavy)
    found = read(tmp_path / "heavy.traj")
    assert found.atoms[0].get_chemical_formula() == "H2O"
    density = 20.027 * 1.66053907 / heavy.get_volume()
    assert found.columns["density"].values[0] == pytest.approx(density, rel=1e-6)
    assert "masses of isotopes" in said()


CIF = """data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_disorder_group
{}
"""
FM3M = "_symmetry_Int_Tables_number 225\n_symmetry_space_group_name_H-M 'F m -3 m'"


@pytest.mark.parametrize("symmetry, sites, message", [
    (FM3M, "Au1 Au 0 0 0 0.5 .\nAg1 Ag 0 0 0 0.5 .", "site Au1 has occupancy 0.5"),
    (FM3M, "Au1 Au 0 0 0 0.75(2) .", "site Au1 has occupancy 0.75"),
    ("", "C1 C 0 0 0 1 1\nC2 C 0.3 0 0 1 2", "disorder groups 1, 2"),
    ("", "FE1 FE 0 0 0 1 .", "called FE, which may be F or Fe"),
    ("", "O1 OH 0 0 0 1 .", "type OH, where one element"),
    ("", "O1 O ? 0 0 1 .", "site O1 has the coordinate x"),
    ("_cell_modulation_dimension 1", "Au1 Au 0 0 0 1 .", "modulated"),
    ("loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,+1", "Fe1 Fe 0.1 0 0 1 .", "magnetic"),
    ("_magnetic_space_group_BNS_number 62.441\nloop_\n_space_group_symop.magn_operation_xyz\nx,y,z,+1\n-x,-y,-z,+1",
     "Fe1 Fe 0.1 0 0 1 .", "magnetic"),
    ("_symmetry_space_group_name_Hall '-F 4 2 3'", "Au1 Au 0 0 0 1 .", "in a way that ASE does not read"),
    ("_symmetry_Int_Tables_number 227\n_symmetry_space_group_name_H-M 'F d -3 m :2'",
     "Si1 Si 0.125 0.125 0.125 1 .", "several settings"),
    ("_symmetry_space_group_name_H-M 'P 1 21/n 1'\nloop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-x,-y,-z'",
     "Si1 Si 0.1 0.2 0.3 1 .", "give its number"),
    ("_symmetry_Int_Tables_number 227", "Si1 Si 0.125 0.125 0.125 1 .", "several settings"),
    ("_symmetry_Int_Tables_number 14\n_symmetry_space_group_name_H-M 'P 1 21/n 1'",
     "Si1 Si 0.1 0.2 0.3 1 .", "several settings"),
])  # fmt: skip
def test_crystals_that_are_refused(tmp_path, symmetry, sites, message):
    (tmp_path / "x.cif").write_text(CIF.format(symmetry, sites))
    with pytest.raises(DataError, match=rf"x\.cif: .*{message}"):
        read(tmp_path / "x.cif", minimum_distance=0)


def test_crystals_with_their_symmetry(tmp_path):
    """Whole sites, deuterium, and the second setting, whose operations are listed."""
    (tmp_path / "gold.cif").write_text(CIF.format(FM3M, "Au1 Au 0 0 0 1.0 .\nD1 D 0.5 0.5 0.5 . ."))
    assert read(tmp_path / "gold.cif").atoms[0].get_chemical_formula() == "H4Au4"
    second = "_symmetry_Int_Tables_number 14\n_symmetry_space_group_name_H-M 'P 1 21/n 1'\nloop_\n_symmetry_equiv_pos_as_xyz\n"
    second += "'x,y,z'\n'1/2-x,1/2+y,1/2-z'\n'-x,-y,-z'\n'1/2+x,1/2-y,1/2+z'\n"
    (tmp_path / "second.cif").write_text(CIF.format(second, "Si1 Si 0.1 0.2 0.3 1 ."))
    found = read(tmp_path / "second.cif").atoms[0].get_scaled_positions(wrap=True)
    expected = [(0.1, 0.2, 0.3), (0.4, 0.7, 0.2), (0.9, 0.8, 0.7), (0.6, 0.3, 0.8)]
    np.testing.assert_allclose(sorted(map(tuple, found)), sorted(expected), atol=1e-6)


@pytest.mark.parametrize("column, values, message", [
    ("attached_hydrogens", "0 2", "site O1 has 2 attached hydrogens"),
    ("attached_hydrogens", "0 .", None),
    ("calc_flag", "d dum", "site O1 is a dummy"),
])  # fmt: skip
def test_sites_that_are_more_or_less_than_an_atom(tmp_path, column, values, message):
    text = CIF.format("", "Si1 Si 0.5 0.5 0.5 1 {}\nO1 O 0 0 0 1 {}").replace(
        "disorder_group", column
    )
    (tmp_path / "x.cif").write_text(text.format(*values.split()))
    if message is None:
        assert read(tmp_path / "x.cif").atoms[0].get_chemical_formula() == "OSi"
        return
    with pytest.raises(DataError, match=rf"x\.cif: .*{message}"):
        read(tmp_path / "x.cif")


def pdb(*atoms, cell=""):
    """Records of a protein data bank file; each atom a name, an x, and maybe occupancy and element."""
    lines = [f"CRYST1{30:9.3f}{30:9.3f}{30:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} {cell}"] * bool(cell)
    for name, x, occupancy, element in atoms:
        place = f"{x:8.3f}{0:8.3f}{0:8.3f}{occupancy:6.2f}{0:6.2f}"
        lines.append(f"ATOM  {1:5d} {name:4s} MOL  {1:4d}    {place}{element:>12s}")
    return "\n".join([*lines, "ENDMDL", "END"]) + "\n"


def test_records_of_a_protein_data_bank(tmp_path):
    path = tmp_path / "x.pdb"
    for text, message in [
        (pdb((" C", 0, 0.5, "C"), (" C", 1.5, 0.5, "C")), "occupancy 0.5"),
        (pdb((" CA", 0, 1, "")), "called CA, which may be C or Ca"),
        (
            pdb((" C  A", 0, 1, "C"), (" C  B", 1.5, 1, "C")).replace("MOL", "OL"),
            "alternate locations A, B",
        ),
        (pdb((" C", 0, 1, "C"), cell="P 21 21 21"), "space group is P 21 21 21"),
        (pdb((" C", 0, 1, "C"), cell="P 1") + pdb((" C", 0, 1, "C")), "one cell"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=rf"x\.pdb: .*{message}"):
            read(path)
    # The record END behind ENDMDL is no structure of its own.
    path.write_text(pdb((" CA", 0, 1, "C"), (" O", 1.2, 1, "O"), cell="P 1"))
    found = read(path)
    assert [atoms.get_chemical_formula() for atoms in found.atoms] == ["CO"]
    assert found.atoms[0].pbc.all()


DUMP = (
    "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
    "ITEM: ATOMS id {} x y z\n1 {} 0 0 0\n2 {} 2 2 2\n"
)
POSCAR = "{}\n1.0\n4 0 0\n0 4 0\n0 0 4\n{}1 1\nDirect\n0 0 0\n.5 .5 .5\n"
SHELX = "TITL x\nCELL 1.0 4 4 4 90 90 90\nLATT -1\nSFAC Si O\nSi 1 0 0 0 {}\nO 2 0.5 0.5 0.5 11.0\nEND\n"
GROMACS = "x\n    1\n    1ION {:>5s}    1   0.000   0.000   0.000\n   1.00000   1.00000   1.00000\n"
ESPRESSO = (
    "&CONTROL\n/\n&SYSTEM\nibrav=0, nat=2, ntyp=2\n/\nATOMIC_SPECIES\n{} 12.011 C.UPF\n{} 12.011 C.UPF\n"
    "CELL_PARAMETERS angstrom\n6 0 0\n0 6 0\n0 0 6\nATOMIC_POSITIONS crystal\n{} 0 0 0\n{} .5 .5 .5\n"
)
LAMMPS = (
    "text\n\n2 atoms\n2 atom types\n0 5 xlo xhi\n0 5 ylo yhi\n0 5 zlo zhi\n\n{}"
    "Atoms # atomic\n\n1 1 0 0 0\n2 2 2 2 2\n"
)


WITH_UNITS = "x, units = {}" + LAMMPS.format("Masses\n\n1 28.1\n2 16.0\n\n").removeprefix("text")


@pytest.mark.parametrize("name, wrong, message, right, formula", [
    ("a.lammpstrj", DUMP.format("type", 1, 2), "no elements", DUMP.format("element", "Si", "O"), "OSi"),
    ("u.lammpstrj", "ITEM: UNITS\nelectron\n" + DUMP.format("element", "Si", "O"), "units are 'electron'",
     "ITEM: UNITS\nmetal\n" + DUMP.format("element", "Si", "O"), "OSi"),
    ("POSCAR", POSCAR.format("Si C", ""), "line 6", POSCAR.format("cell", "Si C\n"), "CSi"),
    ("a.res", SHELX.format(0.5), "site Si has occupancy 0.5", SHELX.format(1.0), "OSi"),
    ("a.gro", GROMACS.format("NA"), "may be N or Na", GROMACS.format("Na"), "Na"),
    ("a.data", LAMMPS.format(""), "no section Masses",
     LAMMPS.format("Masses\n\n1 28.0855\n2 15.999\n\n"), "OSi"),
    ("a.data", LAMMPS.format("Masses\n\n1 28.0855\n2 15.035 # CH3\n\n"), "type 2 has the mass 15.035",
     LAMMPS.format("Masses\n\n1 58.9\n2 12 # C\n\n"), "CCo"),
    ("a.data", LAMMPS.format("Masses\n\n1 40\n2 16\n\n"), "type 1 has the mass 40",
     LAMMPS.format("Masses\n\n1 40.078\n2 16\n\n"), "CaO"),
    ("a.data", WITH_UNITS.format("electron"), "units are 'electron'",
     WITH_UNITS.format("real"), "OSi"),
    ("geometry.in", "atom 0 0 0 C\nempty 0 0 1.2 O\n", "'empty'", "atom 0 0 0 C\natom 0 0 1.2 O\n", "CO"),
    ("geometry.in", "atom 0 0 0 C\nmultipole 0 0 3 0 1.0\n", "'multipole'", "atom 0 0 0 C\n", "C"),
    ("geometry.in", "atom_frac 0 0 0 C\n", "without a lattice_vector", "atom 0 0 0 C\n", "C"),
    ("a.pwi", ESPRESSO.format("Ca", "Cb", "Ca", "Cb"), "label Ca has the mass of C",
     ESPRESSO.format("C1", "C_h", "C1", "C_h"), "C2"),
    ("coord", "$coord angs\n0 0 0 c\n1.2 0 0 o\n$end\n", "'\\$coord angs'",
     "$coord\n0 0 0 c\n2.2 0 0 o\n$end\n", "CO"),
    ("coord", "$coord\n0 0 0 c\n2.2 0 0 o\n$periodic 3\n$end\n", "'\\$periodic 3'",
     "$coord\n0 0 0 c\n2.2 0 0 o\n$end\n", "CO"),
])  # fmt: skip
def test_elements_and_occupancies_that_ase_would_guess(
    tmp_path, name, wrong, message, right, formula
):
    options = {"format": "lammps-data"} if name == "a.data" else {}
    (tmp_path / name).write_text(wrong)
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        read(tmp_path / name, **options)
    (tmp_path / name).write_text(right)
    assert read(tmp_path / name, **options).atoms[0].get_chemical_formula() == formula


def test_charges_that_are_left_out_are_told(tmp_path, said):
    espresso = ESPRESSO.format("C1", "C2", "C1", "C2")
    (tmp_path / "a.pwi").write_text(espresso.replace("ntyp=2", "ntyp=2, tot_charge = -1.0"))
    read(tmp_path / "a.pwi")
    assert "a.pwi: its charge is left out; give it to gh-label with --set charge=-1.0" in said()
    atoms = "".join(
        f"    0.0000    0.0000{z:10.4f} {s}   0  0\n" for s, z in (("O", 0), ("H", 0.97))
    )
    (tmp_path / "a.mol").write_text(
        f"\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n{atoms}  1  2  1  0\nM  CHG  1   1  -1\nM  END\n"
    )
    assert read(tmp_path / "a.mol").atoms[0].get_chemical_formula() == "HO"
    assert "a.mol: its charge is left out; give it to gh-label with --set charge=-1" in said()
    molecule = (tmp_path / "a.mol").read_text() + "$$$$\n"
    (tmp_path / "a.sdf").write_text(molecule + molecule)
    with pytest.raises(DataError, match=r"a\.sdf: it holds 2 molecules"):
        read(tmp_path / "a.sdf")


@pytest.mark.parametrize(
    "name, file_format",
    [("a.xsf", "xsf"), ("a.gen", "gen"), ("a.cube", "cube"), ("geometry.in", "aims"),
     ("a.pwi", "espresso-in"), ("a.cell", "castep-cell"), ("a.pdb", "proteindatabank")],
)  # fmt: skip
def test_more_formats(tmp_path, name, file_format, capfd):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    more = {"pseudopotentials": {"Na": "Na", "Cl": "Cl"}} if file_format == "espresso-in" else {}
    write(tmp_path / name, atoms, format=file_format, **more)
    capfd.readouterr()
    found = read(tmp_path / name).atoms[0]
    assert found.get_chemical_formula() == "ClNa"
    assert found.get_volume() == pytest.approx(5.6**3 / 4, rel=1e-3)
    assert capfd.readouterr().out == ""  # standard output is for results


def test_compressed_files(tmp_path):
    with gzip.open(tmp_path / "run.xyz.gz", "wt") as file:
        file.write(WATER.format("T=1"))
    found = read(tmp_path / "run.xyz.gz")
    assert (found.names, found.atoms[0].get_chemical_formula()) == (["run"], "H2O")
