"""Densities of groups of orbitals, and their local band edges.

The local band edges of a group are where its projected density, integrated from E_F upwards and downwards, reaches a
threshold of states an atom: states of other groups reach into this one with small weights, which a threshold passes
over, and a single defect among many atoms is no band. The price is that an edge lies beyond the bottom of its band, by
more where the density rises slowly. So an uncertainty comes with it, the distance between the edges at half and at twice
the threshold: with N(E) ∝ E^(d/2) states in d dimensions, parabolic bands, this is 3.75, 1.5 and 0.96 times the
distance from the bottom of the band for d = 1, 2, 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from gh_tools.spectra.config import RESOLUTION
from gh_tools.spectra.dos import projected_dos
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.groups import Groups

# Atoms: what bins have of the tails of atoms beyond has no edges.
_FEWEST = 1e-3


@dataclass(frozen=True)
class LocalEdges:
    """Local band edges of groups, eV from E_F; NaN where the eigenvalues listed do not reach the threshold.

    Attributes:
        valence: upper edge of the states below E_F.
        conduction: lower edge of the states above E_F.
        valence_uncertainty: distance between its places at half and at twice the threshold.
        conduction_uncertainty: likewise.
    """

    valence: Float[np.ndarray, " groups"]
    conduction: Float[np.ndarray, " groups"]
    valence_uncertainty: Float[np.ndarray, " groups"]
    conduction_uncertainty: Float[np.ndarray, " groups"]

    def resolved(self, width: float) -> Bool[np.ndarray, " groups"]:
        """Return whether there is a local gap: larger than its uncertainty and the broadening, as it is not in a metal.

        Args:
            width: standard deviation of the broadening, eV.
        """
        unsure = self.valence_uncertainty + self.conduction_uncertainty
        return self.conduction - self.valence > np.maximum(unsure, width)


@dataclass(frozen=True)
class LocalDensities:
    """Projected densities of groups or bins of one structure.

    Attributes:
        names: of the groups.
        atoms: number of atoms in each.
        density: against E - E_F; 1/eV, and of bins 1/(eV Å).
        edges: their local band edges.
        position: middles of bins, Å; None of groups.
        spacing: of the bins, Å; 1 of groups, so that the sum of density times spacing is the density of states.
        direction: of the bins.
        center: mean coordinate of the groups' atoms along the direction, Å; None where there is no direction.
    """

    names: tuple[str, ...]
    atoms: Float[np.ndarray, " groups"]
    density: Float[np.ndarray, "groups points"]
    edges: LocalEdges
    position: Float[np.ndarray, " groups"] | None = None
    spacing: float = 1.0
    direction: str = ""
    center: Float[np.ndarray, " groups"] | None = None

    def records(self, width: float) -> list[dict[str, Any]]:
        """Return each group's name (or position), atoms, edges, local gap and offsets from the first group, in eV.

        What is not known is None. A gap that is not ``gap_resolved`` may be none, as in a metal.

        Args:
            width: standard deviation of the broadening, eV.
        """
        e, resolved = self.edges, self.edges.resolved(width)
        found = []
        for row, name in enumerate(self.names):
            values: dict[str, float] = {
                "valence_edge": e.valence[row],
                "valence_edge_uncertainty": e.valence_uncertainty[row],
                "conduction_edge": e.conduction[row],
                "conduction_edge_uncertainty": e.conduction_uncertainty[row],
                "local_gap": e.conduction[row] - e.valence[row],
                "valence_offset": e.valence[row] - e.valence[0],
                "conduction_offset": e.conduction[row] - e.conduction[0],
                "valence_offset_uncertainty": _sum_of_first(e.valence_uncertainty, row),
                "conduction_offset_uncertainty": _sum_of_first(e.conduction_uncertainty, row),
            }
            place: dict[str, Any] = (
                {} if self.position is None else {"position": float(self.position[row])}
            )
            found.append(
                {
                    **(place or {"name": name}),
                    "atoms": float(self.atoms[row]),
                    "gap_resolved": bool(resolved[row]),
                    **{k: float(v) if np.isfinite(v) else None for k, v in values.items()},
                }
            )
        return found


def _sum_of_first(uncertainty: Float[np.ndarray, " groups"], row: int) -> float:
    """Return the uncertainty of a difference from the first group: the sum of both, and 0 of the first itself."""
    return float(uncertainty[row] + uncertainty[0]) if row else 0.0


def local_densities(
    eigenvalues: Eigenvalues,
    weights: Float[np.ndarray, "groups spins kpoints bands"],
    groups: Groups,
    energy: Float[np.ndarray, " points"],
    fermi: float,
    width: float,
    threshold: float,
) -> LocalDensities:
    """Return the projected densities of groups and their local band edges.

    Args:
        eigenvalues: of the structure, absolute.
        weights: of the groups in them.
        groups: what the weights are of.
        energy: E - E_F of the densities, eV.
        fermi: E_F, eV.
        width: standard deviation of the broadening, eV.
        threshold: states an atom, see `local_edges`.
    """
    density = projected_dos(eigenvalues, energy + fermi, width, weights) / groups.spacing
    edges = local_edges(eigenvalues, weights, groups.atoms, fermi, threshold)
    return LocalDensities(
        groups.names,
        groups.atoms,
        density,
        edges,
        groups.position,
        groups.spacing,
        groups.direction,
        groups.center,
    )


def local_edges(
    eigenvalues: Eigenvalues,
    weights: Float[np.ndarray, "groups spins kpoints bands"],
    atoms: Float[np.ndarray, " groups"],
    fermi: float,
    threshold: float,
) -> LocalEdges:
    """Return local band edges: the eigenvalue at which the states of a group, counted from E_F, reach a threshold.

    Args:
        eigenvalues: of the structure, absolute.
        weights: of the groups in them.
        atoms: number of atoms in each group.
        fermi: E_F, eV.
        threshold: states of both spins an atom.
    """
    order = np.argsort(eigenvalues.energies, axis=None)
    position = eigenvalues.energies.ravel()[order] - fermi
    held = weights.reshape(len(weights), -1)[:, order] * eigenvalues.states.ravel()[order]
    low, high = (end - fermi for end in eigenvalues.window)
    above = (position > RESOLUTION) & np.isfinite(position) & (position <= high)
    below = (position <= RESOLUTION) & (position >= low)
    sides = []
    for distance, states in (
        (-position[below][::-1], held[:, below][:, ::-1]),
        (position[above], held[:, above]),
    ):
        counted = np.cumsum(states, axis=1)
        sides.append([_reached(distance, counted, f * threshold * atoms) for f in (1.0, 0.5, 2.0)])
    (valence, *around), (conduction, *about) = sides
    no_atoms = atoms < _FEWEST
    for edge in (valence, conduction):
        edge[no_atoms] = np.nan
    return LocalEdges(-valence, conduction, around[1] - around[0], about[1] - about[0])


def _reached(
    distance: Float[np.ndarray, " states"],
    counted: Float[np.ndarray, "groups states"],
    target: Float[np.ndarray, " groups"],
) -> Float[np.ndarray, " groups"]:
    """Return the distance from E_F of the first state at which a count is reached; NaN if it is not."""
    reached = counted >= target[:, None]
    found = np.full(len(target), np.nan)
    some = reached.any(axis=1)
    found[some] = distance[reached[some].argmax(axis=1)]
    return found
