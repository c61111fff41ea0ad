"""Time what makes structures: packing an interface, and what annealing adds to its calculator.

python share/gh_tools/benchmarks/structures.py

CPU seconds on one core of an AMD EPYC that others used, too, 2026-11-23, Packmol 21.2.3, ASE 3.29:

    interface of 360 atoms                   0.06 s
    interface of 3500 atoms                  2.4 s
    108 atoms, EMT: forces alone             9.4 ms
    108 atoms, EMT: a step of the annealing  11.5 ms
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.calculators.emt import EMT

from gh_tools.structures import registry
from gh_tools.structures.anneal import Annealing
from gh_tools.structures.generate import build_one
from gh_tools.structures.schedule import AnnealConfig

STEPS = 200


def cpu() -> float:
    """CPU seconds of this process and of those that it ran."""
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def timed(what: str, function, repeats: int = 1) -> None:
    """Print how long a function takes, in CPU seconds."""
    start = cpu()
    function()
    print(f"{what:<40} {1e3 * (cpu() - start) / repeats:.1f} ms", flush=True)


def main() -> None:
    """Measure all."""
    interface, alloy = registry.get_recipe("hfo2-wse2"), registry.get_recipe("agau")
    large = interface.config(size=(12, 7), molecules=1000)
    timed("interface of 360 atoms", lambda: build_one(interface, interface.config(), 1, 0))
    timed("interface of 3500 atoms", lambda: build_one(interface, large, 1, 0))

    atoms = build_one(alloy, alloy.config(), 1, 0).atoms
    calculator = EMT()

    def forces() -> None:
        for seed in range(STEPS):
            atoms.rattle(1e-3, seed=seed)
            calculator.get_forces(atoms)

    timed("108 atoms, EMT: forces alone", forces, STEPS)
    config = AnnealConfig(temperatures=(300,), steps=(STEPS,), first_fmax=None, final_fmax=None)
    with tempfile.TemporaryDirectory() as folder:
        run = Annealing(atoms, config, EMT(), np.random.SeedSequence(0), Path(folder))
        timed("108 atoms, EMT: a step of the annealing", run.run, STEPS)


if __name__ == "__main__":
    main()
