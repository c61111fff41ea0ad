"""How often the intervals of an ensemble hold the reference, and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from gh_tools.evaluation.eigenvalue_errors import WINDOW
from gh_tools.evaluation.matrix_errors import matched_blocks
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.members import spectra_of_members
from gh_tools.spectra.scalars import edge_uncertainties

# Probabilities of the intervals that are looked at; a normal error is in the one of so many standard deviations with it.
NOMINAL = (0.5, 0.68, 0.8, 0.9, 0.95)
_DEVIATIONS = ndtri(0.5 + 0.5 * np.array(NOMINAL))
# eV. Elements of smaller errors and uncertainties, such as those beyond the reach of orbitals, tell nothing.
_NOTHING = 1e-5
# Uncertainties in eV, within the bins between which errors are compared with them.
BINS = np.geomspace(1e-6, 10.0, 43)


@dataclass
class Coverage:
    """Errors against uncertainties.

    Attributes:
        inside: by name (``hamiltonian``, ``eigenvalues``, ``fermi_level``, ``band_gap``), weight of the errors that lie in the
            interval of each nominal part of `NOMINAL`.
        total: weight of all errors, by name.
        squares: weighted sums of squared errors and of squared uncertainties, eV², by name.
        binned: by name and bin of the uncertainty (below, within and above `BINS`): weight, and weighted sums of squared errors
            and of squared uncertainties, eV².
    """

    inside: dict[str, Float[np.ndarray, " intervals"]] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)
    squares: dict[str, Float[np.ndarray, "2"]] = field(default_factory=dict)
    binned: dict[str, Float[np.ndarray, "3 bins"]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        error: Float[np.ndarray, "..."] | float,
        deviation: Float[np.ndarray, "..."] | float,
        weight: Float[np.ndarray, "..."] | float = 1.0,
    ) -> None:
        """Count errors.

        Args:
            name: of what they are of.
            error: predicted minus reference, eV.
            deviation: uncertainty of the prediction, eV.
            weight: of each.
        """
        error, deviation, weight = np.broadcast_arrays(np.abs(error), deviation, weight)
        held = [np.sum(weight * (error <= limit * deviation)) for limit in _DEVIATIONS]
        sums = np.array([np.sum(weight * error**2), np.sum(weight * deviation**2)])
        self.inside[name] = self.inside.get(name, 0) + np.array(held)
        self.total[name] = self.total.get(name, 0.0) + float(np.sum(weight))
        self.squares[name] = self.squares.get(name, 0) + sums
        index = np.digitize(deviation.ravel(), BINS)
        parts = (weight, weight * error**2, weight * deviation**2)
        binned = [np.bincount(index, part.ravel(), len(BINS) + 1) for part in parts]
        self.binned[name] = self.binned.get(name, 0) + np.array(binned)

    def error_by_uncertainty(self, name: str, least: float = 1e-3) -> Float[np.ndarray, "2 bins"]:
        """Return the rms uncertainty, and the rms error of what has it, in bins of the uncertainty; both in eV.

        Args:
            name: of what they are of.
            least: part of the weight that a bin must hold to be told.
        """
        weight, error, deviation = self.binned[name]
        held = weight > least * weight.sum()
        return np.sqrt(np.array([deviation[held], error[held]]) / weight[held])

    def to_json(self) -> dict[str, Any]:
        """Return, by name, the part of the weight in each interval, and rms uncertainty over rms error; None of none."""
        found: dict[str, Any] = {}
        for name, total in self.total.items():
            if total == 0:
                continue
            error, deviation = self.squares[name]
            parts = (self.inside[name] / total).tolist()
            found[name] = {
                "intervals": {
                    f"{probability:g}": part
                    for probability, part in zip(NOMINAL, parts, strict=True)
                },
                "width": float(np.sqrt(deviation / error)) if error > 0 else None,
            }
        return found


def add_matrices(coverage: Coverage, predicted: Hamiltonian, reference: Hamiltonian) -> None:
    """Count the matrix elements of H(R) of one structure, each with its own uncertainty.

    Args:
        coverage: is added to.
        predicted: by an ensemble.
        reference: of the same structure.
    """

    def only(blocks):
        return replace(blocks, hamiltonian=blocks.uncertainty)

    deviations = replace(
        predicted,
        onsite={z: only(blocks) for z, blocks in predicted.onsite.items()},
        pairs={pair: only(blocks) for pair, blocks in predicted.pairs.items()},
    )
    both = zip(
        matched_blocks(predicted, reference), matched_blocks(deviations, reference), strict=True
    )
    for (key, mine, theirs, _), (_, deviation, _, _) in both:
        error = np.abs(mine - theirs)
        weight = (1.0 if isinstance(key, int) else 2.0) * (np.maximum(error, deviation) > _NOTHING)
        coverage.add("hamiltonian", error, deviation, weight)


def add_spectra(
    coverage: Coverage,
    matrices: tuple[Hamiltonian, Hamiltonian],
    eigenvalues: tuple[Eigenvalues, Eigenvalues],
    n_electrons: float,
) -> None:
    """Count the eigenvalues within ±5 eV of E_F, the Fermi level (filled sharply) and the gap of one structure.

    Args:
        coverage: is added to.
        matrices: the prediction by an ensemble, and the reference.
        eigenvalues: those of both, on the same k-points.
        n_electrons: that fill them.
    """
    predicted, reference = eigenvalues
    fermi = fermi_level(predicted, n_electrons), fermi_level(reference, n_electrons)
    edges = [
        refined_edges(hamiltonian, solved, n_electrons)
        for hamiltonian, solved in zip(matrices, eigenvalues, strict=True)
    ]
    members = spectra_of_members(predicted, fermi[0], matrices[0].calibration)
    deviation = np.std([member.energies for member in members], axis=0, ddof=1)
    near = share_in_window(reference.energies, (fermi[1] - WINDOW, fermi[1] + WINDOW))
    difference = predicted.energies - reference.energies
    coverage.add("eigenvalues", difference, deviation, near * reference.states)
    config = SamplingConfig()
    found = edge_uncertainties(matrices[0], predicted, edges[0], fermi[0], config)
    coverage.add("fermi_level", fermi[0] - fermi[1], found["fermi_level"])
    if edges[0].gap or edges[1].gap:
        coverage.add("band_gap", edges[0].gap - edges[1].gap, found["band_gap"])
