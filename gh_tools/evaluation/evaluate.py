"""Errors of a store of predictions against labels, structure by structure and averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from gh_tools.console import log, track
from gh_tools.errors import DataError
from gh_tools.evaluation.coverage import Coverage, add_matrices, add_spectra
from gh_tools.evaluation.distribution import CDF_THRESHOLD, QUARTILES, ErrorDistribution
from gh_tools.evaluation.eigenvalue_errors import (
    SMEARING,
    WINDOW,
    EigenvalueErrors,
    GapError,
    both_eigenvalues,
    eigenvalue_errors,
    gap_error,
    reference_kpoints,
)
from gh_tools.evaluation.ghosts import Ghost, trace_ghosts
from gh_tools.evaluation.matrix_errors import (
    HamiltonianErrors,
    check_same_structure,
    hamiltonian_errors,
    matched_blocks,
    mean_of_known,
)
from gh_tools.evaluation.noise import DRAWS, ErrorModel, Noise, draw_of_members, spectral_errors
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.choice import DENSE_LIMIT
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.identity import match
from gh_tools.units import MEV


@dataclass
class Evaluation:
    """Errors of all predictions.

    Attributes:
        names: of the structures.
        orbitals: number of orbitals of each.
        hamiltonian: errors of the matrix elements of each.
        eigenvalues: errors of the eigenvalues of each; None where a structure is too large for a dense solver.
        gaps: band gaps of each; None where eigenvalues are.
        elements: how the errors of all matrix elements are distributed.
        all_eigenvalues: how the errors of all eigenvalues are distributed, against E - E_F of the reference;
            its histogram holds those within ±5 eV.
        coverage: errors against uncertainties, where an ensemble made the predictions; else it has counted nothing.
        ghosts: by name, the ghosts of structures that have some, with their causes.
        model: id of the model that predicted; None where their store does not tell.
        atoms: number of atoms of each structure.
        noise: what errors of spectra follow from random errors of H; None where that was not asked for.
    """

    names: list[str] = field(default_factory=list)
    orbitals: list[int] = field(default_factory=list)
    hamiltonian: list[HamiltonianErrors] = field(default_factory=list)
    eigenvalues: list[EigenvalueErrors | None] = field(default_factory=list)
    gaps: list[GapError | None] = field(default_factory=list)
    elements: ErrorDistribution = field(default_factory=ErrorDistribution)
    all_eigenvalues: ErrorDistribution = field(default_factory=ErrorDistribution)
    coverage: Coverage = field(default_factory=Coverage)
    ghosts: dict[str, list[Ghost]] = field(default_factory=dict)
    model: str | None = None
    atoms: list[int] = field(default_factory=list)
    noise: Noise | None = None

    def to_json(self) -> dict[str, Any]:
        """Give all errors in meV as nested dictionaries; docs/how-to/evaluation.md tells of each key."""
        records = []
        columns = (
            *(self.names, self.atoms, self.orbitals),
            *(self.hamiltonian, self.eigenvalues, self.gaps),
        )
        for name, atoms, orbitals, h, errors, gap in zip(*columns, strict=True):
            record: dict[str, Any] = {"name": name, "n_atoms": atoms, "n_orbitals": orbitals}
            record["hamiltonian"] = _mev(h.means())
            record["eigenvalues"] = errors and _mev(asdict(errors)) | {"ghosts": errors.ghosts}
            record["band_gap"] = gap and _mev(asdict(gap) | {"error": gap.error})
            records.append(record)
        total = reduce(add, self.hamiltonian, HamiltonianErrors())
        means = [h.means() for h in self.hamiltonian]
        solved = [asdict(errors) for errors in self.eigenvalues if errors is not None]
        mean: dict[str, Any] = {
            "hamiltonian": _mev({key: mean_of_known([m[key] for m in means]) for key in means[0]})
        }
        if solved:
            mean["eigenvalues"] = _mev(
                {key: mean_of_known([abs(s[key]) for s in solved]) for key in solved[0]}
            ) | {"ghosts": sum(s["ghosts"] for s in solved)}
            gaps = [abs(gap.error) for gap in self.gaps if gap is not None]
            mean |= _mev({"band_gap": mean_of_known(gaps)})
        symbols = chemical_symbols
        by_pair = {symbols[z]: part for z, part in total.onsite.items()}
        by_pair |= {f"{symbols[zi]}-{symbols[zj]}": part for (zi, zj), part in total.pairs.items()}
        return {
            "model": self.model,
            "structures": records,
            "mean": mean,
            "elements": _mev(total.means()),
            "by_species_pair": _mev({key: part.mae for key, part in by_pair.items()}),
            "by_distance": _mev({str(key): part.mae for key, part in total.distance.items()}),
            "distribution": {
                "hamiltonian": _describe(self.elements),
                "eigenvalues": _describe(self.all_eigenvalues) if solved else None,
            },
            "coverage": self.coverage.to_json() or None,
            "ghosts": {
                name: [ghost.to_json() for ghost in some] for name, some in self.ghosts.items()
            },
            "noise": None if self.noise is None else self.noise.to_json(),
            "eigenvalues_skipped": {"above_n_orbitals": DENSE_LIMIT, "structures": self.skipped},
        }

    @property
    def skipped(self) -> list[str]:
        """Names of the structures whose eigenvalues were not compared."""
        found = zip(self.names, self.eigenvalues, strict=True)
        return [name for name, errors in found if errors is None]


def evaluate(predicted: HamiltonianReader, reference: HamiltonianReader) -> Evaluation:
    """Compare all predictions with the labels of the same names.

    Eigenvalues of each side are those of its own H and S, at the k-points of the labels.

    Args:
        predicted: the predictions.
        reference: the labels; structures without a prediction are passed over.

    Returns:
        The errors.

    Raises:
        DataError: a name is missing in the reference, structures of the same name differ, or elements
            are not finite.
    """
    where = f"{predicted.store.path} against {reference.store.path}"
    matches = match(predicted.structures, reference.structures, where)
    last = predicted.store.history[-1] if predicted.store.history else {"inputs": []}
    models = (source["id"] for source in last["inputs"] if source["kind"] == "model")
    result = Evaluation(model=next(models, None))
    for mine, theirs in track(matches, "comparing"):
        name = predicted.names[mine]
        a, b = predicted.read(mine), reference.read(theirs)
        check_same_structure(a, b, f"{where}: structure {name}")
        for store, hamiltonian in ((predicted.store, a), (reference.store, b)):
            _check_finite(hamiltonian, f"{store.path}: structure {name}")
        result.names.append(name)
        result.atoms.append(len(b.atoms))
        result.orbitals.append(b.n_orbitals)
        result.hamiltonian.append(hamiltonian_errors(a, b))
        _add_elements(result.elements, a, b)
        if a.n_members:
            add_matrices(result.coverage, a, b)
        if b.n_orbitals > DENSE_LIMIT:
            log.warning(
                "%s: %d orbitals, above %d: its eigenvalues are not compared",
                name,
                b.n_orbitals,
                DENSE_LIMIT,
            )
            result.eigenvalues.append(None)
            result.gaps.append(None)
            continue
        eigenvalues = both_eigenvalues(a, b)
        result.eigenvalues.append(eigenvalue_errors(*eigenvalues))
        result.gaps.append(gap_error((a, b), eigenvalues[:2], eigenvalues[2]))
        _add_eigenvalues(result.all_eigenvalues, *eigenvalues)
        if ghosts := trace_ghosts(a, b, eigenvalues[:2], eigenvalues[2]):
            result.ghosts[name] = ghosts
        if a.n_members:
            add_spectra(result.coverage, (a, b), eigenvalues[:2], eigenvalues[2])
    return result


def add_noise(
    evaluation: Evaluation,
    predicted: HamiltonianReader,
    reference: HamiltonianReader,
    seed: int = 0,
) -> None:
    """Add noise of the model's size and correlation to references, and compare what follows with the errors that were found.

    The noise is that of the members of an ensemble, where there is one; else that of the errors of the same structures, of each
    element of each kind of block by distance, and of a shift that all share.

    Args:
        evaluation: is added to.
        predicted: the predictions.
        reference: the labels.
        seed: of all random numbers.

    Raises:
        DataError: no structure is small enough for a dense solver.
    """
    rng = np.random.default_rng(seed)
    where = f"{predicted.store.path} against {reference.store.path}"
    matches = match(predicted.structures, reference.structures, where)
    small = [m for m, errors in zip(matches, evaluation.eigenvalues, strict=True) if errors]
    if not small:
        raise DataError(
            f"{where}: expected a structure of up to {DENSE_LIMIT} orbitals to add noise to, found none; compare small ones"
        )
    noise, model = Noise(), ErrorModel()
    noise.members = bool(predicted.read(small[0][0]).n_members)
    if not noise.members:
        for mine, theirs in small:
            model.add(predicted.read(mine), reference.read(theirs))
    for mine, theirs in track(small, "adding noise"):
        a, b = predicted.read(mine), reference.read(theirs)
        eigenvalues = solve(b, reference_kpoints(b), projected=False)
        drawn = []
        for _ in range(DRAWS):
            noisy = draw_of_members(a, b, rng) if noise.members else model.draw(b, rng)
            drawn.append(spectral_errors(noisy, b, eigenvalues))
        noise.add(spectral_errors(a, b, eigenvalues), drawn)
    evaluation.noise = noise


def _check_finite(hamiltonian: Hamiltonian, where: str) -> None:
    for _, blocks in hamiltonian.groups():
        assert blocks.hamiltonian is not None  # stores without H have been refused
        if not np.isfinite(blocks.hamiltonian).all():
            raise DataError(f"{where}: H has elements that are not finite; make the store anew")


def _add_elements(
    distribution: ErrorDistribution, predicted: Hamiltonian, reference: Hamiltonian
) -> None:
    for key, mine, theirs, _ in matched_blocks(predicted, reference):
        # The transpose of a pair's block is that of the opposite pair.
        distribution.add(mine, theirs, 1.0 if isinstance(key, int) else 2.0)


def _add_eigenvalues(
    distribution: ErrorDistribution,
    predicted: Eigenvalues,
    reference: Eigenvalues,
    n_electrons: float,
) -> None:
    fermi = fermi_level(reference, n_electrons, SMEARING)
    # Scaled so that an eigenvalue at k-points without weights counts as one.
    weight = reference.kpoints.weights * len(reference.kpoints)
    distribution.add(
        predicted.energies - fermi,
        reference.energies - fermi,
        weight[None, :, None],
        shown=(-WINDOW, WINDOW),
    )


def _describe(distribution: ErrorDistribution) -> dict[str, Any]:
    """Give a distribution's mean and, of what is above the threshold, its part and quartiles."""
    names = ("lower_quartile", "median", "upper_quartile")
    quartiles = [distribution.quantile(part) for part in QUARTILES]
    return {
        **_mev({"mean": distribution.mean}),
        "threshold": MEV * CDF_THRESHOLD,
        "part_above_threshold": distribution.above,
        **_mev(dict(zip(names, quartiles, strict=True))),
    }


def _mev(errors: Mapping[str, float]) -> dict[str, float | None]:
    """Convert errors from eV; what there is nothing of becomes None, which JSON can say."""
    return {key: MEV * value if np.isfinite(value) else None for key, value in errors.items()}
