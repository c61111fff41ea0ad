"""Measure what training and prediction cost, both networks on the same structure in the same run.

    python speed.py n20.scaleshift.zarr > speed.json

Run it with nothing else running. Directed pairs are counted: each stored pair is two of them.

- first compile: drawing the weights and the first training step, in a process of its own that finds the
  cache of compiled programs empty; from the cache: the same in another process that finds it full.
- step, forward: the networks take turns, so that what disturbs one disturbs the other; medians of the turns.
  Forward starts from vectors: harmonics, and rotations into the frame of a bond, are part of it.
- memory: what XLA's buffer assignment allots to the temporaries and results of a step, as the slope
  between a batch of one structure and of four: weights and the optimiser's state do not count.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from machine import machine

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORKS = ("bond-frame", "gears-h")
TURNS = 11
TURN_SECONDS = 1.0


class Network:
    """A network with what a training run makes for it.

    Args:
        name: of the configuration.
        scaleshift: the store, whose labels it takes samples from.
    """

    def __init__(self, name: str, scaleshift: Path):
        from gh_tools.cli.configuration import load_config
        from gh_tools.model.build import build_model
        from gh_tools.orbitals.irreps import IrrepLayout
        from gh_tools.trained_model.runtime import configure_jax
        from gh_tools.training.config import TrainConfig
        from gh_tools.training.data.samples import SampleMaker
        from gh_tools.training.inputs import open_inputs
        from gh_tools.training.optimizers import build_optimizer
        from gh_tools.training.step import make_step

        configure_jax("float32")
        self.config = config = load_config(TrainConfig, CONFIGS / f"{name}.toml", None)
        opened = open_inputs(scaleshift)
        self.reader, self.basis = opened.readers[0], opened.basis
        self.make = SampleMaker(
            IrrepLayout(self.basis),
            opened.scaleshifts[config.model.frame],
            config.model.cutoffs(self.basis),
            config.loss.scale_power,
        )
        self.model = build_model(config.model, self.basis)
        self.optimizer = build_optimizer(config.optimizer, config.schedule, 1)
        self.step = make_step(self.model, self.optimizer, config.loss, config.ema)

    def batch(self, n: int):
        """Return the first n structures on the device."""
        import jax

        from gh_tools.training.data.batches import collate

        samples = [self.make(self.reader.read(index), str(index)) for index in range(n)]
        atoms, edges, pairs = map(sum, zip(*(sample.size for sample in samples), strict=True))
        # One atom more, for the padding that there would be in other batches.
        return jax.device_put(collate(samples, (atoms + 1, edges, pairs)))

    def start(self, batch):
        """Return the state before the first step."""
        from gh_tools.training.step import initial_state

        return initial_state(
            self.model, self.optimizer, batch.graph, self.config.seed, self.config.ema
        )


def first_step(name: str, scaleshift: Path) -> tuple[float, float]:
    """Return wall and CPU seconds that a run takes from its first batch to the end of its first step."""
    import jax

    network = Network(name, scaleshift)
    batch = network.batch(1)
    began, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(network.step(network.start(batch), batch, 1e-4))
    return time.perf_counter() - began, time.process_time() - cpu


def in_new_process(function, *arguments):
    """Call a function in a process of its own, with the environment as it is now."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def take_turns(calls: dict, seconds: float) -> dict[str, list[float]]:
    """Time calls in turns of about so many seconds; return the seconds a call of each turn."""
    for call in calls.values():
        call()
    n_calls = {}
    for name, call in calls.items():
        began = time.perf_counter()
        call()
        n_calls[name] = max(1, round(seconds / (time.perf_counter() - began)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(n_calls[name]):
                call()
            times[name].append((time.perf_counter() - began) / n_calls[name])
    return times


def stepper(network: Network, batch):
    """Return a function that does a training step and waits for it."""
    import jax

    state = network.start(batch)

    def call() -> None:
        nonlocal state
        state, loss = network.step(state, batch, 1e-4)
        jax.block_until_ready(loss)

    return call


def forward(network: Network, batch):
    """Return a function that predicts and waits for the prediction."""
    import jax

    from gh_tools.trained_model.runtime import compiler_options

    params = jax.device_put(network.start(batch).params.tree)
    apply = jax.jit(network.model.apply, compiler_options=compiler_options())
    return lambda: jax.block_until_ready(apply(params, batch.graph))


def host_graph(network: Network):
    """Return a function that finds neighbours and pairs of the structure."""
    from gh_tools.model.graph import build_graph

    atoms, model, basis = network.reader.read(0).atoms, network.config.model, network.basis
    return lambda: build_graph(
        atoms,
        basis,
        model.cutoffs(basis),
    )


def step_bytes(network: Network, batch) -> int:
    """Return what XLA allots to temporaries and results of a step."""
    found = network.step.lower(network.start(batch), batch, 1e-4).compile().memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes


def directed(batch) -> int:
    """Return the number of directed pairs, padding included."""
    return 2 * len(batch.graph.i)


def measure(scaleshift: Path) -> dict:
    """Measure everything."""
    import jax

    from gh_tools.console import log

    found: dict[str, dict] = {name: {} for name in NETWORKS}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        for key in ("first_compile", "cached_compile"):
            for name in NETWORKS:
                wall, cpu = in_new_process(first_step, name, scaleshift)
                found[name] |= {f"{key}_s": wall, f"{key}_cpu_s": cpu}
                log.info("%s: %s %.1f s (%.1f CPU s)", name, key, wall, cpu)
        networks = {name: Network(name, scaleshift) for name in NETWORKS}
        batches = {name: network.batch(1) for name, network in networks.items()}
        atoms = int(batches[NETWORKS[0]].graph.atom_mask.sum())
        for what, make in (("step", stepper), ("forward", forward)):
            calls = {name: make(networks[name], batches[name]) for name in NETWORKS}
            for name, times in take_turns(calls, TURN_SECONDS).items():
                found[name][f"{what}_ms"] = 1e3 * statistics.median(times)
                found[name][f"{what}_ms_range"] = [1e3 * min(times), 1e3 * max(times)]
                found[name][f"{what}_ms_per_1000"] = (
                    1e6 * statistics.median(times) / directed(batches[name])
                )
            log.info("%s: %s", what, {name: found[name][f"{what}_ms"] for name in NETWORKS})
        for name, network in networks.items():
            calls = {name: host_graph(network)}
            found[name]["host_graph_ms"] = 1e3 * statistics.median(
                take_turns(calls, 0.1 * TURN_SECONDS)[name]
            )
            params = network.start(batches[name]).params
            found[name]["n_parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))
            small, large = batches[name], network.batch(4)
            growth = step_bytes(network, large) - step_bytes(network, small)
            found[name]["step_mb_per_1000"] = 1e-3 * growth / (directed(large) - directed(small))
    default, paper = (found[name] for name in NETWORKS)
    return {
        "machine": machine(),
        "atoms": atoms,
        "directed_pairs": {name: directed(batch) for name, batch in batches.items()},
        "networks": found,
        "ratios": {key: paper[f"{key}_ms"] / default[f"{key}_ms"] for key in ("step", "forward")},
    }


def main() -> None:
    """Print the measurements as JSON, and as a table on standard error."""
    from report import speed_table

    from gh_tools.console import configure

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    configure()
    found = measure(Path(sys.argv[1]))
    print(speed_table(found), file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
