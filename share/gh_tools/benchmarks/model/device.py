"""Measure training and prediction against the size of a batch on JAX's default device, such as a GPU.

    python device.py n20.scaleshift.zarr > device.json

- step, forward: medians of calls that are waited for; in a row: steps that are only waited for at the end.
- agreement: the same steps from the same weights on this device and on the CPU, in both precisions: the
  relative difference of the last loss, and the largest one of weights. A CPU is compared with itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import machine
from speed import Network, directed, forward, in_new_process, stepper

SECONDS = 1.0
STEPS = 20


def timed(call) -> float:
    """Return the median of the seconds that a call takes."""
    call()
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def in_a_row(network: Network, batch, count: int) -> float:
    """Return the seconds of a step among so many that nobody waits for."""
    import jax

    state = network.start(batch)
    began = time.perf_counter()
    for _ in range(count):
        state, loss = network.step(state, batch, 1e-4)
    jax.block_until_ready(loss)
    return (time.perf_counter() - began) / count


def measure(network: Network, size: int) -> dict:
    """Measure a batch of so many structures."""
    batch = network.batch(size)
    began = time.perf_counter()
    step = stepper(network, batch)
    step()
    first = time.perf_counter() - began
    seconds = {"step": timed(step), "forward": timed(forward(network, batch))}
    seconds["in_a_row"] = in_a_row(network, batch, max(3, round(SECONDS / seconds["step"])))
    return {
        "batch_size": size,
        "directed_pairs": directed(batch),
        "first_step_s": first,
        **{f"{what}_ms": 1e3 * found for what, found in seconds.items()},
        **{f"{what}_ms_per_1000": 1e6 * found / directed(batch) for what, found in seconds.items()},
    }


def trained(network: Network, precision: str) -> tuple[float, np.ndarray]:
    """Return the loss and the weights after some steps with a batch of four structures."""
    import jax

    from gh_tools.training.step import make_step

    def cast(array):
        return array.astype(precision) if array.dtype.kind == "f" else array

    batch, config = jax.tree.map(cast, network.batch(4)), network.config
    state = jax.tree.map(cast, network.start(batch))
    step = make_step(network.model, network.optimizer, config.loss, config.ema)
    for _ in range(STEPS):
        state, loss = step(state, batch, 1e-3)
    return float(loss), np.asarray(state.params.vector)


def agreement(scaleshift: Path, precision: str) -> dict[str, float]:
    """Compare training on this device with that on the CPU."""
    import jax

    from gh_tools.trained_model.runtime import configure_jax

    network = Network("bond-frame", scaleshift)
    configure_jax(precision)
    loss, weights = trained(network, precision)
    with jax.default_device(jax.devices("cpu")[0]):
        expected, reference = trained(network, precision)
    return {"loss": abs(loss / expected - 1), "weights": float(abs(weights - reference).max())}


def main() -> None:
    """Print the measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scaleshift", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    agree = {
        precision: in_new_process(agreement, options.scaleshift, precision)
        for precision in ("float64", "float32")
    }
    network = Network("bond-frame", options.scaleshift)
    batches = [measure(network, size) for size in options.sizes]
    print(json.dumps({"machine": machine(), "batches": batches, "agreement": agree}))


if __name__ == "__main__":
    main()
