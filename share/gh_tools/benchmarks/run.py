"""Measure the hot paths on the stores that the quickstart leaves, and print a table in Markdown.

    python share/gh_tools/benchmarks/run.py quickstart > result.md

Run it with nothing else running. CPU seconds are of the process. Training steps: model/speed.py.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from model.machine import describe, machine

os.environ.setdefault("OMP_NUM_THREADS", "1")


class Clock:
    """Wall and CPU time since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return f"{wall:.2f} s ({cpu:.2f} CPU s)"


def sheet(n: int):
    """Return n × n cells of WSe2."""
    from gh_tools.structures import registry
    from gh_tools.structures.generate import generate

    recipe = registry.get_recipe("wse2")
    config = recipe.config(size=(n, n), orthogonal=False, se_vacancies=0)
    return generate(recipe, config, 1, seed=0).atoms[0]


def labels(folder: Path):
    """Time the scale-shift fit and reading the labels."""
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.scaleshift.fit_terms import fit_scaleshift
    from gh_tools.store.hamiltonians import HamiltonianReader

    reader = HamiltonianReader(folder / "train.hamiltonians.zarr")
    clock = Clock()
    for index in range(len(reader)):
        reader.read(index)
    yield f"read {len(reader)} labels", clock
    layout = IrrepLayout(reader.basis)
    clock = Clock()
    fit_scaleshift([reader], range(len(reader)), layout, onsite_energies=True)
    yield f"fit on-site energies and scale-shift to {len(reader)} labels", clock


def inference(folder: Path):
    """Time prediction and overlap of sheets of growing size."""
    from gh_tools.dft.overlap import overlap
    from gh_tools.inference.predict import Predictor
    from gh_tools.inference.structure import predict_structure
    from gh_tools.trained_model.store import load_model

    predictor = Predictor(load_model(folder / "train.model.zarr"))
    predict_structure(predictor, sheet(12))  # compiles
    for n in (6, 12, 24):
        atoms = sheet(n)
        clock = Clock()
        found = predict_structure(predictor, atoms)
        yield f"predict H of {len(atoms)} atoms", clock
        pairs = {key: (b.i, b.j, b.cell_offset) for key, b in found.pairs.items()}
        clock = Clock()
        overlap(found.atoms, predictor.basis, pairs)
        yield f"compute S of {len(atoms)} atoms", clock


def main() -> None:
    """Print all measurements."""
    folder = Path(sys.argv[1])
    print(f"{describe(machine())}\n")
    print("| what | time |\n| --- | --- |")
    for part in (labels(folder), inference(folder)):
        for what, took in part:
            print(f"| {what} | {took} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| peak memory of all this | {peak:.1f} GB |")


if __name__ == "__main__":
    main()
