"""Measure gh-dos at scale: E_F and carriers, certified, and densities of states in a window.

    python share/gh_tools/benchmarks/scale/spectra.py --sizes 500 1000 2000 4000 --engines pardiso mumps
    python share/gh_tools/benchmarks/scale/spectra.py --sizes 4000 --window -5 5

Each size and engine runs in a process of its own, so that peaks of memory are its own. One JSON line each:
wall and CPU seconds by stage, peak memory in GiB, counts and residuals.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(n_atoms: int, engine: str, window: tuple[float, float], table: Path) -> dict:
    """Solve one system in this process."""
    import numpy as np
    from spectra_system import extended_hueckel, structure

    from gh_tools.spectra.config import DosConfig
    from gh_tools.spectra.spectrum import compute_spectrum

    logging.basicConfig(level=logging.INFO)
    stages = {}

    def timed(name: str, function, *arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*arguments)
        stages[f"{name}_s"] = round(time.perf_counter() - wall, 1)
        stages[f"{name}_cpu_s"] = round(time.process_time() - cpu, 1)
        return result

    atoms = structure(n_atoms)
    hamiltonian = timed("hamiltonian", extended_hueckel, atoms, pickle.loads(table.read_bytes()))
    solver = "dense" if engine == "dense" else "slices"
    config = DosConfig(
        kpts=(1, 1, 1),
        window=window,
        carriers=("W", "Se"),
        engine="auto" if engine == "dense" else engine,
    )
    spectrum = timed("spectrum", compute_spectrum, hamiltonian, config, solver)
    found = spectrum.certificate
    return {
        "atoms": len(atoms),
        "orbitals": hamiltonian.n_orbitals,
        "engine": engine,
        "window": window,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        **stages,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "load": round(os.getloadavg()[0], 1),
        "levels": found.levels,
        "residual_ev": found.residual,
        "error_ev": found.error,
        "fermi_level": spectrum.scalars["fermi_level"],
        "carriers": spectrum.scalars["carriers"],
        "carriers_sharp": spectrum.scalars["carriers_sharp"],
        "states_in_window": float(
            np.trapezoid(spectrum.density.sum(axis=0), np.linspace(*window, config.points))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--engines", nargs="+", default=["pardiso", "mumps"])
    parser.add_argument("--window", type=float, nargs=2, default=(0.0, 0.2))
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table is not None:
        facts = measure(options.sizes[0], options.engines[0], tuple(options.window), options.table)
        print(json.dumps(facts), flush=True)
        return
    from spectra_system import basis

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "basis"
        table.write_bytes(pickle.dumps(basis()))
        for size in options.sizes:
            for engine in options.engines:
                subprocess.run(
                    [sys.executable, __file__, "--table", table, "--sizes", str(size)]
                    + ["--engines", engine, "--window", *map(str, options.window)],
                    check=True,
                )


if __name__ == "__main__":
    main()
