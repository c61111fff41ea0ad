"""Make a table in Markdown, and a picture with scaling exponents, of what measure.py found.

    python report.py results.jsonl --plot scale.png > table.md

Of several measurements of one quantity at one size the last counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gh_tools.plotting import PALETTE, picture

QUANTITIES = {
    "overlap": "S",
    "infer": "gh-infer, whole",
    "read": "read the store",
    "carriers": "E_F and carriers",
    "dos": "PDOS within ±5 eV",
    "whole": "gh-infer and gh-dos in one pipe",
    "themselves": "two windows that overlap",
    "dense": "all eigenvalues, dense",
}
SCALING = {what: name for what, name in QUANTITIES.items() if what not in ("whole", "themselves")}
# At about 4,161 atoms on two cores: seconds, GiB.
TARGETS = {
    "overlap": "30 s, 4 GB",
    "infer": "90 s, 6 GB; store 0.5 GB",
    "read": "3 s",
    "carriers": "15 min, 10 GB",
    "dos": "2 h",
}


def last(path: Path) -> dict[str, dict[int, dict]]:
    """Return the last measurement of each quantity at each size."""
    found: dict[str, dict[int, dict]] = {}
    for line in path.read_text().splitlines():
        result = json.loads(line)
        found.setdefault(result["what"], {})[result["atoms"]] = result
    return found


def seconds(value: float) -> str:
    """Return seconds, as minutes where there are many."""
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def table(found: dict[str, dict[int, dict]]) -> str:
    """Return a table, one line a measurement."""
    lines = [
        "| what (target at 4,161 atoms) | atoms | wall | CPU | peak memory | besides |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what, name in QUANTITIES.items():
        target = f" (≤ {TARGETS[what]})" if what in TARGETS else ""
        for n_atoms, r in sorted(found.get(what, {}).items()):
            facts = []
            if "storage" in r:
                facts.append(f"store {r['storage']:.2f} GiB")
            if what == "themselves":
                facts.append(
                    f"{r['shared']} eigenvalues in both differ by {r['energy_difference']:.0e} eV, weights by "
                    f"{r['weight_difference']:.0e}; below the upper one {r['found_between_the_lower_ends']} "
                    f"found, {r['counted_between_the_lower_ends']} counted"
                )
            elif "eigenvalues" in r:
                facts.append(f"{r['eigenvalues']:,} eigenvalues")
            if r.get("residual", np.nan) > 0:
                facts.append(f"largest residual {r['residual']:.0e} eV")
            if r.get("resumed"):
                facts.append("the rest of an interrupted run")
            lines.append(
                f"| {name}{target} | {n_atoms:,} | {seconds(r['wall'])} | {seconds(r['cpu'])} "
                f"| {r['memory']:.2f} GiB | {', '.join(facts)} |"
            )
            name, target = "", ""
    return "\n".join(lines)


def timeline(result: dict) -> str:
    """Return what the commands of a pipe said, and when."""
    lines = [
        f"From {result['atoms']:,} atoms to carriers:",
        "",
        "| after | what the commands said |",
        "| --- | --- |",
    ]
    return "\n".join(lines + [f"| {at:.0f} s | {text} |" for at, text in result["timeline"]])


def draw(found: dict[str, dict[int, dict]], path: Path) -> None:
    """Draw CPU time, with the exponent between the two largest sizes, and memory against size."""
    fields = {"cpu": "CPU time (s)", "memory": "peak memory (GiB)"}
    with picture(path, (9, 3.8), ncols=2) as (_, panels):
        for panel, (field, label) in zip(panels, fields.items(), strict=True):
            for (what, name), colour in zip(SCALING.items(), PALETTE, strict=False):
                results = sorted(found.get(what, {}).items())
                if not results:
                    continue
                n_atoms, values = zip(*((n, r[field]) for n, r in results), strict=True)
                if field == "cpu" and len(results) > 1:
                    slope = np.diff(np.log(values[-2:])) / np.diff(np.log(n_atoms[-2:]))
                    name = f"{name}: $N^{{{slope[0]:.2f}}}$"
                panel.loglog(n_atoms, values, "o-", color=colour, label=name)
            panel.set(xlabel="atoms", ylabel=label)
        panels[0].legend()
        panels[1].yaxis.set_major_formatter("{x:g}")
        panels[1].yaxis.set_minor_formatter("")
        panels[1].set_yticks([0.2, 0.5, 1, 2, 5])


def main() -> None:
    """Print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    found = last(options.results)
    print(table(found))
    if "whole" in found:
        print("", timeline(found["whole"][max(found["whole"])]), sep="\n")
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
