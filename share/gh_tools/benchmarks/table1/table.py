"""Print the paper's Table 1 with our numbers beside it, from what the Makefile left in this folder."""

import json
import sys
from pathlib import Path

from gh_tools.labels.split import Split
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures

# System: training and validation structures, MAE of H and of eigenvalues within E_F ± 5 eV in meV.
PAPER = {
    "litfsi": ("1200/200", 2.0, 13.0),
    "wse2": ("160/40", 0.30, 4.4),
    "tmd": ("144/36", 1.3, 37.7),
    "agau": ("96/24", 0.53, 10.3),
    "sio2": ("140/20", 1.6, 46.9),
    "hfo2": ("160/40", 2.3, 20.8),
    "hfo2-wse2": ("160/40", 2.1, 23.2),
}
HEAD = (
    "| system | paper: train/validation | H; eigenvalues (meV) | here: train/validation/test | "
    "atoms a cell | H; eigenvalues, shifted (meV) | larger cell | H; eigenvalues, shifted (meV) |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def errors(name: str) -> str:
    """Mean errors of a comparison that gh-eval wrote."""
    mean = json.loads(Path(f"{name}.errors.json").read_text())["mean"]
    text, eigenvalues = f"{mean['hamiltonian']['all']:.2f}", mean.get("eigenvalues")
    if eigenvalues:
        text += f"; {eigenvalues['window']:.1f}, {eigenvalues['window_shifted']:.1f}"
    return text


def sizes(name: str) -> str:
    """Range of the numbers of atoms of a store's structures."""
    atoms = [len(structure) for structure in read_structures(f"{name}.hamiltonians.zarr").atoms]
    return str(atoms[0]) if min(atoms) == max(atoms) else f"{min(atoms)} to {max(atoms)}"


def row(system: str) -> str:
    """One line of the table."""
    split, hamiltonian, eigenvalues = PAPER[system]
    ours = Split.from_arrays(open_store(f"{system}.scaleshift.zarr"))
    cells = (
        system,
        split,
        f"{hamiltonian:.2f}; {eigenvalues:.1f}",
        f"{len(ours.train)}/{len(ours.validation)}/{len(ours.test)}",
        sizes(system),
        errors(system),
        sizes(f"{system}-large"),
        errors(f"{system}-large"),
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(HEAD)
    for name in sys.argv[1:]:
        print(row(name))
