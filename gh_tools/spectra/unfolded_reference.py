"""Bands of a primitive cell, beside which those of a supercell are drawn."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
from ase.dft.kpoints import BandPath
from jaxtyping import Int

from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.band_path import NamedPath
from gh_tools.spectra.bands import BandStructure, band_structure
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.sites import supercell_of


def primitive_reference(
    reference: Hamiltonian,
    atoms: ase.Atoms,
    named: NamedPath,
    config: SamplingConfig,
) -> BandStructure:
    """Return the bands of a primitive cell along the path of a supercell, with their velocities.

    Args:
        reference: H(R) and S(R) of the primitive cell.
        atoms: the supercell.
        named: its path.
        config: k grid and how the Fermi level is found.

    Raises:
        UsageError: the reference is no primitive cell of the supercell.
    """
    try:
        change = supercell_of(atoms, reference.atoms)
    except DataError as error:
        raise UsageError(
            f"--reference: beside unfolded bands those of the primitive cell are drawn, and this is none ({error})"
        ) from None
    back = np.linalg.inv(change)
    path = BandPath(
        reference.atoms.cell.uncomplete(reference.atoms.pbc),
        kpts=named.path.kpts @ back.T,
        special_points={name: back @ point for name, point in named.path.special_points.items()},
        path=named.path.path,
    )
    unit: Int[np.ndarray, "3 3"] = np.eye(3, dtype=np.int64)
    along = replace(named, path=path, supercell=unit)
    return band_structure(reference, along, config, velocities=True)
