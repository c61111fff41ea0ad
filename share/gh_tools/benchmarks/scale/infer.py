"""Measure S, gh-infer, storage and reading against size, and print a table in Markdown.

    python share/gh_tools/benchmarks/scale/infer.py MODEL.zarr [-n 500 1000 2000 4000] [--plot scale.png]
        [--structure FILE] [--memory 6G]

Without a structure, sheets of WSe2 of about so many atoms are predicted; MODEL must know both. Each
measurement is a process of its own, with time and peak memory as the system tells them. Run it with
nothing else running; one thread for BLAS. The first size compiles, unless the model was used before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUANTITIES = {"overlap": "S", "infer": "gh-infer whole", "read": "read the store"}


def sheet(n_atoms: int):
    """Return about so many atoms of WSe2, rattled."""
    from gh_tools.structures import registry
    from gh_tools.structures.generate import generate

    cells = round((n_atoms / 3) ** 0.5)
    recipe = registry.get("wse2")
    config = recipe.config(size=(cells, cells), orthogonal=False, se_vacancies=0)
    return generate(recipe, config, 1, seed=0).atoms[0]


def measured(command: list[str], own_clock: bool = False) -> dict[str, float]:
    """Run a command and return wall and CPU seconds, and peak memory in GiB.

    A command with a clock of its own prints the seconds, without those of imports.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: failed with {status}")
    seconds = {"wall": time.perf_counter() - start, "cpu": usage.ru_utime + usage.ru_stime}
    return {
        **(json.loads(output) if own_clock else seconds),
        "memory": usage.ru_maxrss / 2**20,
    }


def overlap(model: Path, structure: Path) -> None:
    """Compute S domain by domain, and keep none of it."""
    from gh_tools.dft.overlap import Overlap
    from gh_tools.inference.domains import divide
    from gh_tools.inference.run import DOMAIN_BYTES
    from gh_tools.orbitals.basis import Basis
    from gh_tools.orbitals.pairs import Neighbours, basis_cutoffs, canonical_pairs, wrapped
    from gh_tools.store.io import open_store
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


def timed(function, *paths: str) -> None:
    """Call a function and print its wall and CPU seconds."""
    import gh_tools.dft.overlap
    import gh_tools.store.hamiltonians  # noqa: F401

    wall, cpu = time.perf_counter(), time.process_time()
    function(*map(Path, paths))
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(took))


def measure(model: Path, atoms, memory: list[str]) -> dict:
    """Measure all quantities for one structure."""
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.structures import Structures, write_structures

    with tempfile.TemporaryDirectory(dir=".") as name:
        structure, store = Path(name) / "x.structures.zarr", Path(name) / "x.predicted.zarr"
        write_structures(structure, Structures([atoms], ["x"]), Provenance("benchmark"))
        again = [sys.executable, __file__]
        infer = ["gh-infer", str(structure), "-m", str(model), "-o", str(store), *memory]
        result = {
            "atoms": len(atoms),
            "overlap": measured([*again, "--overlap", str(model), str(structure)], own_clock=True),
            "infer": measured(infer),
            "read": measured([*again, "--read", str(store)], own_clock=True),
        }
        files = [file for file in store.rglob("*") if file.is_file()]
        result["storage"] = sum(file.stat().st_size for file in files) / 2**30
    return result


def exponent(results: list[dict], value) -> float:
    """Slope of a quantity against the number of atoms, both as logarithms."""
    n_atoms = [result["atoms"] for result in results]
    return np.polyfit(np.log(n_atoms), np.log([value(result) for result in results]), 1)[0]


def draw(results: list[dict], path: Path) -> None:
    """Draw time and memory against the number of atoms, with exponents."""
    import matplotlib.pyplot as plt

    n_atoms = [result["atoms"] for result in results]
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    for panel, field, label in zip(
        panels, ("wall", "memory"), ("time (s)", "peak memory (GiB)"), strict=True
    ):
        for key, name in QUANTITIES.items():
            slope = exponent(results, lambda result, key=key, field=field: result[key][field])
            values = [result[key][field] for result in results]
            panel.loglog(n_atoms, values, "o-", label=f"{name}: N^{slope:.2f}")
        panel.set_xlabel("atoms")
        panel.set_ylabel(label)
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, draw."""
    if sys.argv[1:2] == ["--overlap"]:
        return timed(overlap, *sys.argv[2:])
    if sys.argv[1:2] == ["--read"]:
        return timed(read, *sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-n", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--structure", type=Path, help="one structure instead of the sheets")
    parser.add_argument("--memory", help="of gh-infer")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    memory = ["--memory", options.memory] if options.memory else []
    if options.structure:
        from gh_tools.store.structures import read_structures

        cells = [read_structures(options.structure).atoms[0]]
    else:
        cells = [sheet(n) for n in options.n]
    print("| atoms | S | gh-infer | read | store |\n| --- | --- | --- | --- | --- |")
    results = []
    for atoms in cells:
        results.append(result := measure(options.model, atoms, memory))
        times = [
            f"{r['wall']:.1f} s ({r['cpu']:.1f} CPU s), {r['memory']:.2f} GiB"
            for r in (result[key] for key in QUANTITIES)
        ]
        print(f"| {result['atoms']} | {' | '.join(times)} | {result['storage']:.3f} GiB |")
        print(json.dumps(result), file=sys.stderr, flush=True)
    if options.plot and len(results) > 1:
        draw(results, options.plot)
    return None


if __name__ == "__main__":
    main()
