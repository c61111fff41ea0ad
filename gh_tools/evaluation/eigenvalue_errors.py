"""How far predicted eigenvalues are from those of a reference: within a window, all, Fermi level and band gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import electrons_of, fermi_level
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack

WINDOW = 5.0  # eV on both sides of the Fermi level
SMEARING = 0.05  # eV, for the Fermi levels of both sides alike


# A predicted eigenvalue with no eigenvalue of the reference this near (eV) has no counterpart: errors of H in a
# direction that S hardly holds make such states.
GHOST_DISTANCE = 0.3


@dataclass(frozen=True)
class EigenvalueErrors:
    """Errors of the eigenvalues of one structure; averages over k-points go by their weights.

    Attributes:
        window: MAE in eV of the eigenvalues within ±5 eV of the reference's Fermi level.
        window_shifted: the same after aligning by a constant shift, the mean error of these eigenvalues.
        all: MAE in eV of all eigenvalues.
        all_shifted: the same after aligning by a constant shift, the mean error of all eigenvalues.
        fermi_level: error (predicted - reference) in eV; both from the eigenvalues on these k-points.
        ghosts: predicted eigenvalues within ±5 eV that have no eigenvalue of the reference near them, over
            all k-points and spins.
    """

    window: float
    window_shifted: float
    all: float
    all_shifted: float
    fermi_level: float
    ghosts: int


@dataclass(frozen=True)
class GapError:
    """Band gaps of one structure, by `band_edges.refined_edges`; 0 of a metal.

    Attributes:
        predicted: gap of the prediction, eV.
        reference: gap of the reference, eV.
    """

    predicted: float
    reference: float

    @property
    def error(self) -> float:
        """Predicted - reference, eV; NaN where both are metals, which says nothing of gaps."""
        return self.predicted - self.reference if self.predicted or self.reference else np.nan


def gap_error(
    matrices: tuple[Hamiltonian, Hamiltonian],
    eigenvalues: tuple[Eigenvalues, Eigenvalues],
    n_electrons: float,
) -> GapError:
    """Compare the band gaps of two Hamiltonians of one structure, each refined from the same k-points.

    Args:
        matrices: the prediction, and the reference.
        eigenvalues: those of both, on the same k-points.
        n_electrons: that fill them.
    """
    gaps = (
        refined_edges(hamiltonian, solved, n_electrons).gap
        for hamiltonian, solved in zip(matrices, eigenvalues, strict=True)
    )
    return GapError(*gaps)


def both_eigenvalues(
    predicted: Hamiltonian, reference: Hamiltonian, kpoints: KPoints | None = None
) -> tuple[Eigenvalues, Eigenvalues, float]:
    """Solve two Hamiltonians of one structure, each with its own overlap.

    Args:
        predicted: H(R) and S(R).
        reference: H(R) and S(R).
        kpoints: where to compare; None for `reference_kpoints`.

    Returns:
        Eigenvalues of both (of an ensemble with what its members move), and the electrons that fill them: what `eigenvalue_errors` takes.

    Raises:
        DataError: If an overlap is not positive definite.
    """
    kpoints = reference_kpoints(reference) if kpoints is None else kpoints
    return (
        solve(predicted, kpoints, projected=False, with_members=True),
        solve(reference, kpoints, projected=False),
        electrons_of(reference),
    )


def eigenvalue_errors(
    predicted: Eigenvalues,
    reference: Eigenvalues,
    n_electrons: float,
    window: float = WINDOW,
    ghost_distance: float = GHOST_DISTANCE,
) -> EigenvalueErrors:
    """Compare eigenvalues on the same k-points, by their order at each.

    Args:
        predicted: eigenvalues.
        reference: eigenvalues.
        n_electrons: that fill them.
        window: eV on both sides of the reference's Fermi level.
        ghost_distance: eV; a predicted eigenvalue in the window with no eigenvalue of the reference this near
            is a ghost.

    Returns:
        Errors in eV.
    """
    fermi = fermi_level(reference, n_electrons, SMEARING)
    difference = predicted.energies - reference.energies
    near = share_in_window(reference.energies, (fermi - window, fermi + window))
    return EigenvalueErrors(
        *_mae(difference, near * reference.states),
        *_mae(difference, reference.states),
        fermi_level=float(fermi_level(predicted, n_electrons, SMEARING) - fermi),
        ghosts=len(
            ghosts_among(predicted.energies, reference.energies, fermi, window, ghost_distance)
        ),
    )


def reference_kpoints(reference: Hamiltonian) -> KPoints:
    """Give the k-points of a label's self-consistent run, or two along each periodic direction."""
    if reference.bands is None:
        return monkhorst_pack([2 if periodic else 1 for periodic in reference.atoms.pbc])
    weight = reference.bands.weight / reference.bands.weight.sum()
    return KPoints(np.asarray(reference.bands.kpoint), weight)


def ghosts_among(
    predicted: Float[np.ndarray, "spins kpoints bands"],
    reference: Float[np.ndarray, "spins kpoints bands"],
    fermi: float,
    window: float,
    distance: float,
) -> Int[np.ndarray, "ghosts 3"]:
    """Return spin, k-point and band of predicted eigenvalues in the window that no eigenvalue of the same spin and k-point is near to.

    Args:
        predicted: eigenvalues, eV.
        reference: eigenvalues, eV.
        fermi: Fermi level of the reference, eV.
        window: eV on both sides of it.
        distance: eV; how near a counterpart must be.
    """
    found = []
    for spin, k in np.ndindex(*predicted.shape[:2]):
        mine, true = predicted[spin, k], reference[spin, k]
        edges = np.concatenate([[-np.inf], true, [np.inf]])
        above = np.searchsorted(true, mine) + 1
        far = np.minimum(edges[above] - mine, mine - edges[above - 1]) > distance
        inside = share_in_window(mine, (fermi - window, fermi + window)) > 0
        found += [(spin, k, int(band)) for band in np.flatnonzero(far & inside)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _mae(
    difference: Float[np.ndarray, "..."], weight: Float[np.ndarray, "..."]
) -> tuple[float, float]:
    """Weighted mean absolute value, before and after aligning by a constant shift, the weighted mean."""
    if not np.any(weight):
        return float("nan"), float("nan")
    mean = np.average(difference, weights=weight)
    return (
        float(np.average(abs(difference), weights=weight)),
        float(np.average(abs(difference - mean), weights=weight)),
    )
