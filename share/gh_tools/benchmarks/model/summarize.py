"""Put what is known of a trained model into one line of JSON.

    python summarize.py NAME.model.zarr [NAME.test.errors.json ...]

Reads NAME.train.json beside it: what gh-train --json printed. The files of errors are those of gh-eval --json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from machine import machine

from gh_tools.store.read import open_store

METRICS = ("hamiltonian", "pairs", "onsite", "eigenvalue", "eigenvalue_shifted")
ROWS = 120  # of a history, at most


def history(records: dict[str, np.ndarray], clock: np.ndarray) -> dict[str, list[float | None]]:
    """Return measured metrics against seconds and steps, thinned evenly in the logarithm of time."""
    measured = np.flatnonzero(np.isfinite(records["hamiltonian"]))
    # Those with eigenvalues are rarer, and all of interest.
    solved = measured[np.isfinite(records["eigenvalue"][measured])]
    even = np.geomspace(1, len(measured), ROWS).round().astype(int) - 1
    rows = np.union1d(measured[even], solved)
    columns = {"seconds": clock[rows], "step": records["step"][rows]}
    columns |= {name: records[name][rows] for name in METRICS if name in records}
    return {
        name: [float(f"{x:.5g}") if np.isfinite(x) else None for x in values]
        for name, values in columns.items()
    }


def step_ms(records: dict[str, np.ndarray], clock: np.ndarray) -> float | None:
    """Return the median over epochs of the wall-clock time of a step; None if all have validations."""
    plain = np.isnan(records["hamiltonian"][:-1])  # the clock then ran on into no measurement
    milliseconds = 1e3 * np.diff(clock) / np.diff(records["step"])
    return float(np.median(milliseconds[plain])) if plain.any() else None


def summarize(path: Path, errors: list[Path]) -> dict:
    """Summarise a model."""
    store = open_store(path, "model")
    name = path.name.removesuffix(".model.zarr")
    trained = json.loads(path.with_name(f"{name}.train.json").read_text())
    records = {key.removeprefix("history/"): store[key] for key in store.keys("history/")}
    clock = np.array(trained["clock"])
    summary = {
        "name": name,
        "machine": machine(),
        "n_train": len(store["split/train"]),
        "n_parameters": trained["n_parameters"],
        "steps": trained["steps"],
        "seconds": trained["seconds"],
        "step_ms": step_ms(records, clock),
        "validation": trained["validation"],
    }
    for file in errors:
        part = file.name.removeprefix(f"{name}.").removesuffix(".errors.json")
        summary[part] = json.loads(file.read_text())["mean"]
    return summary | {"history": history(records, clock)}


def main() -> None:
    """Print the summary."""
    print(json.dumps(summarize(Path(sys.argv[1]), [Path(file) for file in sys.argv[2:]])))


if __name__ == "__main__":
    main()
