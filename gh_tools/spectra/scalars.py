"""The numbers of a spectrum (Fermi level, band edges, carriers) and their standard deviations over an ensemble."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.geometry import periodic_area
from gh_tools.spectra.choice import Solver
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.dos import energy_grid, projected_dos, states_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import (
    BandEdges,
    OutsideWindow,
    band_edges,
    electrons_of,
    fermi_level_of,
)
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.members import spectra_of_members, standard_deviations, with_kpoints
from gh_tools.units import CM

# Unit and definition of each number that `compute_spectrum` gives.
_SMEARED = (
    "states (both spins) of the carrier species in the window, broadened: integral of the DOS"
)
_SHARP = (
    "the same, sharp: eigenvalues in the window, weighted by projection; one within 1e-6 eV of an end counts "
    "half"
)
_AREA = "; per area of the periodic plane (of cell vectors 1 and 2 where all three are periodic)"
_VOLUME = "; per volume of the cell, vacuum included"

_REFINED = (
    "refined between the k-points (with dense matrices up to 600 orbitals; else on the k-points)"
)
SCALARS = {
    "n_electrons": ("", "valence electrons in the cell"),
    "fermi_level": ("eV", "Fermi level on the energy scale of the Hamiltonian"),
    "band_gap": ("eV", f"lowest empty minus highest occupied eigenvalue, {_REFINED}; 0 in a metal"),
    "valence_band_maximum": (
        "eV",
        f"highest occupied eigenvalue, {_REFINED}; the sharp Fermi level in a metal",
    ),
    "conduction_band_minimum": (
        "eV",
        f"lowest empty eigenvalue, {_REFINED}; the sharp Fermi level in a metal",
    ),
    "gap_is_direct": (
        "",
        "1 where states of one k-point and spin are apart by the gap, to 1 meV, and 0 where none are; absent in a metal, "
        "and where nothing is periodic",
    ),
    "carriers": ("", f"{_SMEARED}; in the cell"),
    "carriers_per_area": ("1/cm^2", _SMEARED + _AREA),
    "carriers_per_volume": ("1/cm^3", _SMEARED + _VOLUME),
    "carriers_sharp": ("", f"{_SHARP}; in the cell"),
    "carriers_sharp_per_area": ("1/cm^2", _SHARP + _AREA),
    "carriers_sharp_per_volume": ("1/cm^3", _SHARP + _VOLUME),
}

# Numbers that have an uncertainty where an ensemble predicted H, and the ending of its name.
UNCERTAIN = tuple(name for name in SCALARS if name not in ("n_electrons", "gap_is_direct"))
UNCERTAINTY = "_uncertainty"


def unit_and_definition(name: str) -> tuple[str, str]:
    """Return unit and definition of a number of a spectrum.

    Args:
        name: of `SCALARS`, or such a name with the ending `UNCERTAINTY`.
    """
    if name in SCALARS:
        return SCALARS[name]
    unit, definition = SCALARS[name.removesuffix(UNCERTAINTY)]
    return unit, f"standard deviation over the members of the ensemble: {definition}"


def edge_uncertainties(
    hamiltonian: Hamiltonian,
    eigenvalues: Eigenvalues,
    edges: BandEdges,
    fermi: float,
    config: SamplingConfig,
) -> dict[str, float]:
    """Return standard deviations of the Fermi level, the gap and its edges over the members of an ensemble, in eV.

    Args:
        hamiltonian: H(R) and S(R) of the ensemble.
        eigenvalues: of it.
        edges: of the ensemble; members have theirs there, or at one of the k-points.
        fermi: Fermi level of the ensemble, eV.
        config: how it is found.

    Returns:
        By the names of `SCALARS`; empty where no ensemble predicted H.

    Raises:
        OutsideWindow: a member has its Fermi level beyond the window of its eigenvalues.
    """
    if eigenvalues.members is None:
        return {}
    if edges.kpoints is not None:
        where = KPoints(edges.kpoints, np.zeros(len(edges.kpoints)))
        more = solve(hamiltonian, where, projected=False, with_members=True)
        eigenvalues = with_kpoints(eigenvalues, more)
    electrons = electrons_of(hamiltonian)

    def numbers(member: Eigenvalues) -> dict[str, float]:
        own = fermi_level_of(hamiltonian, member, config)
        return {"fermi_level": own, **edge_scalars(band_edges(member, electrons))}

    return standard_deviations(
        numbers, spectra_of_members(eigenvalues, fermi, hamiltonian.calibration)
    )


def tell_members_differ(hamiltonian: Hamiltonian) -> None:
    """Warn that a member of an ensemble has its Fermi level where no eigenvalues are known."""
    log.warning(
        "%s: the members of the ensemble differ by more than the window of eigenvalues holds: there are no uncertainties",
        hamiltonian.atoms.get_chemical_formula(),
    )


def edge_scalars(edges: BandEdges) -> dict[str, float]:
    """Return the band gap and its edges in eV, by the names of `SCALARS`."""
    return {
        "band_gap": edges.gap,
        "valence_band_maximum": edges.valence,
        "conduction_band_minimum": edges.conduction,
    }


def carrier_scalars(
    hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, fermi: float, config: DosConfig
) -> dict[str, float]:
    """Return the Fermi level, and the carriers in a window about it: in the cell, by area and by volume.

    Args:
        hamiltonian: H(R) and S(R), for the cell.
        eigenvalues: in the window at least.
        fermi: Fermi level, eV.
        config: carrier species, window and broadening.

    Returns:
        By the names of `SCALARS`, in their units; by area where a plane is periodic, by volume where a cell has one.
    """
    species = config.carrier_numbers or tuple(eigenvalues.species)
    low, high = config.carrier_window
    window = (low + fermi, high + fermi)
    scalars = {"fermi_level": fermi}
    area, volume = periodic_area(hamiltonian.atoms), float(hamiltonian.atoms.cell.volume)
    for name, width in (("carriers", config.width), ("carriers_sharp", 0.0)):
        count = states_in_window(eigenvalues, species, window, width)
        scalars[name] = count
        if area > 0:
            scalars[f"{name}_per_area"] = count / area * CM**2
        if volume > 0:
            scalars[f"{name}_per_volume"] = count / volume * CM**3
    return scalars


def scalar_uncertainties(
    hamiltonian: Hamiltonian,
    eigenvalues: Eigenvalues,
    edges: BandEdges,
    fermi: float,
    config: DosConfig,
    solver: Solver,
) -> tuple[dict[str, float], Float[np.ndarray, " points"] | None]:
    """Return standard deviations over the members of an ensemble.

    Args:
        hamiltonian: H(R) and S(R) of the ensemble.
        eigenvalues: of it, with those of the members.
        edges: of the ensemble.
        fermi: Fermi level of the ensemble, eV.
        config: windows and broadening.
        solver: that found the eigenvalues; kpm gives no densities of members.

    Returns:
        Of scalars, by the names of `UNCERTAIN` and in their units, and of the total density in states/eV. Both are empty or
        None where no ensemble predicted H, and where a member's Fermi level is beyond the window of its eigenvalues.
    """
    members = spectra_of_members(eigenvalues, fermi, hamiltonian.calibration)
    if not members:
        return {}, None
    assert config.window is not None  # chosen before
    energy = energy_grid(config.window, config.points)
    densities = []

    def counts(member: Eigenvalues) -> dict[str, float]:
        own = fermi_level_of(hamiltonian, member, config)
        if solver != "kpm":
            densities.append(projected_dos(member, energy + own, config.width).sum(axis=0))
        return carrier_scalars(hamiltonian, member, own, config)

    try:
        deviations = edge_uncertainties(hamiltonian, eigenvalues, edges, fermi, config)
        deviations |= standard_deviations(counts, members)
    except OutsideWindow:
        tell_members_differ(hamiltonian)
        return {}, None
    return deviations, np.std(densities, axis=0, ddof=1) if densities else None
