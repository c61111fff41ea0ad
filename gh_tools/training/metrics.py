"""What a model is judged by, in physical units and double precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.eigen import Levels, solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack

MEV = 1000.0  # meV in an eV
SMEARING = 0.05  # eV, for Fermi levels of predicted and reference levels alike


def hamiltonian_mae(pairs: Iterable[tuple[Hamiltonian, Hamiltonian]]) -> dict[str, float]:
    """Mean absolute error of matrix elements in the basis of orbitals.

    Every element of H(R) counts once: an on-site block's all, and a stored pair's twice, because its
    transpose is the block of the opposite pair.

    Args:
        pairs: predicted and reference H of each structure; the predicted has all blocks of the reference,
            in the same order.

    Returns:
        In meV: ``hamiltonian`` (all elements), ``pairs`` and ``onsite``. NaN where there is none.
    """
    total = {"onsite": 0.0, "pairs": 0.0}
    count = {"onsite": 0, "pairs": 0}
    for predicted, reference in pairs:
        for key, wanted in reference.groups():
            part, times = ("onsite", 1) if isinstance(key, int) else ("pairs", 2)
            found = getattr(predicted, part)[key]
            error = np.abs(found.hamiltonian.astype(float) - wanted.hamiltonian)
            total[part] += times * error.sum()
            count[part] += times * error.size

    def mean(parts: Sequence[str]) -> float:
        elements = sum(count[part] for part in parts)
        return MEV * sum(total[part] for part in parts) / elements if elements else float("nan")

    return {
        "hamiltonian": mean(("onsite", "pairs")),
        "pairs": mean(("pairs",)),
        "onsite": mean(("onsite",)),
    }


@dataclass(frozen=True)
class Reference:
    """Eigenvalues of one label.

    Attributes:
        levels: at the label's k-points.
        fermi: Fermi level that fills them, in eV.
    """

    levels: Levels
    fermi: float


def reference_levels(label: Hamiltonian) -> Reference:
    """Solve a label's eigenproblem at the k-points of its DFT run, or on a 2-grid if it has none."""
    if label.bands is not None:
        weight = label.bands.weight / label.bands.weight.sum()
        kpoints = KPoints(np.asarray(label.bands.kpoint), weight)
    else:
        kpoints = monkhorst_pack([2 if periodic else 1 for periodic in label.atoms.pbc])
    levels = solve(label, kpoints, projected=False)
    return Reference(levels, fermi_level(levels, _n_electrons(label), SMEARING))


def _n_electrons(label: Hamiltonian) -> float:
    counted = label.scalars.get("n_electrons", np.nan)
    # A store may not know it for every structure.
    return label.basis.n_electrons(label.atoms.numbers) if np.isnan(counted) else counted


def eigenvalue_errors(
    predicted: Sequence[Hamiltonian],
    references: Sequence[Reference],
    window: float,
    ghost_distance: float,
) -> dict[str, float]:
    """Compare generalised eigenvalues near the Fermi level.

    Levels are compared by their order at each k-point, where the reference lies within ``window`` of its
    Fermi level. A ghost state is a predicted level within the window that has no reference level at
    its k-point within ``ghost_distance``.

    Args:
        predicted: H and S of each structure.
        references: of the same structures.
        window: eV.
        ghost_distance: eV.

    Returns:
        ``eigenvalue``: mean absolute error in meV; ``ghosts``: their number, over all structures and
        k-points; ``fermi``: mean absolute error of the Fermi level in meV.
    """
    errors, ghosts, fermi = [], 0, []
    for hamiltonian, reference in zip(predicted, references, strict=True):
        levels = solve(hamiltonian, reference.levels.kpoints, projected=False)
        true, found = reference.levels.energies, levels.energies
        inside = np.abs(true - reference.fermi) <= window
        errors.append(np.abs(found - true)[inside])
        ghosts += count_ghosts(found, true, reference.fermi, window, ghost_distance)
        level = fermi_level(levels, _n_electrons(hamiltonian), SMEARING)
        fermi.append(abs(level - reference.fermi))
    return {
        "eigenvalue": MEV * float(np.mean(np.concatenate(errors))),
        "ghosts": float(ghosts),
        "fermi": MEV * float(np.mean(fermi)),
    }


def count_ghosts(
    predicted: Float[np.ndarray, "spins kpoints bands"],
    reference: Float[np.ndarray, "spins kpoints bands"],
    fermi: float,
    window: float,
    distance: float,
) -> int:
    """Count predicted levels near the Fermi level that no reference level is near to.

    Args:
        predicted: in eV, ascending.
        reference: in eV, ascending.
        fermi: Fermi level in eV.
        window: eV around it in which levels are counted.
        distance: eV to the nearest reference level of the same spin and k-point.
    """
    ghosts = 0
    rows = zip(
        predicted.reshape(-1, predicted.shape[-1]),
        reference.reshape(-1, reference.shape[-1]),
        strict=True,
    )
    for found, true in rows:
        found = found[np.abs(found - fermi) <= window]
        above = np.clip(np.searchsorted(true, found), 1, len(true) - 1)
        nearest = np.minimum(np.abs(found - true[above - 1]), np.abs(found - true[above]))
        ghosts += int((nearest > distance).sum())
    return ghosts
