"""Band structures along paths of high symmetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gh_tools.console import progress
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_edges import refined_edges_and_gap
from gh_tools.spectra.band_path import NamedPath, joined_labels
from gh_tools.spectra.config import ProjectedConfig, SamplingConfig
from gh_tools.spectra.directional_masses import with_directional_masses
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fat_bands import along_path, fat_weights, path_directions
from gh_tools.spectra.fermi import electrons_of, fermi_level_of
from gh_tools.spectra.gap import Gap
from gh_tools.spectra.groups import check_elements, groups_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.members import spectra_of_members
from gh_tools.spectra.scalars import edge_uncertainties
from gh_tools.spectra.spectrum import prepared


@dataclass(frozen=True)
class BandStructure:
    """Eigenvalues along a path.

    Attributes:
        distance: position of each k-point along the path, 1/Å (2π included).
        kpoints: in units of the reciprocal cell's vectors.
        special: distance and name of the points of high symmetry.
        energies: absolute, eV.
        spin: with spin–orbit coupling, expectation values of the Pauli matrices in each state, from -1 to 1; the mean
            over degenerate states.
        fermi_level: eV.
        gap: eV, refined between the k-points of path and grid as `gh-dos` does; 0 in a metal.
        edges: edges, kind of gap and masses; None of a metal, and of more than 600 orbitals.
        lattice: long name of the lattice that the names refer to, as ``face-centred cubic``.
        strain: largest principal strain between the primitive cell and the nearest one of this lattice, a fraction.
        primitive_cells: number of primitive cells in the cell; along the path there are that many times their bands.
        points: coordinates of the points of high symmetry, by name (Γ is ``G``).
        valence: top of the valence band, refined as the gap is, eV; the Fermi level in a metal.
        direct: whether the gap is direct; None in a metal.
        energies_uncertainty: where an ensemble predicted H, the standard deviation of energies over its members, each
            from its own Fermi level, eV; else None.
        uncertainties: of ``fermi_level``, ``band_gap``, ``valence_band_maximum`` and ``conduction_band_minimum``
            likewise, eV; else empty.
        groups: names of what states were projected on; empty if on nothing.
        weights: of the groups in each state, Mulliken's or Löwdin's, 1 in sum; the mean over degenerate states.
        velocity: component of the group velocity along the path, towards the next k-point (at the end of a part of the
            path from the one before), m/s; of degenerate states the eigenvalues of its matrix. NaN where a part of the
            path is a single k-point. None if not asked for.
    """

    distance: Float[np.ndarray, " kpoints"]
    kpoints: Float[np.ndarray, "kpoints 3"]
    special: tuple[tuple[float, str], ...]
    energies: Float[np.ndarray, "spins kpoints bands"]
    spin: Float[np.ndarray, "3 kpoints bands"] | None
    fermi_level: float
    gap: float
    edges: Gap | None
    lattice: str
    strain: float
    primitive_cells: int
    points: dict[str, list[float]]
    valence: float
    direct: bool | None
    energies_uncertainty: Float[np.ndarray, "spins kpoints bands"] | None = None
    uncertainties: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    weights: Float[np.ndarray, "groups spins kpoints bands"] | None = None
    velocity: Float[np.ndarray, "spins kpoints bands"] | None = None

    @property
    def path_gap(self) -> float:
        """Lowest empty minus highest occupied eigenvalue on the path alone, in eV; 0 in a metal."""
        if self.gap == 0:
            return 0.0
        filled = self.energies < self.valence + 0.5 * self.gap
        return float(self.energies[~filled].min() - self.energies[filled].max())

    def zero(self, zero: Literal["fermi", "valence"]) -> float:
        """Return the energy that others are counted from, in eV."""
        return self.fermi_level if zero == "fermi" else self.valence

    def window(self, zero: Literal["fermi", "valence"]) -> tuple[float, float]:
        """Return energies between which are all occupied states, and empty ones of 5 eV, in eV from the zero."""
        low = float(self.energies.min()) - self.zero(zero)
        high = self.valence + self.gap + 5.0 - self.zero(zero)
        return low - 0.02 * (high - low), high

    def to_json(self) -> dict[str, Any]:
        """Return everything as lists and numbers, with energies relative to the Fermi level."""
        return {
            "distance": self.distance.tolist(),
            "kpoints": self.kpoints.tolist(),
            "special": [{"distance": d, "name": name} for d, name in self.special],
            "energies": (self.energies - self.fermi_level).tolist(),
            "spin": None if self.spin is None else self.spin.tolist(),
            "fermi_level": self.fermi_level,
            "gap": self.gap,
            "path_gap": self.path_gap,
            "valence_band_maximum": self.valence,
            "edges": None if self.edges is None else self.edges.to_json(),
            "lattice": self.lattice,
            "strain": self.strain,
            "primitive_cells": self.primitive_cells,
            "special_points": self.points,
            "energies_uncertainty": None
            if self.energies_uncertainty is None
            else self.energies_uncertainty.tolist(),
            "uncertainties": dict(self.uncertainties),
            "groups": list(self.groups),
            "weights": None if self.weights is None else self.weights.tolist(),
            "velocity": None if self.velocity is None else without_nan(self.velocity),
            "velocity_unit": "m/s",
        }


def band_structure(
    hamiltonian: Hamiltonian,
    named: NamedPath,
    config: SamplingConfig,
    *,
    velocities: bool = False,
) -> BandStructure:
    """Compute the eigenvalues along a path, with the Fermi level of a k grid.

    States are projected where the configuration says on what.

    Args:
        hamiltonian: H(R) and S(R).
        named: where.
        config: k grid and how the Fermi level is found.
        velocities: whether group velocities are computed.

    Raises:
        DataError: if the eigenproblem or the Fermi level is ill-defined.
    """
    path = named.path
    hamiltonian, grid = prepared(hamiltonian, config)
    # The path counts for band edges, which it often meets, but holds no electrons.
    points = np.concatenate([grid.points, path.kpts])
    weights = np.concatenate([grid.weights, np.zeros(len(path.kpts))])
    kpoints = KPoints(points, weights)
    groups = {}
    if isinstance(config, ProjectedConfig) and "project" in config.model_fields_set:
        numbers = hamiltonian.atoms.numbers
        check_elements(config, numbers, hamiltonian.atoms.get_chemical_formula())
        groups["fat"] = groups_of(hamiltonian, config)
    directions = path_directions(path, len(grid)) if velocities else None
    with progress("bands", len(points)) as shown:
        eigenvalues = solve(
            hamiltonian,
            kpoints,
            projected=False,
            with_spin=config.soc,
            with_members=True,
            groups=groups,
            directions=directions,
            advance=shown.advance,
        )
    edges, gap = refined_edges_and_gap(hamiltonian, eigenvalues, electrons_of(hamiltonian))
    if gap is not None:
        special = {name: path.special_points[name] for name in named.points}
        gap = with_directional_masses(hamiltonian, gap, special)
    fermi = fermi_level_of(hamiltonian, eigenvalues, config)
    members = spectra_of_members(eigenvalues, fermi, hamiltonian.calibration)
    deviations = None
    if members:
        apart = [m.energies - fermi_level_of(hamiltonian, m, config) for m in members]
        deviations = np.std(apart, axis=0, ddof=1)[:, len(grid) :]
    distance, ticks, names = path.get_linear_kpoint_axis()
    return BandStructure(
        distance,
        path.kpts,
        joined_labels(ticks, names),
        eigenvalues.energies[:, len(grid) :],
        None if eigenvalues.spin is None else eigenvalues.spin[:, len(grid) :],
        fermi,
        edges.gap,
        gap,
        named.lattice,
        named.strain,
        named.primitive_cells,
        named.points,
        edges.valence,
        edges.direct,
        deviations,
        edge_uncertainties(hamiltonian, eigenvalues, edges, fermi, config),
        groups["fat"].names if groups else (),
        fat_weights(eigenvalues, len(grid)) if groups else None,
        along_path(eigenvalues, len(grid)) if velocities else None,
    )


def without_nan(values: Float[np.ndarray, "..."]) -> list:
    """Return nested lists with None for what is no number, which JSON has not."""
    nested = values.astype(object)
    nested[np.isnan(values)] = None
    return nested.tolist()
