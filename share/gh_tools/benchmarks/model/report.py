"""Write README.md, curves.png and learning.png from what has been measured.

python report.py results
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import describe

from gh_tools.plotting import PALETTE, picture

NETWORKS = ("bond-frame", "gears-h", "gears-h-small")


class Target(NamedTuple):
    """What issue and measurement say of one quantity."""

    what: str
    bound: float
    unit: str
    measured: float | None
    at_least: bool = False

    def row(self) -> list[str]:
        """Return the cells of a table."""
        sign = "≥" if self.at_least else "≤"
        cells = [self.what, f"{sign} {self.bound:,.10g} {self.unit}".strip()]
        if self.measured is None:
            return [*cells, "", ""]
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return [*cells, f"{number(self.measured)} {self.unit}".strip(), "yes" if met else "no"]


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many digits; integers whole."""
    if value is None:
        return ""
    if float(value).is_integer() or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def targets(speed: dict | None, default: dict | None) -> list[Target]:
    """Compare what was measured with what was asked for."""
    network = speed["networks"]["bond-frame"] if speed else {}
    ratios = speed["ratios"] if speed else {}
    test = default["test"] if default else {"hamiltonian": {}, "eigenvalues": {}}
    h, eigenvalues = test["hamiltonian"].get("all"), test["eigenvalues"]
    large = default["large"]["hamiltonian"]["all"] / h if default else None
    get = network.get
    return [
        Target("step, times faster than gears-h", 30, "", ratios.get("step"), True),
        Target("step, per 1000 directed pairs", 12, "ms", get("step_ms_per_1000")),
        Target("forward, times faster than gears-h", 20, "", ratios.get("forward"), True),
        Target("forward, per 1000 directed pairs", 4, "ms", get("forward_ms_per_1000")),
        Target("first compile of the step", 15, "s", get("first_compile_s")),
        Target("the same, from the cache", 3, "s", get("cached_compile_s")),
        Target("parameters for W, Se", 85_000, "", get("n_parameters")),
        Target("memory of a step, per 1000 directed pairs", 15, "MB", get("step_mb_per_1000")),
        Target("test H MAE, all elements", 0.6, "meV", h),
        Target("test eigenvalue MAE, E_F ± 5 eV", 8, "meV", eigenvalues.get("window")),
        Target(
            "the same, after aligning by a constant shift",
            5,
            "meV",
            eigenvalues.get("window_shifted"),
        ),
        Target("H MAE of the 6×6 cell, by that of the test cells", 1.5, "", large),
    ]


def speed_table(speed: dict) -> str:
    """Write the times of the networks."""
    what = {
        "step_ms": "step (ms)",
        "step_ms_per_1000": "step, per 1000 directed pairs (ms)",
        "forward_ms": "forward (ms)",
        "forward_ms_per_1000": "forward, per 1000 directed pairs (ms)",
        "host_graph_ms": "neighbours and pairs, on the host (ms)",
        "first_compile_s": "initialise and first compile (s)",
        "first_compile_cpu_s": "the same in CPU time (s)",
        "cached_compile_s": "initialise and compile from the cache (s)",
        "cached_compile_cpu_s": "the same in CPU time (s)",
        "step_mb_per_1000": "memory of a step, per 1000 directed pairs (MB)",
        "n_parameters": "parameters",
    }
    networks = speed["networks"]
    rows = [
        [text, *(number(networks[name][key]) for name in networks)] for key, text in what.items()
    ]
    sizes = [number(speed["directed_pairs"][name]) for name in networks]
    rows.insert(0, [f"directed pairs of the {speed['atoms']} atoms", *sizes])
    return markdown(["", *networks], rows)


def accuracy_table(summaries: Sequence[dict]) -> str:
    """Write the errors of unseen structures."""
    columns = ["", "test H: all", "pairs", "on-site", "eigenvalues, E_F ± 5 eV", "shifted", "E_F"]
    columns += ["6×6 H: all", "eigenvalues", "shifted", "steps", "seconds"]
    rows = []
    for found in summaries:
        test, large = found["test"], found["large"]
        h, eigenvalues = test["hamiltonian"], test["eigenvalues"]
        values = [h["all"], h["pairs"], h["onsite"]]
        values += [eigenvalues["window"], eigenvalues["window_shifted"], eigenvalues["fermi_level"]]
        values += [large["hamiltonian"]["all"]]
        values += [large["eigenvalues"][key] for key in ("window", "window_shifted")]
        values += [found["steps"], round(found["seconds"])]
        rows.append([found["name"], *map(number, values)])
    return markdown(columns, rows)


def learning_table(summaries: Sequence[dict]) -> str:
    """Write the errors of unseen structures by the number of training structures."""
    rows = []
    for found in summaries:
        h, eigenvalues = found["test"]["hamiltonian"], found["test"]["eigenvalues"]
        values = [found["n_train"], h["all"], h["pairs"], h["onsite"]]
        values += [eigenvalues["window"], eigenvalues["window_shifted"]]
        values += [found["validation"]["hamiltonian"], found["steps"]]
        rows.append(list(map(number, values)))
    columns = ["structures", "test H: all", "pairs", "on-site", "eigenvalues, E_F ± 5 eV"]
    return markdown([*columns, "shifted", "validation H", "steps"], rows)


def ablation_table(summaries: Sequence[dict]) -> str:
    """Write a line a variant, in the order of the H MAE; means over seeds and half their range."""
    metrics = ("hamiltonian", "pairs", "onsite", "eigenvalue", "eigenvalue_shifted")
    variants: dict[str, list[dict]] = {}
    for found in summaries:
        name = found["name"].removeprefix("ablation-").rpartition(".")[0]
        variants.setdefault(name, []).append(found)
    lines = []
    for name, runs in variants.items():
        errors = np.array([[run["validation"][key] for key in metrics] for run in runs])
        half_range = 0.5 * np.ptp(errors, axis=0)
        texts = [
            number(mean) + (f" ± {number(half, 2)}" if len(runs) > 1 else "")
            for mean, half in zip(errors.mean(axis=0), half_range, strict=True)
        ]
        times = [run["step_ms"] for run in runs if run["step_ms"] is not None]
        first = runs[0]
        last = [number(np.median(times) if times else None)]
        last += [number(first["n_parameters"]), number(first["steps"])]
        lines.append((errors[:, 0].mean(), [name, *texts, *last]))
    columns = ["", "H: all", "pairs", "on-site", "eigenvalues", "shifted", "step (ms)"]
    return markdown([*columns, "parameters", "steps"], [row for _, row in sorted(lines)])


def plain_ticks(*axes) -> None:
    """Put plain numbers at 1, 2, 5 and their multiples by 10 along logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def draw_curves(path: Path, summaries: Sequence[dict]) -> None:
    """Draw validation errors against wall-clock time."""
    panels = {
        "hamiltonian": ("H MAE, all elements (meV)", 0.6),
        "eigenvalue": ("eigenvalue MAE, $E_F$ ± 5 eV (meV)", 8.0),
    }
    with picture(path, (7.2, 3.2), ncols=2) as (_, axes):
        for axis, (metric, (label, target)) in zip(axes, panels.items(), strict=True):
            for found, colour in zip(summaries, PALETTE, strict=False):
                columns = found["history"]
                seconds, values = (
                    np.array(columns[key], dtype=float) for key in ("seconds", metric)
                )
                there = np.isfinite(values)
                axis.plot(
                    seconds[there], values[there], color=colour, marker=".", label=found["name"]
                )
            axis.axhline(target, color="0.6", linestyle=":", zorder=0)
            axis.set(xscale="log", yscale="log", xlabel="wall-clock time (s)", ylabel=label)
            plain_ticks(axis.xaxis, axis.yaxis)
        axes[0].legend()


def draw_learning(path: Path, summaries: Sequence[dict]) -> None:
    """Draw errors of unseen structures against the number of training structures."""
    panels = {
        "hamiltonian": (
            "test H MAE (meV)",
            {"all": "all elements", "pairs": "pairs", "onsite": "on-site"},
        ),
        "eigenvalues": (
            "test eigenvalue MAE, $E_F$ ± 5 eV (meV)",
            {"window": "as predicted", "window_shifted": "after aligning by a constant shift"},
        ),
    }
    n_train = [found["n_train"] for found in summaries]
    with picture(path, (7.2, 3.2), ncols=2) as (_, axes):
        for axis, (kind, (label, lines)) in zip(axes, panels.items(), strict=True):
            for (key, text), colour in zip(lines.items(), PALETTE, strict=False):
                values = [found["test"][kind][key] for found in summaries]
                axis.plot(n_train, values, color=colour, marker="o", label=text)
            axis.set(xscale="log", yscale="log", xlabel="training structures", ylabel=label)
            plain_ticks(axis.yaxis)
            axis.set_xticks(n_train, list(map(str, n_train)))
            axis.minorticks_off()
            axis.legend()


def load(path: Path) -> list[dict]:
    """Read the lines of a file; none if it is not there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def sections(results: Path):
    """Yield titles and texts of all that there is, and draw the pictures."""
    speed = next(iter(load(results / "speed.json")), None)
    networks = [found for name in NETWORKS for found in load(results / f"{name}.json")]
    learning, ablations = (load(results / f"{name}.jsonl") for name in ("learning", "ablations"))
    default = next((found for found in networks if found["name"] == NETWORKS[0]), None)
    rows = [target.row() for target in targets(speed, default)]
    yield "Targets", markdown(["", "target", "measured", "met"], rows)
    if speed:
        yield "Speed", f"{describe(speed['machine'])}.\n\n{speed_table(speed)}"
    if networks:
        draw_curves(results / "curves.png", networks)
        text = accuracy_table(networks)
        where = describe(networks[0]["machine"])
        note = "Mean absolute errors in meV of structures that no network has seen, by the weights that were"
        note += " best on the validation set. The picture shows the validation set."
        yield (
            "Accuracy",
            f"{where}. {note}\n\n{text}\n\n![errors against wall-clock time](curves.png)",
        )
    if learning:
        draw_learning(results / "learning.png", learning)
        text = f"{describe(learning[0]['machine'])}. Each after {learning[0]['steps']:,} steps."
        yield (
            "Learning curve",
            f"{text}\n\n{learning_table(learning)}\n\n![errors against number of training structures](learning.png)",
        )
    if ablations:
        text = f"{describe(ablations[0]['machine'])}. Validation errors in meV; variants as in"
        text += " [ablations.toml](../ablations.toml)."
        yield "Ablations", f"{text}\n\n{ablation_table(ablations)}"


def main() -> None:
    """Write the report."""
    results = Path(sys.argv[1])
    parts = [f"## {title}\n\n{text}\n" for title, text in sections(results)]
    head = "# Benchmark of the model: results\n\nMade by `make report`; how, and what is measured: [README](../README.md).\n"
    page = "\n".join([head, *parts])
    (results / "README.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
