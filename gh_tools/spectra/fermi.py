"""Fermi level and band edges from the electron count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.eigen import Levels

# Electrons. Far above the rounding of a sum of weights (about 1e-13 for 1e5 levels) and far
# below what one level of a k grid holds (2 / number of k-points).
COUNT_TOLERANCE = 1e-8
# In units of kT: so far from the Fermi level 1e5 levels hold less than 1e-8 electrons or holes.
TAIL = 30.0


class OutsideWindow(Exception):
    """The Fermi level is not determined by the levels of a window."""


@dataclass(frozen=True)
class BandEdges:
    """Band edges of the sharply filled levels, in eV on the scale of the Hamiltonian.

    Attributes:
        valence: highest occupied level; the Fermi level in a metal.
        conduction: lowest empty level; the Fermi level in a metal.
        gap: conduction - valence on the k-points given; 0 in a metal.
    """

    valence: float
    conduction: float
    gap: float


def electron_count(levels: Levels, level: float, smearing: float = 0.0) -> float:
    """Return the number of electrons that fill the levels up to a Fermi level.

    Args:
        levels: eigenvalues with their weights.
        level: Fermi level, eV.
        smearing: Fermi-Dirac width kT, eV; 0 fills every level below `level` and none above.
    """
    below = level - levels.energies
    occupation = expit(below / smearing) if smearing > 0 else below > 0
    return levels.states_below + float(np.sum(levels.states * occupation))


def fermi_level(levels: Levels, n_electrons: float, smearing: float = 0.0) -> float:
    """Return the Fermi level that holds an electron count.

    All levels of the interval over which the count is right to 1e-8 electrons would do: its
    middle is taken. So in a gap that is wide against the smearing the Fermi level is midgap,
    and in a metal the interval is a point.

    Args:
        levels: eigenvalues with their weights.
        n_electrons: electrons in the cell.
        smearing: Fermi-Dirac width kT, eV; 0 for sharp filling.

    Returns:
        The Fermi level, eV.

    Raises:
        DataError: if the levels cannot hold that many electrons, or none is left empty.
        OutsideWindow: if levels beyond the window in which they are complete would have a say.
    """
    capacity = levels.states_below + float(levels.states.sum()) + levels.states_above
    if not 0 < n_electrons < capacity - COUNT_TOLERANCE:
        raise DataError(
            f"the basis has room for {capacity:g} electrons and the structure has {n_electrons:g}: "
            "the Fermi level is not defined; use a larger basis or mend scalar/n_electrons"
        )
    # 40 kT beyond the outermost levels the occupations are 0 and 1 to 1e-17.
    margin = 1.0 + 40.0 * smearing
    listed = levels.energies[np.isfinite(levels.energies)]
    if listed.size == 0:
        raise OutsideWindow
    bottom, top = listed.min() - margin, listed.max() + margin

    def bisect(target: float) -> float:
        low, high = bottom, top
        while high - low > 1e-12 * max(1.0, abs(low), abs(high)):
            middle = 0.5 * (low + high)
            if electron_count(levels, middle, smearing) < target:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    below, above = (bisect(n_electrons + sign * COUNT_TOLERANCE) for sign in (-1, 1))
    # Levels from here on are all filled, or all empty, to far less than the tolerance.
    tail = TAIL * smearing
    if below - tail < levels.window[0] or above + tail > levels.window[1]:
        raise OutsideWindow
    return float(0.5 * (below + above))


def band_edges(levels: Levels, n_electrons: float) -> BandEdges:
    """Return the band edges of the sharply filled levels.

    The structure is an insulator on the given k-points when, for each spin, all of them have
    the same number of occupied levels and no level is partly filled; else it is a metal.

    Args:
        levels: eigenvalues with their weights.
        n_electrons: electrons in the cell.
    """
    fermi = fermi_level(levels, n_electrons)
    occupied = levels.energies < fermi
    per_kpoint: Float[np.ndarray, "spins kpoints"] = occupied.sum(axis=-1)
    if levels.below is not None:
        per_kpoint = per_kpoint + levels.below
    held = levels.states_below + float(np.sum(levels.states * occupied))
    same_everywhere = np.all(per_kpoint == per_kpoint[:, :1])
    if not same_everywhere or abs(held - n_electrons) > 2 * COUNT_TOLERANCE:
        return BandEdges(fermi, fermi, 0.0)
    valence = float(levels.energies[occupied].max())
    conduction = float(levels.energies[~occupied].min())
    return BandEdges(valence, conduction, conduction - valence)


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
    return label_fermi_level(hamiltonian)


def label_fermi_level(hamiltonian: Hamiltonian) -> float:
    """Return the Fermi level that is stored, eV.

    Raises:
        DataError: there is none.
    """
    stored = hamiltonian.scalars.get("fermi_level", np.nan)
    if not np.isfinite(stored):
        raise DataError(
            "scalar/fermi_level: no Fermi level is stored (predictions have none); "
            "take it from the electron count with --fermi count"
        )
    return float(stored)
