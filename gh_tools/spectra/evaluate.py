"""Errors of a store of predictions against labels, structure by structure and averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from gh_tools.console import log, track
from gh_tools.spectra.compare import (
    EigenvalueErrors,
    HamiltonianErrors,
    check_same_structure,
    eigenvalue_errors,
    hamiltonian_errors,
    match_names,
)
from gh_tools.store.hamiltonians import HamiltonianReader

MEV = 1e3  # meV in an eV
# Above this number of orbitals a dense eigenproblem takes minutes for each k-point.
DENSE_LIMIT = 6000


@dataclass(frozen=True)
class Evaluation:
    """Errors of all predictions.

    Attributes:
        names: of the structures.
        hamiltonian: errors of the matrix elements of each.
        eigenvalues: errors of the levels of each; None where it is too large for a dense solver.
    """

    names: list[str]
    hamiltonian: list[HamiltonianErrors]
    eigenvalues: list[EigenvalueErrors | None]

    def to_json(self) -> dict[str, Any]:
        """Give all errors in meV as nested dictionaries.

        Returns:
            ``structures``: one record each. ``mean``: averages over structures (of absolute values for
            the Fermi level; of ghosts the sum). ``elements``: averages over all matrix elements.
            ``by_species_pair`` and ``by_distance`` (Å, rounded down) likewise.
        """
        records = []
        for name, h, levels in zip(self.names, self.hamiltonian, self.eigenvalues, strict=True):
            record: dict[str, Any] = {"name": name}
            record["hamiltonian"] = _mev(h.means())
            record["eigenvalues"] = levels and _mev(asdict(levels)) | {"ghosts": levels.ghosts}
            records.append(record)
        total = reduce(add, self.hamiltonian, HamiltonianErrors())
        means = [h.means() for h in self.hamiltonian]
        solved = [asdict(levels) for levels in self.eigenvalues if levels is not None]
        mean = {
            "hamiltonian": _mev(
                {key: float(np.nanmean([m[key] for m in means])) for key in means[0]}
            )
        }
        if solved:
            mean["eigenvalues"] = _mev(
                {key: float(np.nanmean([abs(s[key]) for s in solved])) for key in solved[0]}
            ) | {"ghosts": sum(s["ghosts"] for s in solved)}
        symbols = chemical_symbols
        by_pair = {symbols[z]: part for z, part in total.onsite.items()}
        by_pair |= {f"{symbols[zi]}-{symbols[zj]}": part for (zi, zj), part in total.pairs.items()}
        return {
            "structures": records,
            "mean": mean,
            "elements": _mev(total.means()),
            "by_species_pair": _mev({key: part.mae for key, part in by_pair.items()}),
            "by_distance": _mev({str(key): part.mae for key, part in total.distance.items()}),
        }


def evaluate(predicted: HamiltonianReader, reference: HamiltonianReader) -> Evaluation:
    """Compare all predictions with the labels of the same names.

    Eigenvalues of each side are those of its own H and S, at the k-points of the labels.

    Args:
        predicted: the predictions.
        reference: the labels; structures without a prediction are passed over.

    Returns:
        The errors.

    Raises:
        DataError: a name is missing in the reference, or structures of the same name differ.
    """
    where = f"{predicted.store.path} against {reference.store.path}"
    matches = match_names(predicted.names, reference.names, where)
    result = Evaluation([], [], [])
    for mine, theirs in track(matches, "comparing"):
        name = predicted.names[mine]
        a, b = predicted.read(mine), reference.read(theirs)
        check_same_structure(a, b, f"{where}: structure {name}")
        result.names.append(name)
        result.hamiltonian.append(hamiltonian_errors(a, b))
        if b.n_orbitals > DENSE_LIMIT:
            log.warning("%s: %d orbitals; its eigenvalues are not compared", name, b.n_orbitals)
            result.eigenvalues.append(None)
            continue
        result.eigenvalues.append(eigenvalue_errors(a, b))
    return result


def _mev(errors: Mapping[str, float]) -> dict[str, float | None]:
    """Convert errors from eV; what there is nothing of becomes None, which JSON can say."""
    return {key: MEV * value if np.isfinite(value) else None for key, value in errors.items()}
