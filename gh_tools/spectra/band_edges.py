"""Band edges between the points of a k grid: where they are, how direct the gap is, and effective masses.

A grid that misses the k-point of a band edge gives a gap that is too large, with common grids by tens of meV.
So the extrema of the highest occupied and the lowest empty band are refined (`band_extrema`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_extrema import (
    Dispersion,
    Extremum,
    effective_masses,
    extrema,
    minimum,
)
from gh_tools.spectra.choice import REFINED_LIMIT
from gh_tools.spectra.config import RESOLUTION
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import DIRECT, BandEdges, band_edges
from gh_tools.spectra.gap import DEGENERATE, Edge, Gap


def refined_edges(
    hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, n_electrons: float
) -> BandEdges:
    """Return the band edges of the sharply filled eigenvalues, refined between the k-points.

    Without refinement (more than 600 orbitals, nothing periodic) they are those of the k-points, as of
    `fermi.band_edges`. All solvers give the same.

    Args:
        hamiltonian: H(R) and S(R).
        eigenvalues: its eigenvalues on k-points.
        n_electrons: electrons in the cell.

    Raises:
        DataError: as `fermi.fermi_level`.
        OutsideWindow: as `fermi.fermi_level`.
    """
    on_kpoints = band_edges(eigenvalues, n_electrons)
    occupied = occupied_bands(hamiltonian, eigenvalues, on_kpoints)
    if occupied is None:
        return on_kpoints
    bands = Dispersion(hamiltonian)
    both = extrema(bands, eigenvalues, occupied)
    edges = _edges_between(both[0].energy, both[1].energy, on_kpoints)
    if edges.gap == 0:
        return edges
    direct = _narrowest(bands, both, occupied) - edges.gap < DIRECT
    return replace(edges, direct=direct, kpoints=np.stack([edge.kpoint for edge in both]))


def refined_edges_and_gap(
    hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, n_electrons: float
) -> tuple[BandEdges, Gap | None]:
    """Return the edges of `refined_edges` and, of an insulator whose edges are refined, what there is to say of its gap.

    Args:
        hamiltonian: H(R) and S(R).
        eigenvalues: all its eigenvalues on k-points.
        n_electrons: electrons in the cell.

    Raises:
        DataError: as `fermi.fermi_level`.
    """
    on_kpoints = band_edges(eigenvalues, n_electrons)
    occupied = occupied_bands(hamiltonian, eigenvalues, on_kpoints)
    if occupied is None:
        return on_kpoints, None
    gap = refined_gap(hamiltonian, eigenvalues, occupied)
    edges = _edges_between(gap.valence.energy, gap.conduction.energy, on_kpoints)
    if edges.gap == 0:
        return edges, None
    where = np.stack([gap.valence.kpoint, gap.conduction.kpoint])
    return replace(edges, direct=gap.is_direct, kpoints=where), gap


def refined_gap(hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, occupied: Sequence[int]) -> Gap:
    """Return edges, kind of gap and masses between bands, whether they overlap or not.

    Args:
        hamiltonian: H(R) and S(R).
        eigenvalues: all its eigenvalues on k-points.
        occupied: number of occupied bands of each spin.

    Returns:
        Edges, gap, and masses. Energies are right to 0.1 meV, as far as the grid has a point in the valley of each
        extremum.
    """
    bands = Dispersion(hamiltonian)
    kpoints, energies = eigenvalues.kpoints.points, eigenvalues.energies
    valence, conduction = extrema(bands, eigenvalues, occupied)
    spacing = bands.spacing(eigenvalues.kpoints)
    # Both edges are points where it can be smallest.
    direct = _narrowest(bands, (valence, conduction), occupied)
    for s, n in enumerate(occupied):
        if not 0 < n < energies.shape[2]:
            continue
        gaps = energies[s, :, n] - energies[s, :, n - 1]
        found = minimum(bands, kpoints, gaps, spacing, partial(_difference, bands, s, n))[1]
        direct = min(direct, found)
    return Gap(_edge(bands, valence), _edge(bands, conduction), direct)


def occupied_bands(
    hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, edges: BandEdges
) -> list[int] | None:
    """Return the number of occupied bands of each spin of an insulator that can be refined; else None.

    Args:
        hamiltonian: H(R) and S(R).
        eigenvalues: its eigenvalues on k-points.
        edges: those of the k-points.
    """
    small = hamiltonian.n_orbitals <= REFINED_LIMIT and hamiltonian.atoms.pbc.any()
    if edges.gap == 0 or not small:
        return None
    middle = 0.5 * (edges.valence + edges.conduction)
    below = 0 if eigenvalues.below is None else eigenvalues.below[:, 0]
    return (below + np.sum(eigenvalues.energies[:, 0] < middle, axis=-1)).tolist()


def _narrowest(bands: Dispersion, both: Iterable[Extremum], occupied: Sequence[int]) -> float:
    """Return the smallest energy between occupied and empty states of one spin at the k-points of both edges, eV."""
    found = [
        (energies[n] - energies[n - 1])
        for s, n in enumerate(occupied)
        if 0 < n < bands.n_orbitals
        for energies in (bands.energies(edge.kpoint, s) for edge in both)
    ]
    return float(min(found, default=np.inf))


def _edges_between(valence: float, conduction: float, on_kpoints: BandEdges) -> BandEdges:
    """Return refined edges; the middle of those of the k-points where these had missed that bands overlap."""
    if conduction - valence <= RESOLUTION:
        middle = 0.5 * (on_kpoints.valence + on_kpoints.conduction)
        return BandEdges(middle, middle, 0.0)
    return BandEdges(valence, conduction, conduction - valence)


def _edge(bands: Dispersion, extremum: Extremum) -> Edge:
    """Return an extremum with its degeneracy and, of a single band, its effective masses.

    Time reversal and inversion make two bands of spinors one everywhere.
    """
    found = bands.energies(extremum.kpoint, extremum.spin)
    degeneracy = int(np.count_nonzero(np.abs(found - extremum.energy) < DEGENERATE))
    single = degeneracy == 1 or (degeneracy == 2 and bands.spinor)
    masses, axes = effective_masses(bands, extremum) if single else (None, None)
    return Edge(extremum.energy, extremum.kpoint, extremum.spin, degeneracy, masses, axes)


def _difference(
    bands: Dispersion, spin: int, n: int, k: Float[np.ndarray, "3"]
) -> tuple[float, Float[np.ndarray, " periodic"]]:
    """Return the energy of band n above band n - 1 in eV, and its gradient along the axes in eV Å."""
    upper, lower = bands.band(k, spin, n), bands.band(k, spin, n - 1)
    return upper[0] - lower[0], upper[1] - lower[1]
