"""Spectra stores that hold what a regression reads of them."""

import ase
import numpy as np

from gh_tools.store.io import write_arrays
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Column, Structures, column_attributes, structure_arrays
from tests.bayes.data import planted


def write_spectra(path, n=36, seed=0, **changes):
    """Write a store with the columns of `planted`, and its holes as a scalar.

    Changes replace or add arrays by path, with ``/`` written as ``__``.
    """
    table = planted(n, seed)
    atoms = [ase.Atoms("He", positions=[[0.1 * k, 0, 0]], cell=np.eye(3)) for k in range(n)]
    columns = {
        name: Column(values, table.units[name])
        for name, values in table.columns.items()
        if name != "holes"
    }
    structures = Structures(atoms, [f"{seed}-{row}" for row in table.rows], columns)
    arrays = structure_arrays(structures) | {
        "scalar/holes": table.columns["holes"],
        "scalar/n_electrons": np.full(n, 2.0),
        "dos/energy": np.linspace(-1, 1, 5),
        "dos/total": np.zeros((n, 5)),
        "bands/kpoint_ptr": np.arange(n + 1),
        "bands/kpoint": np.zeros((n, 3)),
        "bands/weight": np.ones(n),
        "bands/eigenvalue_ptr": np.arange(n + 1),
        "bands/eigenvalue": np.zeros(n),
    }
    attributes = column_attributes(structures) | {"scalar/holes": {"unit": table.units["holes"]}}
    for key, value in changes.items():
        key = key.replace("__", "/")
        if key.startswith("unit/"):
            attributes[key.removeprefix("unit/")] = {"unit": value}
        else:
            arrays[key] = value
    return write_arrays(
        path,
        "spectra",
        arrays,
        provenance=Provenance("gh-dos"),
        attributes={"width": 0.1},
        array_attributes=attributes,
    )
