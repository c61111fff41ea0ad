"""The spectrum of one structure: levels, Fermi level, density of states, carriers."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.dos import energy_grid, projected_dos, states_in_window
from gh_tools.spectra.eigen import Levels, solve
from gh_tools.spectra.fermi import band_edges, fermi_level
from gh_tools.spectra.kpoints import KPoints, grid_for_density, monkhorst_pack

# Unit and definition of each number that `compute_spectrum` gives.
_SMEARED = (
    "states (both spins) of the carrier species in the window, broadened: integral of the DOS"
)
_SHARP = "the same, sharp: Mulliken-weighted levels with lower end < E - E_F <= upper end"
_AREA = "; per area of the periodic plane (of cell vectors 1 and 2 where all three are periodic)"
_VOLUME = "; per volume of the cell, vacuum included"
SCALARS = {
    "n_electrons": ("1", "valence electrons in the cell"),
    "fermi_level": ("eV", "Fermi level on the energy scale of the Hamiltonian"),
    "band_gap": ("eV", "lowest empty minus highest occupied level on the k-points; 0 in a metal"),
    "valence_band_maximum": ("eV", "highest occupied level; the sharp Fermi level in a metal"),
    "conduction_band_minimum": ("eV", "lowest empty level; the sharp Fermi level in a metal"),
    "carriers": ("1", f"{_SMEARED}; in the cell"),
    "carriers_per_area": ("1/cm^2", _SMEARED + _AREA),
    "carriers_per_volume": ("1/cm^3", _SMEARED + _VOLUME),
    "carriers_sharp": ("1", f"{_SHARP}; in the cell"),
    "carriers_sharp_per_area": ("1/cm^2", _SHARP + _AREA),
    "carriers_sharp_per_volume": ("1/cm^3", _SHARP + _VOLUME),
}

CM = 1e8  # Å


@dataclass(frozen=True)
class Spectrum:
    """What is computed for one structure.

    Attributes:
        levels: eigenvalues on the k grid, absolute.
        density: projected density of states of each of `levels.species`, states/eV, against
            E - E_F on the energies of the configuration.
        scalars: the numbers of `SCALARS` that are defined for the structure.
    """

    levels: Levels
    density: Float[np.ndarray, "species points"]
    scalars: dict[str, float]


def kpoints_for(atoms: ase.Atoms, config: SamplingConfig) -> KPoints:
    """Return the k-points of a structure."""
    return monkhorst_pack(config.kpts or grid_for_density(atoms, config.kpoint_density))


def electrons_of(hamiltonian: Hamiltonian) -> float:
    """Return the electron count that was stored, else that of neutral atoms."""
    stored = hamiltonian.scalars.get("n_electrons", np.nan)
    if np.isfinite(stored):
        return float(stored)
    return hamiltonian.basis.n_electrons(hamiltonian.atoms.numbers)


def fermi_level_of(hamiltonian: Hamiltonian, levels: Levels, config: SamplingConfig) -> float:
    """Return the Fermi level that the configuration asks for, eV.

    Raises:
        DataError: if it is the label's and there is none.
    """
    if config.fermi == "count":
        return fermi_level(levels, electrons_of(hamiltonian), config.smearing)
    stored = hamiltonian.scalars.get("fermi_level", np.nan)
    if not np.isfinite(stored):
        raise DataError(
            "scalar/fermi_level: no Fermi level is stored (predictions have none); "
            "take it from the electron count with --fermi count"
        )
    return float(stored)


def compute_spectrum(hamiltonian: Hamiltonian, config: DosConfig) -> Spectrum:
    """Compute levels, Fermi level, density of states and carriers of one structure.

    Args:
        hamiltonian: H(R) and S(R).
        config: k-points, broadening, windows, carrier species.

    Raises:
        DataError: if the eigenproblem or the Fermi level is ill-defined.
    """
    levels = solve(hamiltonian, kpoints_for(hamiltonian.atoms, config))
    electrons = electrons_of(hamiltonian)
    fermi = fermi_level_of(hamiltonian, levels, config)
    edges = band_edges(levels, electrons)
    density = projected_dos(levels, energy_grid(config.window, config.points) + fermi, config.width)

    species = config.carrier_numbers or tuple(levels.species)
    low, high = config.carrier_window
    window = (low + fermi, high + fermi)
    scalars = {
        "n_electrons": electrons,
        "fermi_level": fermi,
        "band_gap": edges.gap,
        "valence_band_maximum": edges.valence,
        "conduction_band_minimum": edges.conduction,
    }
    area, volume = periodic_area(hamiltonian.atoms), float(hamiltonian.atoms.cell.volume)
    for name, width in (("carriers", config.width), ("carriers_sharp", 0.0)):
        count = states_in_window(levels, species, window, width)
        scalars[name] = count
        if area > 0:
            scalars[f"{name}_per_area"] = count / area * CM**2
        if volume > 0:
            scalars[f"{name}_per_volume"] = count / volume * CM**3
    return Spectrum(levels, density, scalars)


def periodic_area(atoms: ase.Atoms) -> float:
    """Return the area of the periodic plane in Å², 0 if there are less than two periodic directions.

    Where all three directions are periodic it is the plane of the first two cell vectors.
    """
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) < 2:
        return 0.0
    first, second = atoms.cell.array[periodic[:2]]
    return float(np.linalg.norm(np.cross(first, second)))
