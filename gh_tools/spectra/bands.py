"""Band structures along paths of high symmetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import ase
import numpy as np
from ase.dft.kpoints import BandPath, parse_path_string
from jaxtyping import Float, Int

from gh_tools.console import progress
from gh_tools.errors import UsageError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_edges import refined_edges_and_gap
from gh_tools.spectra.config import ProjectedConfig, SamplingConfig
from gh_tools.spectra.directional_masses import with_directional_masses
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fat_bands import along_path, fat_weights, path_directions
from gh_tools.spectra.fermi import electrons_of, fermi_level_of
from gh_tools.spectra.gap import Gap
from gh_tools.spectra.groups import check_elements, groups_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.lattice import EXACT, NamedLattice, named_lattices
from gh_tools.spectra.members import of_members
from gh_tools.spectra.primitive import supercell_matrix
from gh_tools.spectra.spectrum import edge_uncertainties, prepared


@dataclass(frozen=True)
class NamedPath:
    """K-points along a path, and the lattice whose special points it joins.

    Attributes:
        path: the k-points, in units of the given cell's reciprocal vectors.
        lattice: long name of the lattice that the names refer to, as ``face-centred cubic``.
        strain: largest principal strain between the primitive cell and the nearest one of this lattice, a fraction.
        supercell: the cell's vectors in units of those of the primitive cell whose lattice it is, as rows.
    """

    path: BandPath
    lattice: str
    strain: float
    supercell: Int[np.ndarray, "3 3"]

    @property
    def primitive_cells(self) -> int:
        """Number of primitive cells in the cell."""
        return abs(round(float(np.linalg.det(self.supercell))))

    @property
    def points(self) -> dict[str, list[float]]:
        """Coordinates of the points that the path joins, by name, in order."""
        names = (name for part in parse_path_string(self.path.path) for name in part)
        return {name: self.path.special_points[name].tolist() for name in dict.fromkeys(names)}

    def describe(self, unfolded: bool = False) -> list[str]:
        """Return the lattice, and each point with its coordinates, as lines for a person.

        Args:
            unfolded: whether bands are, so that none lie folded onto others.
        """
        off = (
            f", from which the cell is {100 * self.strain:.2g} % off" if self.strain > EXACT else ""
        )
        lines = [f"letters of the {self.lattice} lattice{off}"]
        if self.primitive_cells > 1 and not unfolded:
            lines.append(
                f"the path is that of the primitive cell, of which the cell holds {self.primitive_cells}: its bands lie "
                "folded onto one another, and --unfold tells them apart"
            )
        for name, point in self.points.items():
            numbers = ", ".join(f"{value:.5g}" for value in point)
            lines.append(f"  {'Γ' if name == 'G' else name} = ({numbers})")
        return lines


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


def band_path(
    atoms: ase.Atoms,
    path: str | None = None,
    points: int = 200,
    supercell: Int[np.ndarray, "3 3"] | None = None,
) -> NamedPath:
    """Return k-points along a path between points of high symmetry.

    Names are those of the most symmetric lattice that the primitive cell has within a strain of 3 %, by the
    conventions of ASE (Setyawan and Curtarolo, Comp. Mater. Sci. 49, 299 (2010)). Which cell is primitive,
    `supercell_matrix` says: a supercell has the path of what it repeats, also where atoms are displaced or missing. If it has no point of one of
    the names, they are those of the next that has all, up to a strain of 10 %; see `named_lattices`.

    Args:
        atoms: structure with at least one periodic direction.
        path: names of the points, such as ``GMKG``, or None for the standard path of the lattice.
        points: number of k-points.
        supercell: the cell's vectors in units of those of the primitive cell, if that is known.

    Raises:
        UsageError: if nothing is periodic, or no lattice has points of all names.
    """
    if not atoms.pbc.any():
        raise UsageError(
            "the structure is not periodic: it has eigenvalues, but no bands; see gh-dos"
        )
    if supercell is None:
        supercell = supercell_matrix(atoms)
    primitive = ase.Atoms(cell=np.linalg.solve(supercell, atoms.cell.array), pbc=atoms.pbc)
    lattices = named_lattices(primitive)
    if not lattices:
        raise UsageError("the cell has no Bravais lattice whose points have names; reduce it first")
    cell = atoms.cell.uncomplete(atoms.pbc)
    if path is None:
        path = lattices[0].lattice.special_path
    parts = parse_path_string(re.sub(r"\s", "", path).replace("Γ", "G"))
    if any(len(part) < 2 or any(a == b for a, b in pairwise(part)) for part in parts):
        raise UsageError(
            f"--path {path!r}: expected two points or more in each part, all other than the one before, "
            f"such as GX; the cell has {_known(lattices)}"
        )
    names = {name for part in parts for name in part}
    chosen = next((known for known in lattices if names <= known.points.keys()), None)
    if chosen is None:
        raise UsageError(f"--path {path}: expected {_known(lattices)}")
    joined = ",".join("".join(part) for part in parts)
    # A point is Σ k_j b_j of the primitive cell, and b_j the sum over i of M_ij times b_i of the cell.
    special = {name: supercell @ point for name, point in chosen.points.items()}
    made = BandPath(cell, path=joined, special_points=special).interpolate(npoints=points)
    return NamedPath(made, chosen.lattice.longname, chosen.strain, supercell)


def _known(lattices: list[NamedLattice]) -> str:
    """Say which points a cell's lattices have."""
    return ", or ".join(
        f"points of the {known.lattice.longname} lattice: {', '.join(known.points)}"
        for known in lattices
    )


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
    members = of_members(eigenvalues, fermi, hamiltonian.calibration)
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


def joined_labels(
    ticks: Float[np.ndarray, " ticks"], names: list[str]
) -> tuple[tuple[float, str], ...]:
    """Merge the two names of a point where the path jumps, and write Γ for G."""
    joined: list[tuple[float, str]] = []
    for tick, name in zip(ticks.tolist(), names, strict=True):
        name = "Γ" if name == "G" else name
        if joined and abs(joined[-1][0] - tick) < 1e-9:
            joined[-1] = (tick, f"{joined[-1][1]}|{name}")
        else:
            joined.append((tick, name))
    return tuple(joined)
