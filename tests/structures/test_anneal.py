"""Annealing: the paper's schedules, the canonical ensemble, forces at the end, and resuming."""

import itertools
import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from pydantic import ValidationError

from gh_tools.errors import DataError
from gh_tools.structures.anneal import Annealing
from gh_tools.structures.registry import get_recipe
from gh_tools.structures.schedule import AnnealConfig, Dynamics, Optimisation, stages, time_step

from .springs import Springs

MASSES = {"agau": [107.87, 196.97]}
SHORT = AnnealConfig(temperatures=(600, 300), steps=(150, 130), first_fmax=0.3, final_fmax=0.05)


def alloy(seed=0):
    atoms = bulk("Ag", cubic=True)
    atoms.symbols[1] = "Au"
    atoms.rattle(0.1, seed=seed)
    return atoms


def annealing(folder, config=SHORT, atoms=None, calculator=None, seed=1, every=0):
    stream = np.random.SeedSequence(seed)
    atoms = alloy() if atoms is None else atoms
    return Annealing(atoms, config, calculator or EMT(), stream, folder, every)


def stages_of(name):
    return stages(get_recipe(name).config().anneal, np.array(MASSES.get(name, [1.0])))


# --- schedules


@pytest.mark.parametrize("name", ["hfo2", "hfo2-wse2", "wse2"])
def test_schedule_of_hafnia_and_the_interface(name):
    first, *dynamics, last = stages_of(name)
    assert (first, last) == (
        Optimisation(0.2, False, 1000),
        Optimisation(0.1, False, 1000, last=True),
    )
    assert [(s.temperature, s.steps, s.time_step) for s in dynamics] == [
        (800, 2000, 2.0),
        (700, 1600, 2.0),
        (600, 1200, 2.0),
        (500, 800, 2.0),
        (400, 400, 2.0),
    ]
    assert get_recipe(name).config().anneal.coupling == 100


def test_schedule_of_silica():
    first, *dynamics, last = stages_of("sio2")
    assert (first.fmax, last.fmax) == (5.0, 0.01)
    assert [stage.temperature for stage in dynamics] == list(range(2300, 900, -100))
    assert all(stage.steps * stage.time_step == 3000 for stage in dynamics)  # fs


def test_schedule_of_litfsi():
    first, dynamics = stages_of("litfsi")
    assert first.fmax == 0.05
    assert (dynamics.temperature, dynamics.steps * dynamics.time_step) == (100, 2000)
    assert get_recipe("litfsi").config().anneal.coupling == 50


def test_schedule_of_alloys_and_its_adaptive_time_step():
    first, *dynamics, last = stages_of("agau")
    assert (first.fmax, first.relax_cell, last.fmax, last.relax_cell) == (0.5, True, 0.1, False)
    assert (dynamics[0].temperature, dynamics[-1].temperature) == (1600, 700)
    steps = np.array([stage.time_step for stage in dynamics])
    assert np.all(np.diff(steps) > 0)
    # Silver atoms, the fastest, with velocities drawn from Maxwell's distribution.
    rng = np.random.default_rng(0)
    for stage in (dynamics[0], dynamics[-1]):
        deviation = np.sqrt(units.kB * stage.temperature / 107.87)
        speed = np.linalg.norm(rng.normal(scale=deviation, size=(400_000, 3)), axis=1)
        move = speed * stage.time_step * units.fs
        # Beyond five deviations lie 1.5e-5 of all: six of 400,000 on average.
        assert (move > 0.08).sum() < 20
        assert (move > 0.06).sum() > 100
    assert time_step(AnnealConfig(time_step=1.5, largest_move=0.08), 300, np.array([100.0])) == 1.5


def test_schedules_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="2 numbers for 5 temperatures"):
        AnnealConfig(steps=(10, 20))
    with pytest.raises(ValidationError, match="expected temperatures or an optimisation"):
        AnnealConfig(temperatures=(), first_fmax=None, final_fmax=None)
    assert len(stages(AnnealConfig(temperatures=()), np.ones(1))) == 2


# --- physics


def test_dynamics_samples_the_canonical_ensemble(tmp_path):
    """Kinetic and potential energy of atoms on springs: kT/2 a degree of freedom, of which the
    centre of mass, at rest, takes three away.
    """
    atoms, temperature = Atoms("Cu3", np.eye(3) * 3), 400.0
    config = AnnealConfig(
        temperatures=(temperature,), steps=(2000,), first_fmax=None, final_fmax=None, coupling=10
    )
    found = []
    run = annealing(tmp_path, config, atoms, Springs(), every=1)
    frames = run.run(lambda steps, text: found.append(float(re.search(r": (\d+) K", text)[1])))
    assert len(frames) == len(found) == 2000
    # The kinetic energy forgets itself within the coupling time, 5 steps: with the factor 2 of an
    # exponential decay 200 independent values, each with a deviation of √(2/6): a standard error of
    # 4 %. With 9 degrees of freedom in place of 6 the mean would be half as large again.
    assert np.mean(found) == pytest.approx(temperature, rel=0.14)
    # Canonical, not scaled to one energy: the variance, too.
    assert np.var(found) / temperature**2 == pytest.approx(2 / 6, rel=0.35)
    # Springs swing once in 20 to 100 fs, and pass energy on no faster: some 40 values, 10 %.
    potential = np.mean([frame.energy for frame in frames])
    assert potential == pytest.approx(6 / 2 * units.kB * temperature, rel=0.3)
    # The centre rests, to rounding.
    centre = np.array([frame.positions.mean(axis=0) for frame in frames])
    assert np.abs(centre - atoms.positions.mean(axis=0)).max() < 1e-9


def test_temperature_follows_the_schedule(tmp_path):
    config = AnnealConfig(
        temperatures=(900, 300), steps=(400, 600), first_fmax=None, final_fmax=None, coupling=20
    )
    texts = []
    frames = annealing(tmp_path, config, bulk("Au", cubic=True), Springs(), every=50).run(
        lambda steps, text: texts.append(text)
    )
    assert [frame.temperature for frame in frames] == [900] * 8 + [300] * 12
    assert [frame.time for frame in frames] == list(np.arange(50, 1001, 50) * 2.0)
    found = np.array([[float(x) for x in re.match(r"(\S+) K: (\d+) K", t).groups()] for t in texts])
    early, late = (found[:, 0] == kelvin for kelvin in (900, 300))
    assert (early.sum(), late.sum()) == (400, 600)
    # Few atoms fluctuate by half of their temperature, over some 20 independent values each.
    assert found[early, 1].mean() == pytest.approx(900, rel=0.4)
    assert found[late, 1][100:].mean() == pytest.approx(300, rel=0.4)


@pytest.mark.parametrize("seed", range(3))
def test_forces_end_below_the_threshold(tmp_path, seed):
    frames = annealing(tmp_path, atoms=alloy(seed), seed=seed).run()
    assert len(frames) == 1
    again = alloy()
    again.positions, again.calc = frames[0].positions, EMT()
    largest = np.linalg.norm(again.get_forces(), axis=1).max()
    assert largest < 0.05
    assert frames[0].max_force == pytest.approx(largest, abs=1e-9)
    assert frames[0].energy == pytest.approx(again.get_potential_energy(), abs=1e-9)
    assert (frames[0].temperature, frames[0].time) == (0.0, 560.0)


def test_first_optimisation_finds_the_lattice_constant(tmp_path):
    config = AnnealConfig(temperatures=(), first_fmax=1e-3, relax_cell=True, final_fmax=None)
    atoms = bulk("Au", a=4.3, cubic=True)
    frame = annealing(tmp_path, config, atoms).run()[0]
    # What EMT gives for gold, from its energies at nearby volumes.
    trial = np.linspace(4.02, 4.10, 9)
    energies = []
    for constant in trial:
        crystal = bulk("Au", a=constant)
        crystal.calc = EMT()
        energies.append(crystal.get_potential_energy())
    best = -np.divide(*np.polyfit(trial - 4.06, energies, 2)[1::-1]) / 2
    np.testing.assert_allclose(frame.cell, np.eye(3) * (4.06 + best), atol=2e-3)


def test_an_optimisation_that_does_not_end_gives_up(tmp_path):
    steps = itertools.count()
    config = AnnealConfig(temperatures=(), first_fmax=None, final_fmax=1e-3, max_steps=2)
    frame = annealing(tmp_path, config).run(lambda *_: next(steps))[0]
    assert next(steps) == 3  # it tells of its start, too
    assert frame.max_force > 1e-3
    # A first optimisation that stops too early does not keep the dynamics from starting.
    config = SHORT.model_copy(update={"max_steps": 1, "steps": (20,)})
    frame = annealing(tmp_path / "short", config).run()[0]
    assert (frame.time, frame.max_force > 0.05) == (80.0, True)


def test_atoms_that_fly_apart_are_no_structure(tmp_path):
    config = AnnealConfig(temperatures=(300,), steps=(200,), time_step=50.0, first_fmax=None)
    with np.errstate(all="ignore"), pytest.raises(DataError, match="flew apart; make time_step"):
        annealing(tmp_path, config, calculator=Springs(softest=1000.0)).run()


# --- resuming


class Killed(BaseException):
    """What stops a run at once."""


def stop_after(n):
    steps = itertools.count(1)

    def watch(made, text):
        if next(steps) == n:
            raise Killed

    return watch


RELAXED = SHORT.model_copy(update={"relax_cell": True})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Frames of a run, and how many steps of all kinds it told of."""
    steps = itertools.count()
    run = annealing(tmp_path_factory.mktemp("whole"), RELAXED, every=20)
    return run.run(lambda *_: next(steps)), next(steps)


@pytest.mark.parametrize("when", [0.01, 0.4, 0.7, 0.995])
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, uninterrupted, when):
    whole, steps = uninterrupted
    with pytest.raises(Killed):
        annealing(tmp_path, RELAXED, every=20).run(stop_after(max(1, int(when * steps))))
    second = annealing(tmp_path, RELAXED, every=20)
    assert (second.steps_done > 0) == (when > 0.01)
    resumed = second.run()
    assert len(whole) == len(resumed) == 280 // 20 + 1
    for one, other in zip(whole, resumed, strict=True):
        for name in vars(one):
            np.testing.assert_array_equal(vars(one)[name], vars(other)[name])


def test_other_seeds_other_trajectories(tmp_path):
    config = AnnealConfig(temperatures=(300,), steps=(5,), first_fmax=None, final_fmax=None)
    one, other = (annealing(tmp_path / str(seed), config, seed=seed).run() for seed in (1, 2))
    assert not np.array_equal(one[0].positions, other[0].positions)


def test_molecules_anneal(tmp_path):
    config = AnnealConfig(temperatures=(300,), steps=(50,), time_step=0.5)
    frame = annealing(tmp_path, config, molecule("H2O")).run()[0]
    assert frame.max_force < 0.1


def test_kinds_of_stages():
    kinds = [type(stage) for stage in stages(SHORT, np.ones(2))]
    assert kinds == [Optimisation, Dynamics, Dynamics, Optimisation]
