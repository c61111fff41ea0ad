"""Fermi level and band edges from the electron count.

Two eigenvalues decide: that which takes the last electron, and that which would take the next one. Both
are order statistics of all eigenvalues, so that rounding moves them by no more than it moves eigenvalues
(Weyl's inequality), whatever is degenerate. Where the two are the same within `RESOLUTION`, the
structure is a metal or has an open shell, and has no gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import RESOLUTION, SamplingConfig
from gh_tools.spectra.eigen import Eigenvalues

# Electrons. Far above the rounding of a sum of weights (about 1e-13 for 1e5 eigenvalues) and far
# below what one eigenvalue of a k grid holds (2 / number of k-points).
COUNT_TOLERANCE = 1e-8
# eV. A gap is direct where states of one k-point are apart by this much more at most.
DIRECT = 1e-3
# In units of kT: so far from the Fermi level 1e5 eigenvalues hold less than 1e-8 electrons or holes.
TAIL = 30.0


class OutsideWindow(Exception):
    """The Fermi level is not determined by the eigenvalues of a window."""


@dataclass(frozen=True)
class BandEdges:
    """Band edges of the sharply filled eigenvalues, in eV on the scale of the Hamiltonian.

    Attributes:
        valence: highest occupied eigenvalue; the Fermi level in a metal.
        conduction: lowest empty eigenvalue; the Fermi level in a metal.
        gap: conduction - valence on the k-points given; 0 in a metal.
        direct: whether states of one k-point and spin are apart by the gap, to `DIRECT`; None in a metal.
        kpoints: where both are, if they were refined between the k-points given.
    """

    valence: float
    conduction: float
    gap: float
    direct: bool | None = None
    kpoints: Float[np.ndarray, "2 3"] | None = field(default=None, compare=False)


def fermi_level(eigenvalues: Eigenvalues, n_electrons: float, smearing: float = 0.0) -> float:
    """Return the Fermi level that holds an electron count.

    Filled sharply, it is the middle between the eigenvalue that takes the last electron and that which
    would take the next: midgap in an insulator, and the eigenvalue itself where an eigenvalue, or a degenerate
    multiplet, is partly filled. With a smearing it is the middle of the interval over which the count is
    right to 1e-8 electrons: in a gap that is wide against kT, where there are as many electrons as holes.

    Args:
        eigenvalues: eigenvalues with their weights.
        n_electrons: electrons in the cell.
        smearing: Fermi-Dirac width kT, eV; 0 for sharp filling.

    Returns:
        The Fermi level, eV.

    Raises:
        DataError: if the eigenvalues cannot hold that many electrons, or none is left empty.
        OutsideWindow: if eigenvalues beyond the window in which they are complete would have a say.
    """
    sharp = float(np.mean(_frontier(eigenvalues, n_electrons)))
    if smearing < RESOLUTION:
        return sharp
    filled = eigenvalues.energies <= sharp
    # Of what is filled sharply only holes are added up, and of the rest only electrons: small numbers,
    # so that the rounding of a large count does not move a Fermi level in a gap.
    excess = _held(eigenvalues, sharp) - n_electrons
    if abs(excess) <= COUNT_TOLERANCE:
        excess = 0.0

    def surplus(energy: float) -> float:
        distance = (
            np.where(filled, eigenvalues.energies - energy, energy - eigenvalues.energies)
            / smearing
        )
        moved = eigenvalues.states * expit(distance)
        return excess + float(np.sum(moved[~filled])) - float(np.sum(moved[filled]))

    # 40 kT beyond the outermost eigenvalues the occupations are 0 and 1 to 1e-17.
    margin = 1.0 + 40.0 * smearing
    listed = eigenvalues.energies[np.isfinite(eigenvalues.energies)]
    bottom, top = listed.min() - margin, listed.max() + margin

    def bisect(target: float) -> float:
        low, high = bottom, top
        while high - low > 1e-12 * max(1.0, abs(low), abs(high)):
            middle = 0.5 * (low + high)
            if surplus(middle) < target:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    below, above = bisect(-COUNT_TOLERANCE), bisect(COUNT_TOLERANCE)
    # Eigenvalues from here on are all filled, or all empty, to far less than the tolerance.
    tail = TAIL * smearing
    if below - tail < eigenvalues.window[0] or above + tail > eigenvalues.window[1]:
        raise OutsideWindow
    return float(0.5 * (below + above))


def band_edges(eigenvalues: Eigenvalues, n_electrons: float) -> BandEdges:
    """Return the band edges of the sharply filled eigenvalues.

    The structure is an insulator on the given k-points when, for each spin, all of them have
    the same number of occupied eigenvalues, no eigenvalue is partly filled, and the highest occupied one lies
    below the lowest empty one by more than `RESOLUTION`; else it is a metal. K-points of weight zero
    hold no electrons, but their eigenvalues of the same numbers count for the edges.

    Args:
        eigenvalues: eigenvalues with their weights.
        n_electrons: electrons in the cell.

    Raises:
        DataError: as `fermi_level`.
        OutsideWindow: as `fermi_level`.
    """
    valence, conduction = _frontier(eigenvalues, n_electrons)
    fermi = 0.5 * (valence + conduction)
    metal = BandEdges(fermi, fermi, 0.0)
    if conduction - valence <= RESOLUTION:
        return metal
    occupied = np.sum(eigenvalues.energies < fermi, axis=-1)
    below = 0 if eigenvalues.below is None else eigenvalues.below
    per_spin = (occupied + below)[:, eigenvalues.kpoints.weights > 0]
    if np.any(per_spin != per_spin[:, :1]):
        return metal
    filled = np.arange(eigenvalues.energies.shape[-1]) < (per_spin[:, :1] - below)[..., None]
    filled = np.broadcast_to(filled, eigenvalues.energies.shape)
    valence = float(eigenvalues.energies[filled].max())
    conduction = float(eigenvalues.energies[~filled].min())
    if conduction - valence <= RESOLUTION:
        return metal
    highest = np.where(filled, eigenvalues.energies, -np.inf).max(axis=-1)
    lowest = np.where(filled, np.inf, eigenvalues.energies).min(axis=-1)
    gap = conduction - valence
    return BandEdges(valence, conduction, gap, bool(np.min(lowest - highest) - gap < DIRECT))


def electrons_of(hamiltonian: Hamiltonian) -> float:
    """Return the number of electrons that fill a Hamiltonian's eigenvalues, of both spins.

    It is the scalar ``n_electrons`` that labels, predictions and all Hamiltonians read from a store have: the
    valence electrons of the neutral atoms, less the structure's charge. One that was composed without it counts
    as neutral.

    Raises:
        DataError: the data are of another program, and nobody has told how many electrons its atoms have.
    """
    stored = hamiltonian.scalars.get("n_electrons", np.nan)
    if np.isfinite(stored):
        return float(stored)
    hamiltonian.basis.check_valence(hamiltonian.atoms.numbers)
    return hamiltonian.basis.n_electrons(hamiltonian.atoms.numbers)


def fermi_level_of(
    hamiltonian: Hamiltonian, eigenvalues: Eigenvalues, config: SamplingConfig
) -> float:
    """Return the Fermi level that the configuration asks for, eV.

    Args:
        hamiltonian: whose electrons fill the eigenvalues, and whose label may tell the Fermi level.
        eigenvalues: of H, on k-points that stand for the zone.
        config: whose Fermi level, and with which smearing.

    Raises:
        DataError: if it is the label's and there is none.
    """
    if config.fermi == "count":
        return fermi_level(eigenvalues, electrons_of(hamiltonian), config.smearing)
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


def _held(eigenvalues: Eigenvalues, energy: float) -> float:
    """Return the electrons that all eigenvalues up to an energy hold, those at it included."""
    counts = np.sum(eigenvalues.energies <= energy, axis=-1)
    return eigenvalues.states_below + eigenvalues.states_of(counts)


def _frontier(eigenvalues: Eigenvalues, n_electrons: float) -> tuple[float, float]:
    """Return the eigenvalues that take the last electron and that would take the next one, eV.

    Raises:
        DataError: if the eigenvalues cannot hold that many electrons, or none is left empty.
        OutsideWindow: if one of the two is not among those listed.
    """
    capacity = _held(eigenvalues, np.finfo(float).max) + eigenvalues.states_above
    if not COUNT_TOLERANCE < n_electrons or not n_electrons + COUNT_TOLERANCE < capacity:
        raise DataError(
            f"the basis has room for {capacity:g} electrons and the structure has {n_electrons:g}: "
            "the Fermi level is not defined; use a larger basis or mend scalar/n_electrons"
        )
    listed = np.sort(eigenvalues.energies[np.isfinite(eigenvalues.energies)])
    if eigenvalues.states_below >= n_electrons - COUNT_TOLERANCE:
        raise OutsideWindow

    def held(energy: float) -> float:
        return _held(eigenvalues, energy)

    last = bisect_left(listed, n_electrons - COUNT_TOLERANCE, key=held)
    following = bisect_right(listed, n_electrons + COUNT_TOLERANCE, key=held)
    if following == len(listed):
        raise OutsideWindow
    valence, conduction = float(listed[last]), float(listed[following])
    if valence < eigenvalues.window[0] or conduction > eigenvalues.window[1]:
        raise OutsideWindow
    return valence, conduction
