"""Which energies a density of states is computed for, where nobody says: all valence states, and some empty ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import scipy.linalg

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.choice import DEEPEST_STATE_LIMIT
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import REACH
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import band_edges, electrons_of
from gh_tools.spectra.kpoints import monkhorst_pack

# eV from E_F. The window reaches further down where valence states do.
USUAL = (-10.0, 10.0)
# Orbitals below which the corners of the zone count besides Γ: of a small cell the zone is large.
_SMALL = 200
# eV. By so much the few k-points may miss the lowest band's bottom, or a metal's Fermi level.
_MARGIN = 2.0


def whole_window(config: DosConfig, hamiltonians: Iterable[Hamiltonian]) -> DosConfig:
    """Return a configuration whose window holds all valence states of structures, if it has none.

    Args:
        config: what is computed.
        hamiltonians: of the structures; those of more than `DEEPEST_STATE_LIMIT` orbitals have no say: most are
            not solved densely, and each state in the window costs.

    Returns:
        The configuration, with a window from -10 eV or below, in whole eV, to 10 eV.
    """
    if config.window is not None:
        return config
    tail = _MARGIN + min(REACH * config.width, 10.0)
    low = USUAL[0]
    for one in hamiltonians:
        if one.n_orbitals <= DEEPEST_STATE_LIMIT:
            # What is wrong with one that has no spectrum is told when its turn comes.
            with contextlib.suppress(DataError, scipy.linalg.LinAlgError):
                low = min(low, float(np.floor(_depth(one) - tail)))
    return config.model_copy(update={"window": (low, USUAL[1])})


def _depth(hamiltonian: Hamiltonian) -> float:
    """Return an estimate from below of the lowest eigenvalue, in eV from E_F."""
    corners = 2 if hamiltonian.n_orbitals <= _SMALL else 1
    grid = [corners if periodic else 1 for periodic in hamiltonian.atoms.pbc]
    kpoints = monkhorst_pack(grid)
    eigenvalues = solve(hamiltonian, kpoints, projected=False)
    edges = band_edges(eigenvalues, electrons_of(hamiltonian))
    return float(eigenvalues.energies.min()) - edges.conduction
