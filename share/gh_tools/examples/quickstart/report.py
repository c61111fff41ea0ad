"""Print the quickstart's table: errors against DFT, the regression, times, and where the pictures are."""

import json
from pathlib import Path

from gh_tools.console import table


def main() -> None:
    """Read what the steps left in this folder, and print it."""
    errors = json.loads(Path("errors.json").read_text())
    mean = errors["mean"]
    hamiltonian, eigenvalues = mean["hamiltonian"], mean["eigenvalues"]
    dos = json.loads(Path("dos.json").read_text())
    n = len(errors["structures"])
    rows = [
        ["H, all elements", f"{hamiltonian['all']:.2f} meV"],
        ["H, pairs", f"{hamiltonian['pairs']:.2f} meV"],
        ["H, on-site", f"{hamiltonian['onsite']:.2f} meV"],
        ["eigenvalues, E_F ± 5 eV", f"{eigenvalues['window']:.1f} meV"],
        ["  after aligning by a constant shift", f"{eigenvalues['window_shifted']:.1f} meV"],
        ["Fermi level", f"{eigenvalues['fermi_level']:.1f} meV"],
        ["band gap", f"{1e3 * dos['band_gap_mae']:.1f} meV"],
    ]
    table(rows, ["mean absolute error against DFT", f"{n} unseen structures"])

    study = json.loads(Path("study.json").read_text())
    rows = [
        [name, f"{found['mean']:.3g}", "{:.3g} to {:.3g}".format(*found["hdi"]), found["unit"]]
        for name, found in study["estimates"].items()
    ]
    table(rows, ["coefficient", "mean", "94 % HDI", "unit"], title=study["formula"])

    seconds: dict[str, float] = {}
    for line in Path("times.tsv").read_text().splitlines():
        took, program, _ = line.split("\t", 2)
        seconds[program] = seconds.get(program, 0.0) + float(took)
    rows = [[program, f"{s:.0f} s"] for program, s in seconds.items()]
    table([*rows, ["together", f"{sum(seconds.values()):.0f} s"]], ["command", "time"])
    for picture in sorted(Path().glob("*.png")):
        print(picture.absolute())


if __name__ == "__main__":
    main()
