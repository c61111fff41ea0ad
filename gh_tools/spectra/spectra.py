"""Spectra of many structures, as read from their store or just computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import energy_grid
from gh_tools.spectra.scalars import SCALARS
from gh_tools.spectra.spectrum import Spectrum
from gh_tools.store.checks.bands import check_spectra
from gh_tools.store.provenance import origin_of
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import (
    Structures,
    read_structures,
)


@dataclass(frozen=True)
class Spectra:
    """Densities of states of many structures on one energy axis.

    Attributes:
        structures: whose they are.
        n_spins: spin channels of the eigenvalues.
        energy: E - E_F, eV.
        total: total density of states, states/eV.
        species: Mulliken-projected densities by atomic number, states/eV.
        scalars: by name, see `SCALARS`; NaN where not defined.
        width: of the Gaussians, eV.
        soc: whether they are with spin–orbit coupling.
        origin: of the Hamiltonians: ``predicted``, ``DFT``, or empty if that is not known.
    """

    structures: Structures
    n_spins: int
    energy: Float[np.ndarray, " points"]
    total: Float[np.ndarray, "structures points"]
    species: Mapping[int, Float[np.ndarray, "structures points"]]
    scalars: Mapping[str, Float[np.ndarray, " structures"]]
    width: float
    soc: bool = False
    origin: str = ""

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def names(self) -> list[str]:
        """Names of the structures."""
        return self.structures.names

    def select(self, indices: Sequence[int]) -> Spectra:
        """Return some of the structures, in the order given."""
        indices = list(indices)
        return Spectra(
            self.structures.select(indices),
            self.n_spins,
            self.energy,
            self.total[indices],
            {z: density[indices] for z, density in self.species.items()},
            {name: values[indices] for name, values in self.scalars.items()},
            self.width,
            self.soc,
            self.origin,
        )


def read_spectra(source: Store | Path | str) -> Spectra:
    """Read a store of kind ``spectra``; raises as `open_store` does."""
    store = source if isinstance(source, Store) else open_store(source, "spectra")
    if fault := next(check_spectra(store), None):
        raise DataError(f"{store.path}: {fault}; make the store anew")
    return Spectra(
        read_structures(store),
        n_spins_of(store),
        store["dos/energy"],
        store["dos/total"],
        {int(z): store[f"dos/species/{z}"] for z in store.group_names("dos/species")},
        {name: store[f"scalar/{name}"] for name in store.group_names("scalar")},
        float(store.attributes["width"]),
        bool(store.attributes.get("soc", False)),
        origin_of(store.history),
    )


def gather(
    structures: Structures, config: DosConfig, spectra: list[Spectrum], origin: str = ""
) -> Spectra:
    """Return spectra that were just computed in the form in which a store is read.

    Args:
        structures: that they are of.
        config: with a window that was chosen.
        spectra: one a structure.
        origin: what made H, for titles of pictures.
    """
    assert config.window is not None
    zero = np.zeros(config.points)
    by_species = [
        dict(zip(s.eigenvalues.species.tolist(), s.density, strict=True)) for s in spectra
    ]
    species = {z: np.array([d.get(z, zero) for d in by_species]) for z in structures.numbers}
    total: Any = sum(species.values())
    return Spectra(
        structures,
        spectra[0].eigenvalues.energies.shape[0],
        energy_grid(config.window, config.points),
        total,
        species,
        {
            name: np.array([s.scalars.get(name, np.nan) for s in spectra])
            for name in {**SCALARS, **dict.fromkeys(key for s in spectra for key in s.scalars)}
        },
        config.width,
        config.soc,
        origin,
    )


def n_spins_of(store: Store) -> int:
    """Return the number of spin channels that a store has eigenvalues of."""
    if "bands/below" not in store:  # of a version that had one channel alone
        return 1
    return store.shape("bands/below")[0] // store.shape("bands/kpoint")[0]
