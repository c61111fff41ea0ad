"""Local density of states: of a window of energies or of one state, on a grid or on a plane above a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
import scipy.linalg
from jaxtyping import Float

from gh_tools.console import progress
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.resources import free_memory
from gh_tools.spectra.choice import dense_bytes
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import electrons_of, fermi_level_of
from gh_tools.spectra.on_grid import WeightedStates, density_at, longest_reach
from gh_tools.spectra.spectrum import prepared
from gh_tools.units import GIB

# Weights below are none.
_NONE = 1e-12
# Part of the orbitals' reach above a surface, beyond which their decay is that of the confinement.
_TRUSTED = 0.6


@dataclass(frozen=True)
class Selected:
    """States whose densities are summed.

    Attributes:
        hamiltonian: whose eigenvectors they are; of spinors with spin–orbit coupling.
        states: eigenvectors by spin and k-point, with weights w: how many states per cell each stands for.
        fermi_level: eV.
        energies: lowest and highest of them, eV from the Fermi level.
        count: states per cell, both spins: what the integral over the cell would be in a basis without PAW corrections.
    """

    hamiltonian: Hamiltonian
    states: list[WeightedStates]
    fermi_level: float
    energies: tuple[float, float]
    count: float


def states_in(
    hamiltonian: Hamiltonian, config: SamplingConfig, window: tuple[float, float]
) -> Selected:
    """Return the states of a k grid in a window of energies.

    Args:
        hamiltonian: H(R) and S(R).
        config: k grid and how the Fermi level is found.
        window: energies, eV from E_F; a state on an end counts half.

    Raises:
        DataError: there is none; or matrices do not fit into memory.
    """
    hamiltonian, grid, eigenvalues, fermi = _solved(hamiltonian, config)
    share = eigenvalues.states * share_in_window(
        eigenvalues.energies, (window[0] + fermi, window[1] + fermi)
    )
    if not (share > _NONE).any():
        apart = eigenvalues.energies - fermi
        below, above = apart[apart <= 0].max(initial=-np.inf), apart[apart > 0].min(initial=np.inf)
        raise DataError(
            f"no state between {window[0]:g} and {window[1]:g} eV from the Fermi level on the k grid, of which the nearest are at "
            f"{below:.3f} and {above:.3f} eV: widen --window, or take more k-points"
        )
    chosen = eigenvalues.energies[share > _NONE] - fermi
    states = []
    with progress("states", int((share > _NONE).any(axis=-1).sum())) as shown:
        for spin, k in np.ndindex(share.shape[:2]):
            if (share[spin, k] > _NONE).any():
                some = np.flatnonzero(share[spin, k] > _NONE)
                vectors = _vectors(hamiltonian, grid.points[k], spin, some)
                states.append(WeightedStates(grid.points[k], vectors, share[spin, k, some]))
                shown.advance()
    energies = (float(chosen.min()), float(chosen.max()))
    return Selected(hamiltonian, states, fermi, energies, float(share.sum()))


def single_state(
    hamiltonian: Hamiltonian,
    config: SamplingConfig,
    number: int,
    kpoint: Sequence[float] = (0.0, 0.0, 0.0),
    spin: int = 0,
) -> Selected:
    """Return one state at a k-point.

    Args:
        hamiltonian: H(R) and S(R).
        config: k grid and how the Fermi level is found.
        number: 0 is the highest state below the Fermi level at this k-point, -1 the next lower one, 1 the lowest above.
        kpoint: in units of the reciprocal cell's vectors.
        spin: channel of labels with two.

    Raises:
        UsageError: there is no such state or spin.
        DataError: matrices do not fit into memory.
    """
    hamiltonian, _, _, fermi = _solved(hamiltonian, config)
    if not 0 <= spin < hamiltonian.n_spins:
        raise UsageError(f"spin {spin}: the structure has {hamiltonian.n_spins} spin channels")
    k = np.array(kpoint, dtype=float)
    matrices = (bloch_matrix(hamiltonian, k, f, spin) for f in ("hamiltonian", "overlap"))
    energies = scipy.linalg.eigh(*matrices, eigvals_only=True)
    index = int(np.count_nonzero(energies <= fermi)) - 1 + number
    if not 0 <= index < len(energies):
        below = int(np.count_nonzero(energies <= fermi))
        raise UsageError(
            f"--state {number}: expected {1 - below} to {len(energies) - below}, because there are {below} states below "
            "the Fermi level at this k-point"
        )
    vectors = _vectors(hamiltonian, k, spin, np.array([index]))
    energy = float(energies[index] - fermi)
    return Selected(
        hamiltonian, [WeightedStates(k, vectors, np.ones(1))], fermi, (energy, energy), 1.0
    )


def _solved(hamiltonian: Hamiltonian, config: SamplingConfig):
    hamiltonian, grid = prepared(hamiltonian, config)
    need, memory = dense_bytes(hamiltonian.n_orbitals, False), free_memory()
    if need > memory:
        raise DataError(
            f"eigenvectors of {hamiltonian.n_orbitals} orbitals take {need / GIB:.1f} GiB, and {memory / GIB:.1f} GiB are "
            "free: cut a smaller structure out"
        )
    eigenvalues: Eigenvalues = solve(hamiltonian, grid, projected=False)
    electrons_of(hamiltonian)
    return hamiltonian, grid, eigenvalues, fermi_level_of(hamiltonian, eigenvalues, config)


def _vectors(hamiltonian: Hamiltonian, k, spin: int, chosen) -> Any:
    matrices = (bloch_matrix(hamiltonian, k, f, spin) for f in ("hamiltonian", "overlap"))
    return scipy.linalg.eigh(*matrices, driver="gvd")[1][:, chosen]


@dataclass(frozen=True)
class Grid:
    """Values on a grid that begins at a corner of a parallelepiped and leaves out its far faces.

    Attributes:
        vectors: of the parallelepiped, as rows, Å.
        origin: its corner, Å.
        values: 1/Å³.
    """

    vectors: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, "3"]
    values: Float[np.ndarray, "n1 n2 n3"]

    @property
    def integral(self) -> float:
        """Sum over the grid times the volume of a point."""
        return float(self.values.mean() * abs(np.linalg.det(self.vectors)))


def density_on_grid(selected: Selected, spacing: float) -> Grid:
    """Return the density Σ w |ψ|² of states in the cell, in 1/Å³.

    Along directions that are not periodic the grid reaches as far as the orbitals of all atoms do.

    Args:
        selected: the states.
        spacing: largest distance between neighbouring points along each vector, Å.
    """
    atoms = selected.hamiltonian.atoms
    vectors, origin = box(atoms, longest_reach(selected.hamiltonian.basis, atoms.numbers))
    counts = np.ceil(np.linalg.norm(vectors, axis=1) / spacing).astype(int).clip(1)
    values = np.empty(int(counts.prod()))
    done = 0
    with progress("points", int(np.ceil(len(values) / 1e4))) as shown:
        # Plane by plane, so that the points of a chunk lie near each other.
        for plane in range(counts[0]):
            index = np.indices((1, *counts[1:])).reshape(3, -1).T + [plane, 0, 0]
            points = origin + index / counts @ vectors
            for part in density_at(selected.hamiltonian, selected.states, points):
                values[done : done + len(part)] = part
                done += len(part)
                shown.advance()
    return Grid(vectors, origin, values.reshape(counts))


def box(atoms: ase.Atoms, margin: float) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Return a parallelepiped that holds the density: its vectors as rows and its corner, in Å.

    Args:
        atoms: the structure. Along periodic directions the vectors are those of its cell.
        margin: around all atoms along the other directions, Å.
    """
    vectors = atoms.cell.complete().array.copy()
    origin = np.zeros(3)
    for axis in np.flatnonzero(~atoms.pbc):
        # The direction perpendicular to the two others: a box as narrow as may be.
        normal = np.cross(vectors[axis - 2], vectors[axis - 1])
        normal *= np.sign(normal @ vectors[axis]) / np.linalg.norm(normal)
        height = atoms.positions @ normal
        vectors[axis] = normal * (np.ptp(height) + 2 * margin)
        origin += normal * (height.min() - margin)
    return vectors, origin


@dataclass(frozen=True)
class SurfaceMap:
    """Values on a plane parallel to a surface.

    Attributes:
        vectors: of the plane's cell, as rows, Å, in coordinates of the plane.
        values: 1/Å³; the grid leaves out the far edges.
        height: above the topmost atom, Å.
    """

    vectors: Float[np.ndarray, "2 2"]
    values: Float[np.ndarray, "n1 n2"]
    height: float

    def rows(self) -> Float[np.ndarray, "points 3"]:
        """Return x and y in the plane in Å, and the value, of each point."""
        counts = np.array(self.values.shape)
        index = np.indices(self.values.shape).reshape(2, -1).T
        return np.column_stack([index / counts @ self.vectors, self.values.ravel()])


def surface_map(selected: Selected, height: float, spacing: float) -> tuple[SurfaceMap, str | None]:
    """Return the density Σ w |ψ|² of states at a constant height above a surface, in 1/Å³.

    The tunnelling current of an s-like tip is proportional to it, for the states between E_F and the bias: J. Tersoff and
    D. R. Hamann, Phys. Rev. B 31, 805 (1985).

    Args:
        selected: the states.
        height: of the plane above the topmost atom, Å, along the direction that is not periodic, or else the third.
        spacing: largest distance between neighbouring points, Å.

    Returns:
        The map, and a warning where the height is one at which confined orbitals decay too fast.

    Raises:
        DataError: no plane is periodic, or the orbitals of the topmost atom end below the height.
    """
    atoms = selected.hamiltonian.atoms
    if atoms.pbc.sum() < 2:
        raise DataError(
            "a map needs a surface, and the structure is periodic in fewer than two directions"
        )
    axis = 2 if atoms.pbc.all() else int(np.flatnonzero(~atoms.pbc)[0])
    cell = atoms.cell.complete().array
    first, second = (cell[n] for n in range(3) if n != axis)
    normal = np.cross(first, second)
    normal *= np.sign(normal @ cell[axis]) / np.linalg.norm(normal)
    top = int(np.argmax(atoms.positions @ normal))
    reach = longest_reach(selected.hamiltonian.basis, atoms.numbers[[top]])
    if not 0 < height < reach:
        raise DataError(
            f"the orbitals of the topmost atom ({atoms.symbols[top]}) end {reach:.2f} Å above it: expected a height below, "
            f"found {height:g} Å"
        )
    if atoms.pbc.all():
        room = abs(cell[axis] @ normal) - np.ptp(atoms.positions @ normal)
        if room < 2 * height:
            raise DataError(
                f"above the topmost atom there are {room:.2f} Å of vacuum, too few for a height of {height:g} Å"
            )
    warning = None
    if height > _TRUSTED * reach:
        warning = (
            f"{height:g} Å above the topmost atom, whose orbitals end at {reach:.2f} Å, states decay as the confinement of the "
            "basis has it: the contrast is too large; take a lower height, or a larger basis"
        )
    along = first / np.linalg.norm(first)
    across = np.cross(normal, along)
    plane = np.array([[v @ along, v @ across] for v in (first, second)])
    counts = np.ceil(np.linalg.norm(plane, axis=1) / spacing).astype(int).clip(1)
    index = np.indices(tuple(counts)).reshape(2, -1).T / counts
    origin = (atoms.positions[top] @ normal + height) * normal
    points = index @ np.array([first, second])
    points = points - (points @ normal)[:, None] * normal + origin
    values = np.concatenate(list(density_at(selected.hamiltonian, selected.states, points)))
    return SurfaceMap(plane, values.reshape(counts), height), warning
