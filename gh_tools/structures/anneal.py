"""Annealing of one structure, in segments that an interrupted run takes up again.

Each segment starts from what a file can hold (positions, momenta, cell, the state of the random
numbers) and from a calculator that remembers nothing. So a run that was killed and resumed goes
through the same numbers as one that was not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.structures.schedule import AnnealConfig, Dynamics, Optimisation, stages

SEGMENT = 100  # steps between two saved states

# Called after each step with the steps of dynamics just made and a few words on temperature, energy.
Watch = Callable[[int, str], None]


@dataclass
class Snapshot:
    """One structure of a trajectory.

    Args:
        positions: in Å.
        cell: in Å.
        temperature: of the thermostat in K; 0 for a relaxed structure.
        time: since the dynamics began, in fs.
        energy: by the calculator, in eV.
        max_force: largest force on an atom, in eV/Å.
    """

    positions: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"]
    temperature: float
    time: float
    energy: float
    max_force: float


@dataclass
class _State:
    """Where an annealing stands."""

    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    rng: np.random.Generator
    stage: int = 0
    step: int = 0  # within the stage
    dynamics: int = 0  # steps of dynamics in all stages
    time: float = 0.0
    frames: list[Snapshot] = field(default_factory=list)


class Annealing:
    """The annealing of one structure.

    Args:
        atoms: the structure.
        config: the schedule.
        calculator: of ASE.
        seed: of velocities and thermostat.
        folder: where its state is kept; what is there already is gone on with.
        every: steps of dynamics from one kept frame to the next; 0 keeps none.
        relaxer: the calculator of the last optimisation, if it is another.
    """

    def __init__(
        self,
        atoms: Atoms,
        config: AnnealConfig,
        calculator,
        seed: np.random.SeedSequence,
        folder: Path,
        every: int = 0,
        relaxer=None,
    ):
        self.atoms, self.config = atoms.copy(), config
        self.calculator, self.relaxer = calculator, relaxer or calculator
        self.folder, self.every = folder, every
        self.stages = stages(config, atoms.get_masses())
        self._state = self._load() or _State(
            atoms.positions.copy(),
            np.zeros((len(atoms), 3)),
            atoms.cell.array.copy(),
            np.random.default_rng(seed),
        )

    @property
    def steps_done(self) -> int:
        """Steps of dynamics that are behind."""
        return self._state.dynamics

    def run(self, watch: Watch = lambda steps, text: None) -> list[Snapshot]:
        """Go through all stages that are left.

        Args:
            watch: hears of each step.

        Returns:
            The frames that were kept, and the structure at the end, unless the last of them is it.

        Raises:
            DataError: the atoms flew apart.
        """
        while self._state.stage < len(self.stages):
            self._restore()
            stage = self.stages[self._state.stage]
            if isinstance(stage, Optimisation):
                ended = self._optimise(stage, watch)
            else:
                ended = self._move(stage, watch)
            self._take(ended)
            self._save()
        self._restore()
        last = self.stages[-1].temperature if isinstance(self.stages[-1], Dynamics) else 0.0
        frames = self._frames()
        if not (frames and last and self._state.dynamics % self.every == 0):
            frames.append(self._frame(last))
        return frames

    def _restore(self) -> None:
        """Put the atoms where the state has them, and make the calculator forget."""
        state = self._state
        self.atoms.set_constraint()
        self.atoms.set_cell(state.cell)
        self.atoms.positions = state.positions
        self.atoms.set_momenta(state.momenta)
        stage = self.stages[min(state.stage, len(self.stages) - 1)]
        last = isinstance(stage, Optimisation) and stage.last
        self.atoms.calc = self.relaxer if last else self.calculator
        if hasattr(self.atoms.calc, "reset"):
            self.atoms.calc.reset()

    def _take(self, ended: bool) -> None:
        state = self._state
        state.positions = self.atoms.positions.copy()
        state.momenta = self.atoms.get_momenta()
        state.cell = self.atoms.cell.array.copy()
        if not np.isfinite(state.positions).all():
            raise DataError("the atoms flew apart; make time_step smaller")
        if ended:
            state.stage, state.step = state.stage + 1, 0

    def _optimise(self, stage: Optimisation, watch: Watch) -> bool:
        from ase.filters import FrechetCellFilter
        from ase.optimize import LBFGS

        scaled = FrechetCellFilter(self.atoms, hydrostatic_strain=True)
        self.atoms.set_momenta(np.zeros((len(self.atoms), 3)))
        limit = min(SEGMENT, stage.steps - self._state.step)
        # Filters serve as atoms, and without a log file there is none: ASE's types know neither.
        relaxed: Any = scaled if stage.relax_cell else self.atoms
        no_log: Any = None
        with LBFGS(relaxed, logfile=no_log) as optimiser:
            for converged in optimiser.irun(stage.fmax, steps=limit):  # noqa: B007, asked for below
                watch(0, f"LBFGS {self._max_force():.3f} eV/Å, {self._energy()}")
        self._state.step += optimiser.nsteps
        return converged or self._state.step >= stage.steps

    def _move(self, stage: Dynamics, watch: Watch) -> bool:
        from ase.constraints import FixCom
        from ase.md.bussi import Bussi

        state = self._state
        # The centre of mass stays, which the thermostat's count of degrees of freedom has to know.
        self.atoms.set_constraint(FixCom())
        if not state.momenta.any():
            deviation = np.sqrt(self.atoms.get_masses() * units.kB * stage.temperature)
            self.atoms.set_momenta(deviation[:, None] * state.rng.normal(size=(len(self.atoms), 3)))
        limit = min(SEGMENT, stage.steps - state.step)
        with Bussi(
            self.atoms,
            stage.time_step * units.fs,
            temperature_K=stage.temperature,
            taut=self.config.coupling * units.fs,
            rng=state.rng,
        ) as dynamics:
            for _ in itertools.islice(dynamics.irun(limit), 1, None):
                state.dynamics += 1
                state.time += stage.time_step
                if self.every and state.dynamics % self.every == 0:
                    state.frames.append(self._frame(stage.temperature))
                found = self.atoms.get_temperature()
                watch(1, f"{stage.temperature:g} K: {found:.0f} K, {self._energy()}")
        state.step += limit
        return state.step >= stage.steps

    def _energy(self) -> str:
        return f"{self.atoms.get_potential_energy() / len(self.atoms):.4f} eV/atom"

    def _max_force(self) -> float:
        return float(np.linalg.norm(self.atoms.get_forces(), axis=1).max())

    def _frame(self, temperature: float) -> Snapshot:
        return Snapshot(
            self.atoms.positions.copy(),
            self.atoms.cell.array.copy(),
            temperature,
            self._state.time,
            float(self.atoms.get_potential_energy()),
            self._max_force(),
        )

    # --- on disk: state.npz, and the frames of each segment in a file of their own

    def _save(self) -> None:
        """Write the frames since the last time, then the state that counts them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self._state
        if state.frames:
            rows = zip(*(vars(frame).values() for frame in state.frames), strict=True)
            columns = zip(Snapshot.__dataclass_fields__, rows, strict=True)
            arrays = {name: np.array(values) for name, values in columns}
            _write(self.folder / f"frames-{state.dynamics:09d}.npz", arrays)
            state.frames = []
        numbers = [state.stage, state.step, state.dynamics]
        _write(
            self.folder / "state.npz",
            {
                "positions": state.positions,
                "momenta": state.momenta,
                "cell": state.cell,
                "rng": np.array(json.dumps(state.rng.bit_generator.state)),
                "numbers": np.array(numbers),
                "time": np.array(state.time),
            },
        )

    def _load(self) -> _State | None:
        file = self.folder / "state.npz"
        if not file.exists():
            return None
        with np.load(file, allow_pickle=False) as saved:
            rng = np.random.default_rng()
            rng.bit_generator.state = json.loads(str(saved["rng"]))
            stage, step, dynamics = (int(number) for number in saved["numbers"])
            return _State(
                saved["positions"],
                saved["momenta"],
                saved["cell"],
                rng,
                stage,
                step,
                dynamics,
                float(saved["time"]),
            )

    def _frames(self) -> list[Snapshot]:
        return list(itertools.chain.from_iterable(map(_read, sorted(self.folder.glob("frames-*")))))


def _write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    temporary = file.with_name(f".{file.name}")
    with temporary.open("wb") as stream:
        contents: dict[str, Any] = dict(arrays)
        np.savez(stream, **contents)
    temporary.rename(file)


def _read(file: Path) -> Iterator[Snapshot]:
    with np.load(file, allow_pickle=False) as saved:
        columns = [saved[name] for name in Snapshot.__dataclass_fields__]
    for positions, cell, *numbers in zip(*columns, strict=True):
        yield Snapshot(positions, cell, *(float(number) for number in numbers))
