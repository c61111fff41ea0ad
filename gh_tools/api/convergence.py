"""How far labels move when the calculation is made finer: the noise of labels that a model cannot learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from gh_tools.api.compute import label
from gh_tools.console import track

if TYPE_CHECKING:
    from gh_tools.dft.config import LabelConfig

# Factors of the finer calculations: enough to see what is not converged, at a few times the cost.
DENSER, FINER, TIGHTER = 1.5, 0.8, 0.1
WIDER = 3.0  # Å more vacuum on each side


@dataclass(frozen=True)
class Change:
    """What one finer setting changes in the labels of a structure.

    Attributes:
        setting: what was made finer, such as "k-points 3x3x3 → 5x5x5".
        hamiltonian: mean absolute change of the elements of H, eV.
        onsite: the same of on-site blocks alone, eV.
        eigenvalues: mean absolute change of the eigenvalues within ±5 eV of the Fermi level, eV.
        eigenvalues_shifted: the same after aligning by a constant shift, eV.
        fermi_level: change of the Fermi level, coarser - finer, eV.
        band_gap: change of the band gap, coarser - finer, eV; NaN of metals.
    """

    setting: str
    hamiltonian: float
    onsite: float
    eigenvalues: float
    eigenvalues_shifted: float
    fermi_level: float
    band_gap: float


def convergence(atoms: ase.Atoms, **settings: Any) -> list[Change]:
    """Label a structure as asked for, and again with each setting finer by itself.

    The settings are the k-points (half as many again along each periodic direction), the grid spacing (a fifth
    smaller), the criterion for the density (a tenth), and the vacuum where a direction is not periodic (3 Å more). The basis
    stays: it decides what H is, not how exact it is. Eigenvalues are compared on the k-points of the finer calculation.

    Args:
        atoms: the structure; lengths in Å.
        **settings: keys of the configuration of `gh-label`.

    Returns:
        Changes, one a setting.

    Raises:
        DataError: the structure cannot be computed, or a calculation did not converge.
    """
    from gh_tools.dft.config import LabelConfig
    from gh_tools.evaluation.eigenvalue_errors import (
        both_eigenvalues,
        eigenvalue_errors,
        gap_error,
        reference_kpoints,
    )
    from gh_tools.evaluation.matrix_errors import hamiltonian_errors

    config = LabelConfig(**settings)
    coarse = label(atoms, **settings).blocks
    changes = []
    for setting, finer in track(list(_finer(atoms, config)), "labelling again"):
        fine = label(atoms, **{**settings, **finer}).blocks
        elements = hamiltonian_errors(coarse, fine)
        *both, n_electrons = both_eigenvalues(coarse, fine, reference_kpoints(fine))
        errors = eigenvalue_errors(both[0], both[1], n_electrons)
        gap = gap_error((coarse, fine), (both[0], both[1]), n_electrons)
        changes.append(
            Change(
                setting,
                elements.all.mae,
                elements.all_onsite.mae,
                errors.window,
                errors.window_shifted,
                errors.fermi_level,
                gap.error,
            )
        )
    return changes


def _finer(atoms: ase.Atoms, config: LabelConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each finer setting in words, and as keys of the configuration."""
    if atoms.pbc.any():
        if config.kpts is None:
            finer: dict[str, Any] = {"kpoint_density": DENSER * config.kpoint_density}
        else:
            finer = {"kpts": [int(np.ceil(DENSER * n)) for n in config.kpts]}
        before, after = (_grid(atoms, one) for one in (config, config.model_copy(update=finer)))
        if before != after:
            yield f"k-points {before} → {after}", finer
    yield f"h {config.h:g} → {FINER * config.h:.3g} Å", {"h": FINER * config.h}
    density = TIGHTER * config.convergence.density
    yield (
        f"convergence.density {config.convergence.density:g} → {density:g}",
        {"convergence": {**config.convergence.model_dump(), "density": density}},
    )
    if not atoms.pbc.all():
        vacuum = config.vacuum + WIDER
        yield f"vacuum {config.vacuum:g} → {vacuum:g} Å", {"vacuum": vacuum}


def _grid(atoms: ase.Atoms, config: LabelConfig) -> str:
    from gh_tools.dft.scf import kpoint_sampling

    sampling = kpoint_sampling(atoms, config)
    return "x".join(map(str, sampling.get("size") or [len(sampling["kpts"])]))
