"""Add results of known origin to the structures of the study.

python plant.py OUTPUT STRUCTURES...

``planted_holes`` rise with the Ni:Hf ratio and fall with the Se vacancy rate, and do not depend on the
density; ``unrelated_holes`` depend on nothing. Both have a mean and a standard deviation that are not zero.
"""

import argparse
from pathlib import Path

import numpy as np

from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Column, Structures, read_structures, write_structures

UNIT = "1/cm^2"
MEAN, NOISE = 1e13, 1e12
EFFECT = {"ni_hf_ratio": 2e12, "se_vacancy_rate": -1e12}  # of one standard deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("structures", nargs="+", type=Path)
    arguments = parser.parse_args()
    stores = [open_store(path, "structures") for path in arguments.structures]
    parts = [read_structures(store) for store in stores]
    columns = {
        name: Column(
            np.concatenate([part.columns[name].values for part in parts]),
            first.unit,
            first.description,
        )
        for name, first in parts[0].columns.items()
    }
    rng = np.random.default_rng(0)
    n = sum(map(len, parts))
    planted = MEAN + rng.normal(0, NOISE, n)
    for name, size in EFFECT.items():
        values = columns[name].values
        slope = size / values.std()
        planted += slope * (values - values.mean())
        print(f"planted: {slope:.3g} {UNIT} of {name}")
    unrelated = MEAN + rng.normal(0, NOISE, n)
    columns["planted_holes"] = Column(planted, UNIT, "follow doping and vacancies")
    columns["unrelated_holes"] = Column(unrelated, UNIT, "follow nothing")
    names = [
        f"{path.stem}/{name}"
        for path, part in zip(arguments.structures, parts, strict=True)
        for name in part.names
    ]
    atoms = [a for part in parts for a in part.atoms]
    provenance = Provenance("plant.py", seed=0, inputs=stores)
    write_structures(
        arguments.output, Structures(atoms, names, columns), provenance, overwrite=True
    )


if __name__ == "__main__":
    main()
