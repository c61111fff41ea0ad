"""What an annealing does: the schedule as a configuration, and the stages that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator

# Speeds follow Maxwell's distribution: one in 65,000 exceeds five times √(kT/m).
_ALMOST_NEVER = 5.0


class AnnealConfig(BaseModel):
    """Optimisation, molecular dynamics at falling temperatures, and optimisation."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    calculator: str | None = None
    """What gives energies and forces: emt, xtb, chgnet, sevennet, lammps:NAME, lammps:FILE, mace:FILE, or
    module:Class for any other of ASE's calculators; the last three from the command line alone. Without one
    structures are not annealed."""
    options: dict[str, Any] = {}
    """Arguments of the calculator by name, such as method = "GFN1-xTB" for xtb."""
    relax: str | None = None
    """What gives them in the last optimisation, named like calculator; without it the same. A potential that is cheap makes
    the dynamics long, and one that knows more mends the bonds."""
    relax_options: dict[str, Any] = {}
    """Arguments of relax by name."""
    first_fmax: PositiveFloat | None = 0.2
    """Largest force at which the first optimisation (LBFGS) ends, in eV/Å; without it there is none."""
    relax_cell: bool = False
    """Whether the first optimisation scales the cell, too; its shape stays."""
    temperatures: tuple[PositiveFloat, ...] = (800, 700, 600, 500, 400)
    """Temperatures one after the other, in K; with none there is no dynamics."""
    steps: tuple[PositiveInt, ...] = (2000, 1600, 1200, 800, 400)
    """Time steps at each temperature; a single number holds for all."""
    time_step: PositiveFloat = 2.0
    """Time step in fs."""
    largest_move: PositiveFloat | None = None
    """Way in Å that an atom almost never exceeds in one step. Where given, the time step follows
    from the temperature and the lightest atom, and time_step is its upper limit."""
    coupling: PositiveFloat = 100.0
    """Time constant of the thermostat (Bussi's velocity rescaling) in fs."""
    final_fmax: PositiveFloat | None = 0.1
    """Largest force at which the last optimisation ends, in eV/Å; without it there is none."""
    max_steps: PositiveInt = 1000
    """Steps after which an optimisation gives up. What it did not reach is said and recorded."""

    @model_validator(mode="after")
    def _check(self):
        if len(self.steps) not in (1, len(self.temperatures)) and self.temperatures:
            raise ValueError(
                f"steps has {len(self.steps)} numbers for {len(self.temperatures)} temperatures; "
                "give one for each, or a single one for all"
            )
        if not (self.first_fmax or self.temperatures or self.final_fmax):
            raise ValueError("expected temperatures or an optimisation (first_fmax, final_fmax)")
        if self.relax is not None and not (self.calculator and self.final_fmax):
            raise ValueError(
                "relax is for the last optimisation: expected a calculator and final_fmax, too"
            )
        return self


@dataclass(frozen=True)
class Optimisation:
    """A stage that moves atoms downhill.

    Args:
        fmax: force in eV/Å at which it ends.
        relax_cell: whether the cell is scaled, too.
        steps: after which it gives up.
        last: whether it is what ``relax`` is for.
    """

    fmax: float
    relax_cell: bool
    steps: int
    last: bool = False


@dataclass(frozen=True)
class Dynamics:
    """A stage of molecular dynamics at one temperature.

    Args:
        temperature: in K.
        time_step: in fs.
        steps: how many.
    """

    temperature: float
    time_step: float
    steps: int


def stages(
    config: AnnealConfig, masses: Float[np.ndarray, " atoms"]
) -> list[Optimisation | Dynamics]:
    """Return the stages of a schedule in their order.

    Args:
        config: the schedule.
        masses: of the atoms, in u; an adaptive time step depends on them.
    """
    return list(_stages(config, masses))


def _stages(config: AnnealConfig, masses) -> Iterator[Optimisation | Dynamics]:
    if config.first_fmax is not None:
        yield Optimisation(config.first_fmax, config.relax_cell, config.max_steps)
    steps = config.steps * len(config.temperatures) if len(config.steps) == 1 else config.steps
    for temperature, n in zip(config.temperatures, steps, strict=False):
        yield Dynamics(temperature, time_step(config, temperature, masses), n)
    if config.final_fmax is not None:
        yield Optimisation(config.final_fmax, False, config.max_steps, last=True)


def time_step(
    config: AnnealConfig, temperature: float, masses: Float[np.ndarray, " atoms"]
) -> float:
    """Return the time step at a temperature, in fs.

    Args:
        config: the schedule; ``largest_move`` makes the step adaptive.
        temperature: in K.
        masses: of the atoms, in u.
    """
    if config.largest_move is None:
        return config.time_step
    speed = _ALMOST_NEVER * np.sqrt(units.kB * temperature / np.min(masses))
    return min(config.time_step, float(config.largest_move / speed / units.fs))
