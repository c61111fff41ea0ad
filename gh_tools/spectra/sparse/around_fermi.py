"""Eigenvalues of a large structure about its Fermi level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import (
    TAIL,
    BandEdges,
    OutsideWindow,
    band_edges,
    electrons_of,
    fermi_level,
    fermi_level_of,
    label_fermi_level,
)
from gh_tools.spectra.sparse.solver import Certificate, SlicedSolver

# Widths by which a window goes beyond what is broadened. Of a state farther away, 4e-11 are counted wrongly, and its density is
# 3e-10 in units of 1/σ: what eigenvalues are certain to. The density of states has more, which costs nothing there.
_REACH = 6.5
# eV by which a window goes beyond what it must hold: a shift that hits an eigenvalue is moved by less.
_BEYOND = 1e-3


def certified_eigenvalues(
    solver: SlicedSolver,
    hamiltonian: Hamiltonian,
    config: DosConfig,
    windows: Sequence[tuple[float, float]],
) -> tuple[Eigenvalues, float, Certificate]:
    """Find the Fermi level, and all eigenvalues that windows about it need.

    Args:
        solver: of the structure.
        hamiltonian: H(R) and S(R).
        config: how the Fermi level is defined, and by how much eigenvalues are broadened.
        windows: energies from E_F.

    Returns:
        Eigenvalues, the Fermi level in eV, and what vouches for them.

    Raises:
        DataError: if eigenvalues are missing or inaccurate.
    """
    electrons = electrons_of(hamiltonian)
    before = None if solver.kept is None else solver.kept.read(0)
    if before is None:
        around = solver.find_fermi_level(electrons)
        sharp = band_edges(around, electrons)
        fermi = fermi_level(around, electrons)
        if solver.kept is not None:
            edges = np.array([sharp.valence, sharp.conduction, sharp.gap])
            solver.kept.write(0, {"fermi": np.array(fermi), "edges": edges})
    else:
        fermi, sharp = float(before["fermi"]), BandEdges(*before["edges"])
    broadened = _REACH * config.width
    relative = (
        min(min(low for low, _ in windows) - broadened, -(TAIL + 2) * config.smearing),
        max(max(high for _, high in windows) + broadened, (TAIL + 2) * config.smearing),
    )
    if config.fermi == "label":
        fermi = label_fermi_level(hamiltonian)
    for _ in range(3):
        low, high = _window(fermi, (sharp.valence, sharp.conduction), relative)
        log.info("eigenvalues between %.4f and %.4f eV, E_F near %.4f eV", low, high, fermi)
        eigenvalues, certificate = solver.eigenvalues(low, high)
        try:
            refined = fermi_level_of(hamiltonian, eigenvalues, config)
            band_edges(eigenvalues, electrons)
        except OutsideWindow:
            raise DataError(
                f"the eigenvalues between {low:.4f} and {high:.4f} eV do not hold the Fermi level that "
                "was found before; use another --engine or --solver dense"
            ) from None
        # Shifts that hit an eigenvalue were moved a little: 1e-3 eV of the tails, which hold nothing.
        if abs(refined - fermi) < 1e-3:
            return eigenvalues, refined, certificate
        fermi = refined
    raise DataError("the Fermi level does not converge; use --smearing 0 or --solver dense")


def _window(
    fermi: float,
    edges: tuple[float, float],
    relative: tuple[float, float],
) -> tuple[float, float]:
    """Return the energies between which eigenvalues are needed, eV.

    Args:
        fermi: Fermi level.
        edges: eigenvalues on both sides of it, that must be in.
        relative: window from E_F.
    """
    return min(fermi + relative[0], edges[0]) - _BEYOND, max(
        fermi + relative[1], edges[1]
    ) + _BEYOND
