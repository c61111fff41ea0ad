"""What there is to say of the gap of an insulator: its edges, where they are, and effective masses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.spectra.fermi import DIRECT

# eV. The real-space grid of the labels breaks the symmetry of a multiplet by less (by 1.8 meV in GaAs with h = 0.25 Å).
DEGENERATE = 2.5e-3


@dataclass(frozen=True)
class Edge:
    """An extremum of a band.

    Attributes:
        energy: in eV, on the scale of the Hamiltonian.
        kpoint: in units of the reciprocal lattice vectors, components in (-1/2, 1/2].
        spin: its spin channel.
        degeneracy: number of bands within 2.5 meV of it there; of spinors it counts both spins.
        masses: principal effective masses along the periodic directions, in electron masses, ascending by size; of a
            valence band those of holes. None where bands are degenerate, which then have no mass tensor.
        axes: unit vectors along which they are, as rows; None likewise.
        towards: of degenerate bands, the mass of each along the line to a point of high symmetry, by its name, the
            heaviest first; NaN of a band that is no parabola. Empty where that was not asked for.
    """

    energy: float
    kpoint: Float[np.ndarray, "3"]
    spin: int
    degeneracy: int
    masses: Float[np.ndarray, " periodic"] | None
    axes: Float[np.ndarray, "periodic 3"] | None
    towards: Mapping[str, Float[np.ndarray, " degenerate"]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything as numbers and lists; energies in eV, masses in electron masses."""
        return {
            "energy": self.energy,
            "kpoint": self.kpoint.tolist(),
            "spin": self.spin,
            "degeneracy": self.degeneracy,
            "masses": None if self.masses is None else self.masses.tolist(),
            "axes": None if self.axes is None else self.axes.tolist(),
            "masses_towards": {
                name: [float(m) if np.isfinite(m) else None for m in masses]
                for name, masses in self.towards.items()
            },
        }


@dataclass(frozen=True)
class Gap:
    """The band edges of an insulator.

    Attributes:
        valence: highest occupied state.
        conduction: lowest empty state.
        direct: smallest energy between occupied and empty states of one k-point and spin, eV.
    """

    valence: Edge
    conduction: Edge
    direct: float

    @property
    def gap(self) -> float:
        """Conduction minus valence band edge, in eV; negative where bands overlap."""
        return self.conduction.energy - self.valence.energy

    @property
    def is_direct(self) -> bool:
        """Whether both edges are at one k-point, to what energies can tell."""
        return self.direct - self.gap < DIRECT

    def to_json(self) -> dict[str, Any]:
        """Return everything as numbers, lists and words; energies in eV, masses in electron masses."""
        return {
            "kind": "direct" if self.is_direct else "indirect",
            "direct_gap": self.direct,
            "valence": self.valence.to_json(),
            "conduction": self.conduction.to_json(),
        }

    def describe(self) -> list[str]:
        """Return lines for a person: kind of the gap, and where the edges are, with their masses."""
        kind = "direct" if self.is_direct else f"indirect (direct {self.direct:.3f} eV)"
        lines = [f"gap {self.gap:.3f} eV, {kind}"]
        for name, edge in (
            ("valence band top", self.valence),
            ("conduction band bottom", self.conduction),
        ):
            k = ", ".join(f"{round(float(x), 3) + 0.0:g}" for x in edge.kpoint)
            mass = "degenerate"
            if edge.masses is not None:
                mass = "masses " + ", ".join(f"{m:.2f}" for m in edge.masses)
            lines.append(f"  {name} {edge.energy:.3f} eV at ({k}), {mass}")
            for point, masses in edge.towards.items():
                listed = ", ".join(f"{m:.2f}" if np.isfinite(m) else "none" for m in masses)
                lines.append(f"    masses towards {'Γ' if point == 'G' else point} {listed}")
        return lines
