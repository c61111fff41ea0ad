"""Stores of kind ``spectra``, written structure by structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float

from gh_tools.errors import DataError, TryAgainError
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.dos import energy_grid
from gh_tools.spectra.scalars import SCALARS, UNCERTAIN, UNCERTAINTY, unit_and_definition
from gh_tools.spectra.sparse.solver import Certificate
from gh_tools.spectra.spectra import n_spins_of
from gh_tools.spectra.spectrum import Spectrum
from gh_tools.spectra.store_local import join_local, local_arrays, local_row
from gh_tools.store.io import put, put_stream
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store, open_store, read_json
from gh_tools.store.records import unsealed, write_once
from gh_tools.store.structures import (
    Structures,
    column_attributes,
    read_structures,
    structure_arrays,
)

_SOLVER = fields(Certificate)


class SpectraWriter:
    """Writes spectra as they are finished; an interrupted run loses none of them.

    Attributes:
        partial: the store in the making.
    """

    def __init__(
        self,
        path: Path | str,
        structures: Structures,
        config: DosConfig,
        provenance: Provenance,
        *,
        resume: bool = False,
        overwrite: bool = False,
        shared: bool = False,
    ):
        """Begin the store, or go on with it; see `PartialStore` for errors.

        Args:
            path: of the store.
            structures: names and design variables are copied.
            config: what is computed.
            provenance: how it is being made.
            resume: keep what an earlier run finished.
            overwrite: discard it.
            shared: begin, or go on, beside other runs that share the work.
        """
        self.structures, self.config = structures, config
        self.partial = PartialStore(
            path, provenance, resume=resume, overwrite=overwrite, shared=shared
        )
        if self.partial.extends:
            store = open_store(self.partial.path, "spectra")
            self._set_window(store["dos/energy"][[0, -1]].tolist())
            for row, name in enumerate(read_structures(store).names):
                index = structures.names.index(name)
                if not self.partial.has_part(index):
                    self.partial.write_part(index, _row(store, row))

    def choose_window(self, choose: Callable[[], tuple[float, float]]) -> DosConfig:
        """Return the configuration with a window, that of the runs before or beside this one if there are some.

        Args:
            choose: returns the window if it is this run that chooses it.
        """
        if self.config.window is None and not self.partial.finished:
            file = self.partial.directory / "window.json"
            known = unsealed(read_json(file))
            known = known or write_once(file, {"window": choose()})
            self._set_window(known["window"])
        return self.config

    def _set_window(self, window: Sequence[float]) -> None:
        self.config = self.config.model_copy(update={"window": tuple(window)})

    def write(self, index: int, spectrum: Spectrum) -> None:
        """Write one structure's spectrum."""
        self.partial.write_part(index, spectrum_to_part(spectrum))

    def publish(self) -> Path:
        """Join the spectra into the store; structures that failed are left out and listed.

        Raises:
            DataError: not one structure has a spectrum.
            TryAgainError: the same, but workers died of some.
        """
        present = [i for i in range(len(self.structures)) if self.partial.has_part(i)]
        failures = self.partial.failures()
        if not present:
            first = failures[0]
            error = TryAgainError if any(f.get("died") for f in failures) else DataError
            raise error(f"{first['name']}: {first['reason']} (none of the structures worked)")
        return self.partial.publish(
            "spectra",
            lambda group: self._join(group, present),
            {
                "failed": failures,
                "width": self.config.width,
                "projection": self.config.projection,
                "carrier_species": list(self.config.carriers),
                "carrier_window": list(self.config.carrier_window),
                "soc": self.config.soc,
                "project": self.config.project,
                "along": self.config.along,
                "edge_threshold": self.config.edge_threshold,
                "spin_degeneracy": "densities, carriers and electrons count both spins",
            },
        )

    def _join(self, group: zarr.Group, present: list[int]) -> None:
        structures = self.structures.select(present)
        attributes = column_attributes(structures)
        for key, values in structure_arrays(structures).items():
            put(group, key, values, attributes.get(key))

        scalars = {name: np.full(len(present), np.nan) for name in SCALARS}
        uncertain = [name + UNCERTAINTY for name in UNCERTAIN]
        kpoints, weights, sizes = [], [], []
        solver: dict[str, list] = {f.name: [] for f in _SOLVER}
        below, deviations = [], False
        for row, index in enumerate(present):
            with self.partial.open_part(index) as part:
                kpoints.append(part["bands/kpoint"])
                weights.append(part["bands/weight"])
                sizes.append(part["bands/eigenvalue"].size)
                below.append(part["bands/below"].ravel())
                deviations |= "dos/error" in part
                for name, numbers in solver.items():
                    numbers.append(part[f"solver/{name}"])
                for name in (*SCALARS, *uncertain):
                    if f"scalar/{name}" in part:
                        column = scalars.setdefault(name, np.full(len(present), np.nan))
                        column[row] = part[f"scalar/{name}"]
        for name, values in scalars.items():
            unit, description = unit_and_definition(name)
            put(group, f"scalar/{name}", values, {"unit": unit, "description": description})

        for name, numbers in solver.items():
            put(group, f"solver/{name}", np.array(numbers))

        put(group, "bands/below", np.concatenate(below))
        put(group, "bands/kpoint_ptr", _offsets([len(w) for w in weights]))
        put(group, "bands/kpoint", np.concatenate(kpoints))
        put(group, "bands/weight", np.concatenate(weights))
        put(group, "bands/eigenvalue_ptr", _offsets(sizes))
        eigenvalues = (self._piece(i, "bands/eigenvalue").ravel() for i in present)
        put_stream(group, "bands/eigenvalue", (sum(sizes),), np.dtype(float), eigenvalues)

        config = self.config
        assert config.window is not None  # chosen before anything is computed
        put(group, "dos/energy", energy_grid(config.window, config.points))
        shape = (len(present), config.points)
        # The total is the sum of the projections, to the last bit.
        totals: Any = (sum(self._density(i, z) for z in structures.numbers) for i in present)
        put_stream(group, "dos/total", shape, np.dtype(float), totals)
        if deviations:
            zero = np.zeros((1, config.points))
            errors = (self._piece(i, "dos/error", zero) for i in present)
            put_stream(group, "dos/error", shape, np.dtype(float), errors)
        for z in structures.numbers:
            densities = (self._density(i, z) for i in present)
            put_stream(group, f"dos/species/{z}", shape, np.dtype(float), densities)
        with self.partial.open_part(present[0]) as part:
            keys = list(part)
        join_local(group, present, keys, self._piece)

    def _density(self, index: int, number: int) -> Float[np.ndarray, "1 points"]:
        """Return the projected density of states of one structure, zero for an absent species."""
        zero = np.zeros((1, self.config.points))
        return self._piece(index, f"dos/species/{number}", zero)

    def _piece(self, index: int, key: str, absent: np.ndarray | None = None) -> np.ndarray:
        """Return an array of one structure; where it may be absent, as a row."""
        with self.partial.open_part(index) as part:
            if absent is None:
                return part[key]
            return part[key][None] if key in part else absent


def spectrum_to_part(spectrum: Spectrum) -> dict[str, np.ndarray]:
    """Return one structure's spectrum as the flat arrays of a part."""
    eigenvalues, certificate = spectrum.eigenvalues, spectrum.certificate
    below = np.zeros(eigenvalues.energies.shape[:2], np.int64)
    optional = {} if spectrum.deviation is None else {"dos/error": spectrum.deviation}
    return {
        **{f"solver/{f.name}": np.array(getattr(certificate, f.name)) for f in _SOLVER},
        **optional,
        "bands/below": below if eigenvalues.below is None else eigenvalues.below,
        "bands/kpoint": eigenvalues.kpoints.points,
        "bands/weight": eigenvalues.kpoints.weights,
        "bands/eigenvalue": eigenvalues.energies,
        **{
            f"dos/species/{z}": density
            for z, density in zip(eigenvalues.species, spectrum.density, strict=True)
        },
        **{f"scalar/{name}": np.float64(v) for name, v in spectrum.scalars.items()},
        **local_arrays(spectrum),
    }


def _row(store: Store, row: int) -> dict[str, np.ndarray]:
    """Return one structure of a finished store as the arrays of a part."""
    kpoints, eigenvalues = (
        slice(*store[f"bands/{name}_ptr"][row : row + 2]) for name in ("kpoint", "eigenvalue")
    )
    spins = n_spins_of(store)
    below = slice(spins * kpoints.start, spins * kpoints.stop)
    rows = {
        "bands/kpoint": kpoints,
        "bands/weight": kpoints,
        "bands/below": below,
        "bands/eigenvalue": eigenvalues,
    }
    kept = [
        key
        for key in store.keys()
        if key.startswith(("solver/", "scalar/", "dos/species/")) or key == "dos/error"
    ]
    single = {key: store.read(key, row) for key in kept}
    several = {key: store.read(key, where) for key, where in rows.items()} | local_row(store, row)
    return several | {
        # Zarr's own type of text is none that a part's file can have.
        key: np.array(str(value)) if value.dtype.kind in "TO" else value
        for key, value in single.items()
    }


def _offsets(counts: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
