"""Print what the regressions say, which signs the data decide, and how good the model is.

python report.py study.json paper.json [errors.json]
"""

import json
import sys
from pathlib import Path

from gh_tools.console import table


def main() -> None:
    """Print a table for each file that a step left."""
    for path in map(Path, sys.argv[1:]):
        found = json.loads(path.read_text())
        (_regression if "estimates" in found else _errors)(path, found)
    for picture in sorted(Path().glob("*.png")):
        print(picture.absolute())


def _regression(path: Path, found: dict) -> None:
    rows = []
    for name, estimate in found["estimates"].items():
        low, high = estimate["hdi"]
        said = ""
        if name != "Intercept" and "sign_decided" in estimate:
            sign = "positive" if estimate["mean"] > 0 else "negative"
            said = sign if estimate["sign_decided"] else "not decided"
        rows.append(
            [name, f"{estimate['mean']:.3g}", f"{low:.3g} to {high:.3g}", estimate["unit"], said]
        )
    percent = f"{100 * found['hdi_probability']:g} % HDI"
    title = f"{path.stem}: {found['formula']}, {found['structures']} structures"
    table(rows, ["coefficient", "mean", percent, "unit", "sign"], title=title)
    for fault in found["faults"]:
        print(f"not to be trusted: {fault}", file=sys.stderr)


def _errors(path: Path, found: dict) -> None:
    mean = found["mean"]
    rows = [["H, all elements", f"{mean['hamiltonian']['all']:.2f} meV"]]
    if eigenvalues := mean.get("eigenvalues"):
        rows += [
            ["eigenvalues, E_F ± 5 eV", f"{eigenvalues['window']:.1f} meV"],
            ["Fermi level", f"{eigenvalues['fermi_level']:.1f} meV"],
        ]
    n = len(found["structures"])
    table(rows, ["mean absolute error against DFT", f"{n} unseen structures"], title=path.stem)


if __name__ == "__main__":
    main()
