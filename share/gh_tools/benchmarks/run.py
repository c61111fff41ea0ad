"""Measure the hot paths on the stores that the quickstart leaves, and print a table in Markdown.

    python share/gh_tools/benchmarks/run.py quickstart > result.md

Run it with nothing else running. CPU seconds are of the process; compile times are without the cache.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

CONFIGS = Path(__file__).parents[1] / "configs"


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

    recipe = registry.get("wse2")
    config = recipe.config(size=(n, n), orthogonal=False, se_vacancies=0)
    return generate(recipe, config, 1, seed=0).atoms[0]


def labels(folder: Path):
    """Time the scale-shift fit and reading the labels."""
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.store.hamiltonians import HamiltonianReader
    from gh_tools.training.scaleshift import fit_scaleshift

    reader = HamiltonianReader(folder / "train.hamiltonians.zarr")
    clock = Clock()
    for index in range(len(reader)):
        reader.read(index)
    yield f"read {len(reader)} labels", clock
    layout = IrrepLayout(reader.basis)
    clock = Clock()
    fit_scaleshift([reader], range(len(reader)), layout)
    yield f"fit the scale-shift to {len(reader)} labels", clock


def steps(folder: Path, name: str):
    """Time compilation and the training step of a configuration, on one structure."""
    import jax

    from gh_tools.cli.common import load_config
    from gh_tools.console import configure
    from gh_tools.model.build import build_model
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.training.batches import SampleMaker, collate, make_buckets
    from gh_tools.training.config import TrainConfig
    from gh_tools.training.optimizers import build_optimizer
    from gh_tools.training.run import open_inputs
    from gh_tools.training.step import initial_state, make_step

    configure(quiet=True)
    config = load_config(TrainConfig, CONFIGS / name, None)
    opened = open_inputs(folder / "train.scaleshift.zarr", (), None)
    layout = IrrepLayout(opened.basis)
    maker = SampleMaker(
        layout,
        opened.scaleshifts[config.model.frame],
        config.model.descriptor_cutoff(opened.basis),
        config.model.pair_cutoffs(opened.basis),
        config.loss.scale_power,
    )
    clock = Clock()
    sample = maker(opened.readers[0].read(0), "x")
    yield f"{name}: make a sample of a label", clock
    batch = collate([sample], make_buckets(sample.size[None], 1, 1)[0].size)
    model = build_model(config.model, layout.basis)
    optimizer = build_optimizer(config.optimizer, config.schedule, 1)
    clock = Clock()
    state = initial_state(model, optimizer, batch.graph, 0, config.ema)
    step = make_step(model, optimizer, config.loss, config.ema)
    state, value = step(state, batch, 1e-4)
    value.block_until_ready()
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    yield f"{name}: initialise and compile the step ({size} parameters)", clock
    clock, n = Clock(), 30
    for _ in range(n):
        state, value = step(state, batch, 1e-4)
    value.block_until_ready()
    pairs = 2 * len(sample.graph.i)
    wall = (time.perf_counter() - clock.wall) / n
    yield (
        f"{name}: step on {pairs} directed pairs",
        f"{1e3 * wall:.1f} ms ({1e6 * wall / pairs:.1f} ms per 1000)",
    )


def inference(folder: Path):
    """Time prediction and overlap of sheets of growing size."""
    from gh_tools.dft.overlap import overlap
    from gh_tools.inference.predict import Predictor
    from gh_tools.training.model_store import load_model

    predictor = Predictor(load_model(folder / "train.model.zarr"))
    predictor.predict(sheet(12))  # compiles
    for n in (6, 12, 24):
        atoms = sheet(n)
        clock = Clock()
        found = predictor.predict(atoms)
        yield f"predict H of {len(atoms)} atoms", clock
        pairs = {key: (b.i, b.j, b.shift) for key, b in found.pairs.items()}
        clock = Clock()
        overlap(found.atoms, predictor.basis, pairs)
        yield f"compute S of {len(atoms)} atoms", clock


def main() -> None:
    """Print all measurements."""
    folder = Path(sys.argv[1])
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}\n"
    )
    print("| what | time |\n| --- | --- |")
    parts = [labels(folder)]
    parts += [steps(folder, path.name) for path in sorted(CONFIGS.glob("*.toml"))]
    for part in [*parts, inference(folder)]:
        for what, took in part:
            print(f"| {what} | {took} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| peak memory of all this | {peak:.1f} GB |")


if __name__ == "__main__":
    main()
