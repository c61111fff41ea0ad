"""Many structures made by a recipe and annealed: one store, each safe as soon as it is finished."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree

import numpy as np
from ase import Atoms

from gh_tools.console import log, progress
from gh_tools.errors import DataError, GhError, TryAgainError
from gh_tools.store.io import put
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import (
    Structures,
    column_attributes,
    read_structures,
    structure_arrays,
)
from gh_tools.structures import registry
from gh_tools.structures.anneal import Annealing, Snapshot, Watch
from gh_tools.structures.calculators import RELAXES, make_calculator
from gh_tools.structures.generate import build_one, how_many, join_built, too_close
from gh_tools.structures.geometry import geometry_columns
from gh_tools.structures.recipe import BuiltStructure, Quantity, Recipe, RecipeConfig
from gh_tools.structures.schedule import Dynamics, stages
from gh_tools.workers.processes import Processes
from gh_tools.workers.task import Failure

_THERMOSTAT = 1  # key of its random numbers beside those of the structure

Arrays = dict[str, np.ndarray]
_Job = tuple[str, RecipeConfig, int, int, Path]  # the first arguments of `anneal_one`


def build_annealed(
    path: Path,
    recipe: Recipe,
    config: RecipeConfig,
    provenance: Provenance,
    *,
    n: int | None = None,
    seed: int = 0,
    every: int = 0,
    n_workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path, int, list[dict]]:
    """Make the structures of a recipe, anneal them, and write a store of kind ``structures``.

    Args:
        path: of the store.
        recipe: what to make.
        config: its options, with ``anneal.calculator``.
        provenance: how the store is being made.
        n: how many; without it one, or all there are.
        seed: same seed, same structures; number k does not depend on ``n``.
        every: steps of dynamics from one kept snapshot to the next; 0 keeps the end alone.
        n_workers: structures worked on at once.
        resume: go on where an earlier run stopped, within a trajectory, too.
        overwrite: discard what it left.

    Returns:
        The path, how many structures it holds, and the failures: index, name and reason of each.

    Raises:
        UsageError: the calculator's name or options make no sense.
        MissingExtraError: it is not installed.
        TryAgainError: not one structure was finished.
    """
    n = how_many(recipe, config, n)
    # What is wrong with the calculators shows before anything is written.
    calculators = _calculators(config)
    _try(calculators, recipe, config, seed)
    partial = PartialStore(path, provenance, resume=resume, overwrite=overwrite)
    if partial.finished:
        return path, len(read_structures(path)), []
    partial.forget_failures(range(n))
    earlier = read_structures(path) if partial.extends else None
    there = set() if earlier is None else set(earlier.columns["trajectory"].values.astype(int))
    left = [k for k in range(n) if k not in there and not partial.has_part(k)]
    job = (recipe.name, config, seed, every, partial.directory)
    made = _serial(job, left, calculators) if n_workers == 1 else _parallel(job, left, n_workers)
    for index, result in made:
        if isinstance(result, Failure):
            name = recipe.name_of(config, seed, index)
            log.error("%s failed: %s", name, result)
            partial.fail(index, name, str(result))
        else:
            partial.write_part(index, result)
            rmtree(_folder(partial.directory, index), ignore_errors=True)
    failures = partial.failures()
    samples = [] if earlier is None else _samples_of(earlier)
    for index in filter(partial.has_part, range(n)):
        with partial.open_part(index) as part:
            samples += _samples(part)
    if not samples:
        reasons = "; ".join(failure["reason"] for failure in failures)
        raise TryAgainError(f"{path}: no structure was finished ({reasons}); try --resume")
    samples.sort(key=lambda sample: sample.columns["trajectory"].value)  # stable
    structures = join_built(samples)
    _publish(partial, structures, failures)
    _say_unrelaxed(structures, config)
    return path, len(structures), failures


def _calculators(config: RecipeConfig) -> tuple:
    """Return what anneals, and what relaxes if that is another."""
    anneal = config.anneal
    assert anneal.calculator is not None  # without one nothing is annealed
    first = make_calculator(anneal.calculator, anneal.options)
    if anneal.relax is None:
        return (first,)
    return first, make_calculator(anneal.relax, anneal.relax_options, RELAXES)


def _try(calculators: tuple, recipe: Recipe, config: RecipeConfig, seed: int) -> None:
    """Let a potential that does not know the elements say so before many structures fail one after the other.

    Raises:
        DataError: it does not.
    """
    for calculator in calculators:
        if hasattr(calculator, "check"):
            calculator.check(build_one(recipe, config, seed, 0).atoms)


def _folder(directory: Path, index: int) -> Path:
    return directory / "annealing" / f"{index:06d}"


def _serial(
    job: _Job, indices: Sequence[int], calculators: tuple
) -> Iterator[tuple[int, Arrays | Failure]]:
    name, config, *_ = job
    # Masses decide on the length of a time step, not on how many there are.
    per_structure = sum(
        stage.steps for stage in stages(config.anneal, np.ones(1)) if isinstance(stage, Dynamics)
    )
    with progress(f"annealing {name}", per_structure * len(indices)) as shown:
        for done, index in enumerate(indices, start=1):

            def watch(steps: int, text: str, which: str = f"{done}/{len(indices)}") -> None:
                shown.advance(steps)
                shown.update(which, text)

            try:
                yield index, anneal_one(*job, index, calculators, watch)
            except GhError as error:
                yield index, Failure(error)
            except Exception as error:  # calculators have errors of their own
                yield index, Failure(f"{type(error).__name__}: {error}")


def _parallel(job: _Job, indices: Sequence[int], n_workers: int) -> Iterator:
    tasks = [(index, (*job, index)) for index in indices]
    with progress(f"annealing {job[0]}", len(tasks)) as shown:
        for index, result in Processes(n_workers).run(anneal_one, tasks):
            shown.advance()
            yield index, result


def anneal_one(
    name: str,
    config: RecipeConfig,
    seed: int,
    every: int,
    directory: Path,
    index: int,
    calculators: tuple = (),
    watch: Watch | None = None,
) -> Arrays:
    """Make and anneal structure number ``index`` of a recipe, or finish what was begun.

    Args:
        name: of the recipe.
        config: its options.
        seed: of the whole set.
        every: steps of dynamics from one kept snapshot to the next; 0 keeps the end alone.
        directory: where the states of annealings are kept.
        index: which structure.
        calculators: what anneals, and what relaxes if that is another; made anew from the options if not given.
        watch: hears of each step.

    Returns:
        Snapshots as the arrays of a part.
    """
    sample = build_one(registry.get_recipe(name), config, seed, index)
    calculator, *relaxer = calculators or _calculators(config)
    stream = np.random.SeedSequence(seed, spawn_key=(index, _THERMOSTAT))
    folder = _folder(directory, index)
    annealing = Annealing(sample.atoms, config.anneal, calculator, stream, folder, every, *relaxer)
    if watch is not None and annealing.steps_done:
        watch(annealing.steps_done, "resumed")
    frames = annealing.run(watch) if watch is not None else annealing.run()
    samples = [_snapshot(sample, frame, index, config) for frame in frames]
    for of_frame in samples:  # what is hot may be close; what is relaxed may not
        limit = config.minimum_distance if of_frame is samples[-1] else 0.0
        if (fault := too_close(of_frame.atoms, limit)) is not None:
            raise DataError(f"after annealing, {fault}; does the calculator know these elements?")
    return _part(samples)


def _snapshot(
    sample: BuiltStructure, frame: Snapshot, index: int, config: RecipeConfig
) -> BuiltStructure:
    atoms = sample.atoms.copy()
    atoms.set_cell(frame.cell)
    atoms.positions = frame.positions
    columns = sample.columns | geometry_columns(atoms)
    columns |= {
        "trajectory": Quantity(index, "", "number of the annealed structure"),
        "temperature": Quantity(frame.temperature, "K", "of the thermostat; 0 where relaxed"),
        "time": Quantity(frame.time, "fs", "since the dynamics began"),
        "annealing_energy": Quantity(frame.energy, "eV", "by the annealing's calculator"),
        "max_force": Quantity(frame.max_force, "eV/Å", "largest force by that calculator"),
    }
    name = sample.name
    if frame.temperature:
        name = f"{name}-{frame.time:.0f}fs"
    elif config.anneal.final_fmax is not None:
        relaxed = frame.max_force <= config.anneal.final_fmax
        columns["relaxed"] = Quantity(relaxed, "", "1 where max_force is below final_fmax")
    return BuiltStructure(atoms, columns, name)


# --- parts: the samples of one structure as arrays


def _part(samples: list[BuiltStructure]) -> Arrays:
    columns = [
        {name: list(quantity) for name, quantity in sample.columns.items()} for sample in samples
    ]
    return {
        "number": samples[0].atoms.numbers,
        "pbc": samples[0].atoms.pbc,
        "position": np.array([sample.atoms.positions for sample in samples]),
        "cell": np.array([sample.atoms.cell.array for sample in samples]),
        "text": np.array(
            json.dumps([[s.name, c] for s, c in zip(samples, columns, strict=True)], default=float)
        ),
    }


def _samples(part) -> list[BuiltStructure]:
    number, pbc = part["number"], part["pbc"]
    rows = zip(part["position"], part["cell"], json.loads(str(part["text"])), strict=True)
    return [
        BuiltStructure(
            Atoms(number, position, cell=cell, pbc=pbc),
            {key: Quantity(*quantity) for key, quantity in columns.items()},
            name,
        )
        for position, cell, (name, columns) in rows
    ]


def _samples_of(structures: Structures) -> list[BuiltStructure]:
    """Take the structures of a finished store apart, for others to join them."""
    return [
        BuiltStructure(
            atoms,
            {
                key: Quantity(float(column.values[row]), column.unit, column.description)
                for key, column in structures.columns.items()
            },
            name,
        )
        for row, (atoms, name) in enumerate(zip(structures.atoms, structures.names, strict=True))
    ]


def _publish(partial: PartialStore, structures: Structures, failures: list[dict]) -> None:
    attributes = column_attributes(structures)

    def fill(group) -> None:
        for key, values in structure_arrays(structures).items():
            put(group, key, values, attributes.get(key))

    partial.publish("structures", fill, {"failed": failures} if failures else {})


def _say_unrelaxed(structures: Structures, config: RecipeConfig) -> None:
    if "relaxed" not in structures.columns:
        return
    relaxed, force = (structures.columns[key].values for key in ("relaxed", "max_force"))
    for row in np.flatnonzero(relaxed == 0):
        log.warning(
            "%s: the largest force is %.3g eV/Å, above final_fmax = %g, after %d steps; it is kept, "
            "with relaxed = 0 (raise anneal.max_steps)",
            structures.names[row],
            force[row],
            config.anneal.final_fmax,
            config.anneal.max_steps,
        )
