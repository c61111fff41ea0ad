"""Measure S, gh-infer, reading and gh-dos against size, each in a process of its own.

    python measure.py MODEL.zarr -n 500 1000 2000 4161 --what overlap infer read carriers
    python measure.py MODEL.zarr -n 500 --what carriers dense
    python measure.py MODEL.zarr -n 1000 --what themselves
    python measure.py MODEL.zarr -n 4161 --what dos
    python measure.py MODEL.zarr -n 4161 --what whole
    python measure.py MODEL.zarr -n 20000 100000 --what overlap infer

Structures are WSe2 on packed HfO2 as gh-build makes them, of about so many atoms. Stores stay in the
folder where it is run, so that parts may be measured at different times; each measurement adds a line to
results.jsonl: wall and CPU seconds and peak memory (GiB) of its process, load and threads of the machine,
and what the result says of itself. report.py makes a table and a picture of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gh_tools.units import GIB

# Rectangular cells of the layer have 6 atoms, and 4.3 HfO2 under each make an oxide of 11 Å at 7 g/cm³.
MOLECULES, EDGES = 947 / 220, (3.32, 5.75)
# What is packed takes minutes beyond; larger structures are repetitions of one, displaced at random.
MOST_PACKED, RATTLE = 25_000, 0.05
CARRIERS = ["--kpts", "1", "1", "1", "--carriers", "W,Se"]
# Puts seconds since its start before each line.
STAMP = shlex.join(
    [
        sys.executable,
        "-c",
        "import json, sys, time; start = time.monotonic()\n"
        "for line in sys.stdin: "
        "print(json.dumps([round(time.monotonic() - start, 1), line.rstrip()]), flush=True)",
    ]
)


def structure(n_atoms: int) -> Path:
    """Return the store of a structure of about so many atoms, made if it is not there."""
    path = Path(f"n{n_atoms}.structures.zarr")
    if path.exists():
        return path
    repeat = max(1, int(np.ceil((n_atoms / MOST_PACKED) ** 0.5)))
    cells = n_atoms / repeat**2 / (6 + 3 * MOLECULES)
    rows = max(1, round((cells * EDGES[0] / EDGES[1]) ** 0.5))
    columns = max(1, round(cells / rows))
    packed = path if repeat == 1 else Path(f"n{n_atoms}-packed.structures.zarr")
    settings = {
        "size": f"[{columns},{rows}]",
        "molecules": round(MOLECULES * columns * rows),
        "nickel": 0,
        "se_vacancies": 0,
        "density": "[7,7]",
    }
    options = [part for item in settings.items() for part in ("--set", "=".join(map(str, item)))]
    subprocess.run(
        ["gh-build", "hfo2-wse2", "-n", "1", "--seed", "2", *options, "-o", packed],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if repeat > 1:
        from gh_tools.store.provenance import Provenance
        from gh_tools.store.structures import Structures, read_structures, write_structures

        atoms = read_structures(packed).atoms[0].repeat((repeat, repeat, 1))
        atoms.rattle(RATTLE, seed=0)
        write_structures(path, Structures([atoms], [path.stem]), Provenance("benchmark"))
    return path


def measured(command: list) -> tuple[dict, str]:
    """Run a command; return wall and CPU seconds and peak memory of its process, and what it prints."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))}: failed with {status}")
    return {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 2**20,
    }, output


def own_clock(function: Callable, *paths: Path) -> dict:
    """Measure a function in a process of its own, without the seconds that imports take."""
    took, output = measured([sys.executable, __file__, *paths, "--alone", function.__name__])
    return took | json.loads(output.splitlines()[-1])


def overlap(model: Path, structure: Path) -> None:
    """Compute S domain by domain, and keep none of it."""
    from gh_tools.dft.overlap import Overlap
    from gh_tools.inference.domain_size import DOMAIN_BYTES
    from gh_tools.orbitals.basis import Basis
    from gh_tools.orbitals.pairs import Neighbours, basis_cutoffs, canonical_pairs, wrapped
    from gh_tools.orbitals.partition import divide
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import read_structures

    basis = Basis.from_arrays(open_store(model))
    atoms = wrapped(read_structures(structure).atoms[0])
    compute, cutoffs = Overlap(basis, atoms.numbers), basis_cutoffs(basis)
    reach = max(*cutoffs.values(), compute.reach(atoms.numbers))
    neighbours = Neighbours(atoms, reach)
    weight = neighbours.count(reach) * 4 * basis.n_orbitals(atoms.numbers) ** 2
    for domain in divide(atoms.positions, weight, DOMAIN_BYTES[1]):
        near = neighbours.of(domain, max(cutoffs.values()))
        compute(atoms, canonical_pairs(atoms, near, cutoffs), domain, neighbours)


def read(store: Path) -> None:
    """Read all blocks of a store."""
    from gh_tools.store.hamiltonians import HamiltonianReader

    HamiltonianReader(store).read(0)


def themselves(store: Path) -> dict:
    """Find eigenvalues in two windows that overlap, with other shifts, and compare what both hold."""
    from gh_tools.resources import free_memory
    from gh_tools.spectra.fermi import electrons_of
    from gh_tools.spectra.kpoints import monkhorst_pack
    from gh_tools.spectra.sparse.solver import SlicedSolver
    from gh_tools.store.hamiltonians import HamiltonianReader

    hamiltonian = HamiltonianReader(store).read(0)
    solver = SlicedSolver(hamiltonian, monkhorst_pack((1, 1, 1)), memory=free_memory())
    around = solver.find_fermi_level(electrons_of(hamiltonian))
    fermi = float(np.mean(around.window))
    one, _ = solver.eigenvalues(fermi - 0.4, fermi + 0.2)
    other, _ = solver.eigenvalues(fermi - 0.2, fermi + 0.4)
    shared = []
    for eigenvalues in (one, other):
        energies = eigenvalues.energies[0, 0]
        some = (energies > other.window[0]) & (energies < one.window[1])
        shared.append((energies[some], eigenvalues.projections[:, 0, 0, some]))
    inertia = int(other.below[0, 0] - one.below[0, 0])
    return {
        "eigenvalues": [one.energies.size, other.energies.size],
        "shared": len(shared[0][0]),
        "energy_difference": float(abs(shared[0][0] - shared[1][0]).max()),
        "weight_difference": float(abs(shared[0][1] - shared[1][1]).max()),
        "counted_between_the_lower_ends": inertia,
        "found_between_the_lower_ends": int(np.sum(one.energies < other.window[0])),
    }


def spectrum(store: Path) -> dict:
    """Return what a store of spectra says of its only structure."""
    from gh_tools.store.read import open_store

    spectra = open_store(store, "spectra")
    names = ("fermi_level", "band_gap", "carriers", "carriers_sharp")
    return {
        "solver": str(spectra["solver/solver"][0]),
        "engine": str(spectra["solver/engine"][0]),
        "eigenvalues": int(spectra["solver/eigenvalues"][0]),
        "residual": float(spectra["solver/residual"][0]),
        **{name: float(spectra[f"scalar/{name}"][0]) for name in names},
    }


def infer(model: Path, path: Path, predicted: Path, options: list[str]) -> dict:
    took, _ = measured(["gh-infer", path, "-m", model, "-o", predicted, "--overwrite", *options])
    files = [file for file in predicted.rglob("*") if file.is_file()]
    return took | {"storage": sum(file.stat().st_size for file in files) / GIB}


def dos(predicted: Path, name: str, options: list[str]) -> dict:
    store = predicted.with_name(f"{predicted.stem.partition('.')[0]}.{name}.spectra.zarr")
    # A run that was interrupted goes on; its time is then that of the rest.
    how = "--resume" if Path(f"{store}.partial").exists() else "--overwrite"
    took, _ = measured(["gh-dos", predicted, *CARRIERS, "-o", store, how, *options])
    return took | {"resumed": how == "--resume"} | spectrum(store)


def whole(model: Path, path: Path, options: list[str]) -> dict:
    """Go from a structure to its carriers through one pipe, and note when what is said."""
    name = path.name.partition(".")[0]
    dos_options = [*CARRIERS, "--window", "0", "0.2", "--solver", "slices", *options]
    commands = (
        ["gh-infer", path, "-m", model, "-o", f"{name}.whole.zarr", "-v", "--overwrite"],
        ["gh-dos", "-o", f"{name}.whole.spectra.zarr", "-v", "--overwrite", *dos_options],
    )
    pipe = " | ".join(shlex.join(map(str, command)) for command in commands)
    took, output = measured(["bash", "-o", "pipefail", "-c", f"({pipe}) 2>&1 | {STAMP}"])
    timeline = [json.loads(line) for line in output.splitlines()]
    return took | spectrum(Path(f"{name}.whole.spectra.zarr")) | {"timeline": timeline}


def measure(what: str, model: Path, n_atoms: int, options: list[str]) -> dict:
    """Measure one quantity at one size."""
    path, predicted = structure(n_atoms), Path(f"n{n_atoms}.predicted.zarr")
    if what == "whole":
        return whole(model, path, options)
    if what == "overlap":
        return own_clock(overlap, model, path)
    if what == "infer":
        return infer(model, path, predicted, options)
    if what == "read":
        return own_clock(read, predicted)
    if what == "themselves":
        return own_clock(themselves, predicted)
    windows = {"carriers": ["0", "0.2"], "dos": ["-5", "5"], "dense": ["0", "0.2"]}
    solver = "dense" if what == "dense" else "slices"
    return dos(predicted, what, ["--window", *windows[what], "--solver", solver, *options])


def machine() -> dict:
    """Return what a measurement ran on."""
    cpu = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line),
        platform.processor(),
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "cpu_model": cpu,
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def alone(name: str, paths: list[Path]) -> None:
    """Run one function of this file, and print its seconds and what it returns."""
    import gh_tools.dft.overlap
    import gh_tools.store.hamiltonians  # noqa: F401

    wall, cpu = time.perf_counter(), time.process_time()
    result = globals()[name](*paths)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(took | (result or {})))


def main() -> None:
    """Measure, and add to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("-n", type=int, nargs="+", default=[500, 1000, 2000, 4161])
    parser.add_argument("--what", nargs="+", default=["overlap", "infer", "read", "carriers"])
    parser.add_argument("--options", default="", help="for gh-infer or gh-dos, as one word")
    parser.add_argument("--results", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return alone(options.alone, options.paths)
    for n_atoms in options.n:
        for what in options.what:
            load = os.getloadavg()[0]
            found = measure(what, options.paths[0], n_atoms, options.options.split())
            from gh_tools.store.structures import read_structures

            line = {
                "what": what,
                "atoms": len(read_structures(structure(n_atoms)).atoms[0]),
                **found,
                "options": options.options,
                "load_before": load,
                **machine(),
            }
            with options.results.open("a") as results:
                results.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    return None


if __name__ == "__main__":
    main()
