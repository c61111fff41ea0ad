"""What a model is judged by while it trains, in meV: the same numbers that ``gh-eval`` gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gh_tools.evaluation.eigenvalue_errors import eigenvalue_errors, reference_kpoints
from gh_tools.evaluation.matrix_errors import HamiltonianErrors, hamiltonian_errors, mean_of_known
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import electrons_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.units import MEV


def hamiltonian_mae(pairs: Iterable[tuple[Hamiltonian, Hamiltonian]]) -> dict[str, float]:
    """Mean absolute error of matrix elements in the basis of orbitals, over all structures.

    Args:
        pairs: predicted and reference H of each structure.

    Returns:
        In meV: ``hamiltonian`` (all elements), ``pairs`` and ``onsite``. NaN where there is none.
    """
    errors = sum((hamiltonian_errors(*pair) for pair in pairs), HamiltonianErrors())
    return {
        "hamiltonian": MEV * errors.all.mae,
        "pairs": MEV * errors.all_pairs.mae,
        "onsite": MEV * errors.all_onsite.mae,
    }


@dataclass(frozen=True)
class Reference:
    """Eigenvalues of one label.

    Attributes:
        eigenvalues: at the k-points of the label's DFT run.
        n_electrons: that fill them.
    """

    eigenvalues: Eigenvalues
    n_electrons: float

    @classmethod
    def of(cls, label: Hamiltonian, most: int | None = None) -> Reference:
        """Solve the label's eigenproblem.

        Args:
            label: H and S.
            most: k-points, at most; taken evenly from those of the DFT run.
        """
        kpoints = reference_kpoints(label)
        if most is not None and len(kpoints) > most:
            chosen = np.linspace(0, len(kpoints) - 1, most).astype(int)
            weights = kpoints.weights[chosen]
            kpoints = KPoints(kpoints.points[chosen], weights / weights.sum())
        eigenvalues = solve(label, kpoints, projected=False)
        return cls(eigenvalues, electrons_of(label))


def eigenvalue_mae(
    predicted: Sequence[Hamiltonian],
    references: Sequence[Reference],
    window: float,
    ghost_distance: float,
) -> dict[str, float]:
    """Compare generalised eigenvalues near the Fermi level.

    Args:
        predicted: H and S of each structure.
        references: of the same structures.
        window: eV; eigenvalues of the reference within ± this of its Fermi level count.
        ghost_distance: eV; a predicted eigenvalue in the window with no eigenvalue of the reference this near,
            at its k-point, is a ghost.

    Returns:
        Averages over the structures that have such eigenvalues (nan where none has), in meV: ``eigenvalue`` (MAE), ``eigenvalue_shifted`` (MAE without
        the mean error), ``fermi`` (absolute error of the Fermi level); and the number of ``ghosts``.
    """
    errors = [
        eigenvalue_errors(
            solve(hamiltonian, reference.eigenvalues.kpoints, projected=False),
            reference.eigenvalues,
            reference.n_electrons,
            window,
            ghost_distance,
        )
        for hamiltonian, reference in zip(predicted, references, strict=True)
    ]
    return {
        "eigenvalue": MEV * mean_of_known([error.window for error in errors]),
        "eigenvalue_shifted": MEV * mean_of_known([error.window_shifted for error in errors]),
        "fermi": MEV * mean_of_known([abs(error.fermi_level) for error in errors]),
        "ghosts": float(sum(error.ghosts for error in errors)),
    }
