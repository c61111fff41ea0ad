"""Weights of groups and group velocities of states along a path of k-points."""

from __future__ import annotations

import numpy as np
from ase.dft.kpoints import BandPath
from jaxtyping import Float
from scipy.constants import elementary_charge, hbar

from gh_tools.spectra.eigen import Eigenvalues, mean_of_degenerate

# m/s of a slope of 1 eV Å.
VELOCITY = elementary_charge * 1e-10 / hbar


def path_directions(path: BandPath, before: int) -> Float[np.ndarray, "kpoints 3"]:
    """Return the change of k-points (in reciprocal vectors) by 1/Å along a path, for slopes along it.

    Each is towards the next k-point; at the end of a part of the path, and at the last, from the one before.

    Args:
        path: the k-points.
        before: number of k-points that are solved before those of the path, which get zeros.
    """
    points = path.kpts
    steps = np.diff(points, axis=0)
    lengths = 2 * np.pi * np.linalg.norm(steps @ path.cell.reciprocal().array, axis=1)
    # Where the path jumps to another part, its own axis of distances does not move.
    distance = path.get_linear_kpoint_axis()[0]
    within = (np.diff(distance) > 1e-12) & (lengths > 1e-12)
    directions = np.zeros_like(points)
    directions[:-1][within] = steps[within] / lengths[within, None]
    last = ~np.append(within, False)
    last[0] = False
    arrived = last & np.insert(within, 0, False)
    directions[arrived] = directions[np.flatnonzero(arrived) - 1]
    return np.concatenate([np.zeros((before, 3)), directions])


def fat_weights(
    eigenvalues: Eigenvalues, before: int
) -> Float[np.ndarray, "groups spins kpoints bands"]:
    """Return the weights of groups in the states along a path, of degenerate ones their mean.

    Args:
        eigenvalues: with weights of the groups named ``fat``.
        before: number of k-points that are not of the path.
    """
    weights = eigenvalues.weights["fat"][:, :, before:].copy()
    energies = eigenvalues.energies[:, before:]
    for s, k in np.ndindex(energies.shape[:2]):
        weights[:, s, k] = mean_of_degenerate(energies[s, k], weights[:, s, k])
    return weights


def along_path(eigenvalues: Eigenvalues, before: int) -> Float[np.ndarray, "spins kpoints bands"]:
    """Return the component of the group velocity ∂E/∂k/ħ along a path, m/s.

    Args:
        eigenvalues: with slopes along the path.
        before: number of k-points that are not of the path.
    """
    assert eigenvalues.slopes is not None  # asked for
    return VELOCITY * eigenvalues.slopes[:, before:]
