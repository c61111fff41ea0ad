"""Two- and three-body descriptors of atoms, and smooth windows about them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from gh_tools.orbitals.pairs import Neighbours
from gh_tools.scaleshift.radial import smooth_cutoff

# Reach in Å and number of radial functions of sums over neighbours, and over pairs of neighbours.
TWO_BODY, THREE_BODY = (6.5, 8), (4.0, 3)
# R in Å: the range over which atoms contribute to the on-site energies of others.
RANGE = 12.0
# Atoms whose neighbours are listed at once.
_LISTED = 512


def descriptors(
    species: Int[np.ndarray, " atoms"],
    n_species: int,
    neighbours: Neighbours,
    chosen: Int[np.ndarray, " some"],
    r_min: float,
) -> Float[np.ndarray, "some descriptors"]:
    """Describe the surroundings of some atoms.

    Args:
        species: Index of the element of each atom.
        n_species: Number of elements.
        neighbours: Of the structure.
        chosen: The atoms.
        r_min: Neighbours closer than this, in Å, count as this far.

    Returns:
        One; sums of radial functions over the neighbours of each element; and the power spectrum: for each
        degree and two radial functions of two elements, the sum over pairs of neighbours of both functions
        times the Legendre polynomial of the angle between them.
    """
    i, j, _, vector = neighbours.of(chosen, max(TWO_BODY[0], THREE_BODY[0]))
    distance = np.linalg.norm(vector, axis=1)
    channel = np.searchsorted(chosen, i) * n_species + species[j]
    n_channels = len(chosen) * n_species
    sums = _summed(channel, n_channels, _radial(distance, r_min, *TWO_BODY))

    near = distance < THREE_BODY[0]
    radial = _radial(distance[near], r_min, *THREE_BODY)
    unit = vector[near] / distance[near, None]
    # Tensors whose products are the Legendre polynomials of degree 0, 1, 2.
    traceless = unit[:, :, None] * unit[:, None, :] - np.eye(3) / 3
    tensors = [
        np.ones((len(unit), 1)),
        unit,
        np.sqrt(1.5) * traceless.reshape(-1, 9),
    ]
    spectrum = []
    for tensor in tensors:
        density = _summed(
            channel[near],
            n_channels,
            np.einsum("nr,nt->nrt", radial, tensor).reshape(
                len(unit), THREE_BODY[1] * tensor.shape[1]
            ),
        ).reshape(len(chosen), n_species * THREE_BODY[1], tensor.shape[1])
        above = np.triu_indices(density.shape[1])
        spectrum.append(np.einsum("acm,adm->acd", density, density)[:, *above])
    return np.concatenate(
        [np.ones((len(chosen), 1)), sums.reshape(len(chosen), -1), *spectrum], axis=1
    )


def _summed(
    channel: Int[np.ndarray, " n"], n_channels: int, values: Float[np.ndarray, "n columns"]
) -> Float[np.ndarray, "channels columns"]:
    """Add up the rows of each channel."""
    order = np.argsort(channel, kind="stable")
    start = np.searchsorted(channel[order], np.arange(n_channels + 1))
    matrix = csr_array((np.ones(len(order)), order, start), shape=(n_channels, len(order)))
    return matrix @ values


def _radial(
    distance: Float[np.ndarray, " n"], r_min: float, cutoff: float, count: int
) -> Float[np.ndarray, "n count"]:
    x = np.clip((distance - r_min) / (cutoff - r_min), 0.0, 1.0)
    return np.cos(np.pi * x[:, None] * np.arange(count)) * smooth_cutoff(distance / cutoff)[:, None]


def range_weights(
    neighbours: Neighbours, chosen: Int[np.ndarray, " some"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return i and j of all pairs of the chosen atoms within `RANGE`, and the weight (1 - r²/RANGE²)² of each."""
    i, j, _, vector = neighbours.of(chosen, RANGE)
    return i, j, (1.0 - np.einsum("pc,pc->p", vector, vector) / RANGE**2) ** 2


def in_parts(atoms: Int[np.ndarray, " some"]) -> list[Int[np.ndarray, " _part"]]:
    """Divide atoms into parts whose neighbours are listed at once."""
    return [atoms[start : start + _LISTED] for start in range(0, len(atoms), _LISTED)]
