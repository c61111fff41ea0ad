"""Band structures along paths of high symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase.dft.kpoints import BandPath
from jaxtyping import Float

from gh_tools.errors import UsageError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import band_edges, electrons_of, fermi_level_of
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.spectrum import kpoints_for

# Relative deviation up to which a cell still counts as the lattice whose points are named: cells
# that are strained by a few percent keep the path of the unstrained ones.
STRAIN = 0.1


@dataclass(frozen=True)
class BandStructure:
    """Levels along a path.

    Attributes:
        distance: position of each k-point along the path, 1/Å (2π included).
        kpoints: in units of the reciprocal cell's vectors.
        special: distance and name of the points of high symmetry.
        energies: absolute, eV.
        fermi_level: eV.
        gap: on the path and the k grid that the Fermi level comes from, eV; 0 in a metal.
    """

    distance: Float[np.ndarray, "kpoints"]
    kpoints: Float[np.ndarray, "kpoints 3"]
    special: tuple[tuple[float, str], ...]
    energies: Float[np.ndarray, "spins kpoints bands"]
    fermi_level: float
    gap: float

    def to_json(self) -> dict[str, Any]:
        """Return everything as lists and numbers, with energies relative to the Fermi level."""
        return {
            "distance": self.distance.tolist(),
            "kpoints": self.kpoints.tolist(),
            "special": [{"distance": d, "name": name} for d, name in self.special],
            "energies": (self.energies - self.fermi_level).tolist(),
            "fermi_level": self.fermi_level,
            "gap": self.gap,
        }


def band_path(atoms: ase.Atoms, path: str | None = None, points: int = 200) -> BandPath:
    """Return k-points along a path between points of high symmetry.

    Args:
        atoms: structure with at least one periodic direction.
        path: names of the points, such as ``GMKG``, or None for the lattice's usual path.
        points: number of k-points.

    Raises:
        UsageError: if nothing is periodic, or the lattice has no point of that name.
    """
    if not atoms.pbc.any():
        raise UsageError("the structure is not periodic: it has levels, but no bands; see gh-dos")
    try:
        return atoms.cell.bandpath(path, npoints=points, pbc=atoms.pbc)
    except (KeyError, ValueError, RuntimeError) as exact:
        if path is None:
            raise UsageError(
                f"no usual path is known for this cell ({exact}); give --path"
            ) from None
    try:
        return atoms.cell.bandpath(path, npoints=points, pbc=atoms.pbc, eps=STRAIN)
    except (KeyError, ValueError, RuntimeError):
        lattice = atoms.cell.get_bravais_lattice(pbc=atoms.pbc)
        known = ", ".join(lattice.get_special_points())
        raise UsageError(
            f"--path {path}: expected points of the {lattice.longname} lattice: {known}"
        ) from None


def band_structure(
    hamiltonian: Hamiltonian, path: BandPath, config: SamplingConfig
) -> BandStructure:
    """Compute the levels along a path, with the Fermi level of a k grid.

    Args:
        hamiltonian: H(R) and S(R).
        path: where.
        config: k grid and how the Fermi level is found.

    Raises:
        DataError: if the eigenproblem or the Fermi level is ill-defined.
    """
    grid = kpoints_for(hamiltonian.atoms, config)
    # The path counts for band edges, which it often meets, but holds no electrons.
    points = np.concatenate([grid.points, path.kpts])
    weights = np.concatenate([grid.weights, np.zeros(len(path.kpts))])
    levels = solve(hamiltonian, KPoints(points, weights), projected=False)
    distance, ticks, names = path.get_linear_kpoint_axis()
    return BandStructure(
        distance,
        path.kpts,
        _join_labels(ticks, names),
        levels.energies[:, len(grid) :],
        fermi_level_of(hamiltonian, levels, config),
        band_edges(levels, electrons_of(hamiltonian)).gap,
    )


def _join_labels(
    ticks: Float[np.ndarray, "ticks"], names: list[str]
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
