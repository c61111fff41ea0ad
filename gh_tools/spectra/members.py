"""What the members of an ensemble differ by in eigenvalues and in all that follows from them.

A member's H is that of the ensemble and a small difference δH. To first order it moves the eigenvalue ε of c by
c†δH c (with c†S c = 1; S is the same for all), so that one spectrum serves all members. Errors that eigenvalues share,
such as a shift of all of them, stay shared: each member has a Fermi level and a gap of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.kpoints import KPoints

# eV from E_F. Eigenvalues whose mean is what all eigenvalues of a structure share.
NEAR = 5.0


def spectra_of_members(
    eigenvalues: Eigenvalues, fermi: float, calibration: Mapping[str, float]
) -> list[Eigenvalues]:
    """Return the eigenvalues of each member of an ensemble, ascending; none where they are not known.

    The part that all eigenvalues of a structure share and what is left are scaled each by its own factor, because
    members that were trained on the same structures agree more than they are right, and not equally in both.

    Args:
        eigenvalues: of the ensemble.
        fermi: its Fermi level in eV, about which eigenvalues share a part.
        calibration: the factors ``shift`` and ``eigenvalues`` that a model found on its validation set; 1 where it has none.
    """
    if eigenvalues.members is None:
        return []
    listed = np.isfinite(eigenvalues.energies)
    near = np.abs(eigenvalues.energies - fermi) < NEAR
    found = []
    for moved in eigenvalues.members:
        shared = shared_part(moved, near * eigenvalues.states)
        scaled = calibration.get("shift", 1.0) * shared
        scaled = scaled + calibration.get("eigenvalues", 1.0) * (moved - shared)
        energies = np.where(listed, eigenvalues.energies + scaled, np.inf)
        order = np.argsort(energies, axis=-1, kind="stable")
        projections = eigenvalues.projections
        if projections is not None:
            projections = np.take_along_axis(
                projections, np.broadcast_to(order, projections.shape), axis=-1
            )
        found.append(
            replace(
                eigenvalues,
                energies=np.take_along_axis(energies, order, axis=-1),
                projections=projections,
                members=None,
                spin=None,
                weights={},
                slopes=None,
            )
        )
    return found


def with_kpoints(eigenvalues: Eigenvalues, more: Eigenvalues) -> Eigenvalues:
    """Return eigenvalues with those of further k-points of weight zero.

    Args:
        eigenvalues: in a window, or all.
        more: all eigenvalues at the further k-points.
    """
    sides = eigenvalues, more
    width = max(side.energies.shape[-1] for side in sides)
    n_spins = eigenvalues.energies.shape[0]

    def padded(arrays: Sequence[np.ndarray], fill: float) -> np.ndarray:
        widths = [width - array.shape[-1] for array in arrays]
        wide = [
            np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, size)], constant_values=fill)
            for array, size in zip(arrays, widths, strict=True)
        ]
        return np.concatenate(wide, axis=-2)

    def counts(name: str) -> np.ndarray:
        return np.concatenate(
            [
                np.zeros((n_spins, len(side.kpoints)), np.int64)
                if getattr(side, name) is None
                else getattr(side, name)
                for side in sides
            ],
            axis=1,
        )

    kpoints = KPoints(
        np.concatenate([side.kpoints.points for side in sides]),
        np.concatenate([eigenvalues.kpoints.weights, np.zeros(len(more.kpoints))]),
    )
    assert eigenvalues.members is not None  # else there is nothing to ask of the further k-points
    assert more.members is not None
    return replace(
        eigenvalues,
        energies=padded([side.energies for side in sides], np.inf),
        kpoints=kpoints,
        projections=None,
        below=counts("below"),
        above=counts("above"),
        spin=None,
        weights={},
        slopes=None,
        members=padded([eigenvalues.members, more.members], 0.0),
    )


def shared_part(
    moved: Float[np.ndarray, "spins kpoints bands"],
    weights: Float[np.ndarray, "spins kpoints bands"],
) -> float:
    """Return the weighted mean of first-order changes of eigenvalues, eV; 0 where none has weight.

    Args:
        moved: change of each eigenvalue, eV.
        weights: of each.
    """
    total = float(np.sum(weights))
    return float(np.sum(weights * moved)) / total if total > 0 else 0.0


def standard_deviations(
    numbers: Callable[[Eigenvalues], Mapping[str, float]], members: Sequence[Eigenvalues]
) -> dict[str, float]:
    """Return the standard deviations of numbers over the members of an ensemble.

    Args:
        numbers: gives those of one member by name; those that not every member has are left out.
        members: at least two.
    """
    rows = [numbers(member) for member in members]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: float(np.std([row[name] for row in rows], ddof=1)) for name in names}
