"""Bands of a supercell unfolded into the zone of its primitive cell: weights of states, and the spectral function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Shaped
from scipy.special import ndtr

from gh_tools.console import log, progress
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.resources import free_memory
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.band_path import NamedPath, joined_labels
from gh_tools.spectra.bands import without_nan
from gh_tools.spectra.choice import choose_solver
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.dos import REACH, cell_edges
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import (
    BandEdges,
    OutsideWindow,
    band_edges,
    electrons_of,
    fermi_level_of,
)
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.members import spectra_of_members, with_kpoints
from gh_tools.spectra.perturbation import differences, first_order
from gh_tools.spectra.scalars import edge_uncertainties, tell_members_differ
from gh_tools.spectra.sites import Sites
from gh_tools.spectra.sparse.around_fermi import certified_eigenvalues
from gh_tools.spectra.sparse.solver import SlicedSolver
from gh_tools.spectra.spectrum import prepared
from gh_tools.spectra.unfolding import Unfolding

# eV
WIDTH = 0.05
# Energies a standard deviation of the broadening, and at most so many in all.
_PER_WIDTH, _MOST_ENERGIES = 4, 4000
# Of coordinates of k-points that fold onto the same one.
_DECIMALS = 9


@dataclass(frozen=True)
class UnfoldedBands:
    """States of a supercell at k-points of its primitive cell.

    Attributes:
        distance: position of each k-point along the path, 1/Å (2π included).
        kpoints: along the path, in units of the supercell's reciprocal vectors.
        special: distance and name of the points of high symmetry.
        energies: of the supercell's states by spin and k-point, absolute, eV; infinite where another k-point has more.
        weights: part of each state that belongs to this k-point of the primitive cell, see `unfolding`.
        fermi_level: eV.
        edges: band edges and gap of the supercell, on the k grid or refined.
        degeneracy: electrons that a state holds.
        energy: energies of the spectral function, eV from the zero.
        spectral_function: Σ_n g w_n δ(E - E_n) with g = `degeneracy` and Gaussians for δ, 1/eV and primitive cell, the mean
            over each cell of the energy grid.
        width: standard deviation of the Gaussians, eV.
        zero: what energies are counted from.
        sites: of the supercell's atoms.
        orbitals: number of them in the primitive cell, which is what the weights of all states at a k-point add up to.
        complete: whether all states are there, not only those in the window.
        energies_uncertainty: where an ensemble predicted H, the standard deviation of energies over its members, each counted
            from its own Fermi level, eV.
        uncertainties: of ``fermi_level``, ``band_gap``, ``valence_band_maximum`` and ``conduction_band_minimum`` over the members, eV.
    """

    distance: Float[np.ndarray, " kpoints"]
    kpoints: Float[np.ndarray, "kpoints 3"]
    special: tuple[tuple[float, str], ...]
    energies: Float[np.ndarray, "spins kpoints states"]
    weights: Float[np.ndarray, "spins kpoints states"]
    fermi_level: float
    edges: BandEdges
    degeneracy: int
    energy: Float[np.ndarray, " points"]
    spectral_function: Float[np.ndarray, "spins kpoints points"]
    width: float
    zero: Literal["fermi", "valence"]
    sites: Sites
    orbitals: float
    complete: bool
    energies_uncertainty: Float[np.ndarray, "spins kpoints states"] | None = None
    uncertainties: Mapping[str, float] = field(default_factory=dict)

    @property
    def origin(self) -> float:
        """Zero of the spectral function's energies, on the scale of H, in eV."""
        return self.fermi_level if self.zero == "fermi" else self.edges.valence

    def to_json(self) -> dict[str, Any]:
        """Return everything as lists and numbers, with energies of states from the Fermi level as those of bands."""
        listed = np.isfinite(self.energies)
        energies = np.where(listed, self.energies - self.fermi_level, np.nan)
        return {
            "distance": self.distance.tolist(),
            "kpoints": self.kpoints.tolist(),
            "special": [{"distance": d, "name": name} for d, name in self.special],
            "energies": without_nan(energies),
            "weights": without_nan(np.where(listed, self.weights, np.nan)),
            "fermi_level": self.fermi_level,
            "gap": self.edges.gap,
            "valence_band_maximum": self.edges.valence,
            "zero": self.zero,
            "energy": self.energy.tolist(),
            "spectral_function": self.spectral_function.tolist(),
            "width": self.width,
            "primitive_cells": self.sites.cells,
            "orbitals": self.orbitals,
            "energies_uncertainty": None
            if self.energies_uncertainty is None
            else without_nan(np.where(listed, self.energies_uncertainty, np.nan)),
            "uncertainties": dict(self.uncertainties),
            "sites": self.sites.site.tolist(),
            "translations": self.sites.translation.tolist(),
        }

    def rows(self) -> list[tuple[float, ...]]:
        """Return each state: spin, k-point, distance, its three components, energy from E_F in eV, weight.

        Of an ensemble the uncertainty of the energy, eV, follows.
        """
        listed = [self.energies - self.fermi_level, self.weights]
        if self.energies_uncertainty is not None:
            listed.append(self.energies_uncertainty)
        return [
            (s, k, self.distance[k], *self.kpoints[k], *values)
            for s in range(len(self.energies))
            for k in range(len(self.distance))
            for values in zip(*(one[s, k] for one in listed), strict=True)
            if np.isfinite(values[0])
        ]


def unfolded_bands(
    hamiltonian: Hamiltonian,
    named: NamedPath,
    sites: Sites,
    config: SamplingConfig,
    *,
    window: tuple[float, float] | None = None,
    width: float = WIDTH,
    zero: Literal["auto", "fermi", "valence"] = "auto",
) -> UnfoldedBands:
    """Compute the states of a supercell along a path of its primitive cell, with their weights.

    Args:
        hamiltonian: H(R) and S(R) of the supercell.
        named: the path, in units of the supercell's reciprocal vectors.
        sites: of its atoms.
        config: k grid and how the Fermi level is found.
        window: energies of the spectral function, eV from the zero; by default from below all occupied states, of large
            structures from -5 eV, to 5 eV above them. Of large structures the states in it are found alone.
        width: standard deviation of the Gaussians, eV.
        zero: what energies are counted from: with ``auto`` the top of the valence band of an insulator.

    Raises:
        DataError: if the eigenproblem or the Fermi level is ill-defined.
    """
    hamiltonian, grid = prepared(hamiltonian, config)
    unfolding = Unfolding(hamiltonian, sites)
    path = named.path
    memory = free_memory()
    solver = choose_solver("auto", hamiltonian.n_orbitals, False, memory)
    folded = _Folded.of(path.kpts, unfolding)
    here = KPoints(folded.kpoints, np.zeros(len(folded.kpoints)))
    log.info("%d points, which fold onto %d of the supercell", len(path.kpts), len(here))
    if solver == "dense":
        on_grid = solve(hamiltonian, grid, projected=False, with_members=True)
        edges = refined_edges(hamiltonian, on_grid, electrons_of(hamiltonian))
        fermi = fermi_level_of(hamiltonian, on_grid, config)
        energies, weights, moved = _dense(hamiltonian, folded)
        along = replace(on_grid, energies=energies, kpoints=here, members=moved)
        lowest = float(energies.min())
    else:
        fine = DosConfig(**config.model_dump(), width=width)
        found = SlicedSolver(hamiltonian, grid, memory=memory)
        on_grid, fermi, _ = certified_eigenvalues(found, hamiltonian, fine, [(-0.1, 0.1)])
        edges = band_edges(on_grid, electrons_of(hamiltonian))
        lowest = fermi - 5.0
    named_zero = zero if zero != "auto" else ("valence" if edges.gap > 0 else "fermi")
    origin = fermi if named_zero == "fermi" else edges.valence
    if window is None:
        high = edges.valence + edges.gap + 5.0 - origin
        low = lowest - origin
        window = (low - 0.02 * (high - low), high)
    if solver != "dense":
        ends = (window[0] + origin - REACH * width, window[1] + origin + REACH * width)
        along, weights = _sliced(hamiltonian, here, folded, ends, memory)
    energies = along.energies[:, folded.of_point]
    uncertainties, deviations = _uncertainties(hamiltonian, on_grid, along, edges, fermi, config)
    if deviations is not None:
        deviations = deviations[:, folded.of_point]
    points = int(np.clip(_PER_WIDTH * (window[1] - window[0]) / width, 200, _MOST_ENERGIES))
    energy = np.linspace(*window, points)
    distance, ticks, names = path.get_linear_kpoint_axis()
    return UnfoldedBands(
        distance,
        path.kpts,
        joined_labels(ticks, names),
        energies,
        weights,
        fermi,
        edges,
        hamiltonian.degeneracy,
        energy,
        hamiltonian.degeneracy * _broadened(energies - origin, weights, energy, width),
        width,
        named_zero,
        sites,
        unfolding.orbitals,
        solver == "dense",
        deviations,
        uncertainties,
    )


@dataclass(frozen=True)
class _Folded:
    """The k-points of the supercell that points of a path fold onto, each of which is solved once for all of these.

    Attributes:
        path: the points, in units of the supercell's reciprocal vectors.
        kpoints: those that are solved.
        of_point: of each point of the path, which of them.
        unfolding: gives weights at the points of the path.
    """

    path: Float[np.ndarray, "points 3"]
    kpoints: Float[np.ndarray, "kpoints 3"]
    of_point: Int[np.ndarray, " points"]
    unfolding: Unfolding

    @classmethod
    def of(cls, path: Float[np.ndarray, "points 3"], unfolding: Unfolding) -> _Folded:
        """Collect them."""
        within = np.round(path, _DECIMALS) % 1.0
        _, first, of_point = np.unique(within, axis=0, return_index=True, return_inverse=True)
        return cls(path, path[first], of_point.ravel(), unfolding)

    @property
    def rows(self) -> int:
        """How many points at most fold onto one."""
        return int(np.bincount(self.of_point).max())

    def points(self, kpoint: int) -> Int[np.ndarray, " some"]:
        """Return the numbers of the points that fold onto one."""
        return np.flatnonzero(self.of_point == kpoint)

    def weigh(
        self,
        kpoint: int,
        x: Shaped[np.ndarray, "orbitals states"],
        sx: Shaped[np.ndarray, "orbitals states"],
        energies: Float[np.ndarray, " states"],
    ) -> Float[np.ndarray, "rows states"]:
        """Return the weights of states at all points that fold onto a k-point; see `Unfolding.weights`. Further rows are zero."""
        weights = np.zeros((self.rows, len(energies)))
        for row, point in enumerate(self.points(kpoint)):
            weights[row] = self.unfolding.weights(self.path[point], x, sx, energies)
        return weights

    def along(
        self, weights: Float[np.ndarray, "rows spins kpoints states"]
    ) -> Float[np.ndarray, "spins points states"]:
        """Return weights at the points of the path from those of each k-point."""
        found = np.empty((weights.shape[1], len(self.path), weights.shape[3]))
        for kpoint in range(len(self.kpoints)):
            for row, point in enumerate(self.points(kpoint)):
                found[:, point] = weights[row, :, kpoint]
        return found


def _dense(
    hamiltonian: Hamiltonian, folded: _Folded
) -> tuple[
    Float[np.ndarray, "spins kpoints states"],
    Float[np.ndarray, "spins points states"],
    Float[np.ndarray, "members spins kpoints states"] | None,
]:
    """Return energies, weights, and by how much the members of an ensemble move energies, if there is one."""
    shape = (hamiltonian.n_spins, len(folded.kpoints), hamiltonian.n_orbitals)
    energies, weights = np.empty(shape), np.empty((folded.rows, *shape))
    perturbations = differences(hamiltonian)
    moved = np.empty((len(perturbations), *shape))
    with progress("unfolding", len(folded.kpoints)) as shown:
        for index, k in enumerate(folded.kpoints):
            overlap = bloch_matrix(hamiltonian, k, "overlap")
            for spin in range(hamiltonian.n_spins):
                matrix = bloch_matrix(hamiltonian, k, "hamiltonian", spin)
                values, x = scipy.linalg.eigh(matrix, overlap, driver="gvd")
                energies[spin, index] = values
                weights[:, spin, index] = folded.weigh(index, x, overlap @ x, values)
                for member, one in enumerate(perturbations):
                    change = bloch_matrix(one, k, "hamiltonian", spin)
                    moved[member, spin, index] = first_order(change, values, x)
            shown.advance()
    return energies, folded.along(weights), moved if perturbations else None


def _sliced(
    hamiltonian: Hamiltonian,
    where: KPoints,
    folded: _Folded,
    ends: tuple[float, float],
    memory: int,
) -> tuple[Eigenvalues, Float[np.ndarray, "spins points states"]]:
    solver = SlicedSolver(hamiltonian, where, memory=memory, weigh=folded.weigh, rows=folded.rows)
    found, _ = solver.eigenvalues(*ends)
    assert found.projections is not None  # asked for
    return found, folded.along(found.projections)


def _uncertainties(
    hamiltonian: Hamiltonian,
    on_grid: Eigenvalues,
    along: Eigenvalues,
    edges: BandEdges,
    fermi: float,
    config: SamplingConfig,
) -> tuple[dict[str, float], Float[np.ndarray, "spins kpoints states"] | None]:
    """Return standard deviations over the members of an ensemble: of the edges, and of energies along the path.

    Members' energies are counted from their own Fermi levels. There are none where no ensemble predicted H, and where a
    member's Fermi level is beyond the window of its eigenvalues.
    """
    if on_grid.members is None or along.members is None:
        return {}, None
    try:
        of_edges = edge_uncertainties(hamiltonian, on_grid, edges, fermi, config)
        whole = with_kpoints(on_grid, along)
        members = spectra_of_members(whole, fermi, hamiltonian.calibration)
        origins = [fermi_level_of(hamiltonian, member, config) for member in members]
    except OutsideWindow:
        tell_members_differ(hamiltonian)
        return {}, None
    listed = np.isfinite(whole.energies)
    apart = [
        np.where(listed, m.energies, 0) - zero for m, zero in zip(members, origins, strict=True)
    ]
    deviations = np.std(apart, axis=0, ddof=1)[:, len(on_grid.kpoints) :]
    return of_edges, deviations[..., : along.energies.shape[-1]]


def _broadened(
    positions: Float[np.ndarray, "*n states"],
    weights: Float[np.ndarray, "*n states"],
    energy: Float[np.ndarray, " points"],
    width: float,
) -> Float[np.ndarray, "*n points"]:
    """Return Σ w δ(E - ε) with Gaussians, averaged over the cells of an energy grid as densities of states are."""
    edges = cell_edges(energy)
    found = np.zeros((*positions.shape[:-1], len(energy)))
    for place in np.ndindex(positions.shape[:-1]):
        near = np.abs(positions[place] - energy.mean()) < np.ptp(energy) / 2 + REACH * width
        below = ndtr((edges - positions[place][near][:, None]) / width)
        found[place] = weights[place][near] @ np.diff(below, axis=1)
    return found / np.diff(edges)
