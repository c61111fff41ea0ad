"""Hamiltonians of many structures in one store: labels and predictions alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import MATRICES, Bands, Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.checks import check_blocks
from gh_tools.store.io import row_axis
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import (
    Structures,
    read_structures,
)

_ELECTRONS = 1e-6  # far above the rounding of a sum, far below any charge


class HamiltonianReader:
    """A store of kind ``hamiltonians``, or a given one of kind ``overlap``, read structure by structure.

    Attributes:
        store: the store.
        basis: its basis table.
    """

    def __init__(self, source: Store | Path | str, *, spinors: bool = False):
        """Open the store.

        Args:
            source: the store.
            spinors: whether H of spinors, which a non-collinear run of another program may have given, will do.

        Raises:
            DataError: it holds H of spinors, or as `open_store` says.
        """
        self.store = source if isinstance(source, Store) else open_store(source, "hamiltonians")
        if self.spinor and not spinors:
            raise DataError(
                f"{self.store.path}: holds H of spinors, of a non-collinear run or with spin-orbit coupling, whose "
                "spectra can be computed (gh-dos, gh-bands) and from which no model can be trained or judged yet; "
                "gh-import --spin-independent takes (H↑↑ + H↓↓)/2 of such a run instead"
            )
        self.basis = Basis.from_arrays(self.store)
        self._groups = [
            (kind, name)
            for kind in ("onsite", "pairs")
            for name in sorted(
                self.store.group_names(kind), key=lambda name: [int(z) for z in name.split("-")]
            )
        ]
        self._pointers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def structures(self) -> Structures:
        """All structures, wrapped, with their design variables."""
        return read_structures(self.store)

    @property
    def names(self) -> list[str]:
        """Names of the structures."""
        return self.structures.names

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the store's root."""
        return self.store.attributes

    @property
    def predicted(self) -> bool:
        """Whether a model made the Hamiltonians."""
        return bool(self.attributes.get("predicted", False))

    @property
    def spinor(self) -> bool:
        """Whether blocks are those of spinors; see `gh_tools.orbitals.blocks.Hamiltonian`."""
        return bool(self.attributes.get("spinor", False))

    @cached_property
    def scalars(self) -> dict[str, np.ndarray]:
        """Numbers that each structure has one of, by name; NaN where one has none."""
        return {name: self.store[f"scalar/{name}"] for name in self.store.group_names("scalar")}

    def electron_fault(self, index: int) -> str | None:
        """Return how a structure's ``scalar/n_electrons`` contradicts its atoms and charge; None if it does not.

        It must be the valence electrons of the neutral atoms less the column ``charge``.
        """
        stored, counted = self._stored_electrons(index), self._counted_electrons(index)
        if not abs(stored - counted) > _ELECTRONS:
            return None
        return (
            f"scalar/n_electrons: expected {counted:g}, found {stored:g}, with the charge "
            f"{self.structures.charges[index]:+g} (column/charge; 0 without); label or predict it again"
        )

    def _stored_electrons(self, index: int) -> float:
        return (
            float(self.scalars["n_electrons"][index]) if "n_electrons" in self.scalars else np.nan
        )

    def _counted_electrons(self, index: int) -> float:
        charge = float(self.structures.charges[index])
        return self.basis.n_electrons(self.structures.atoms[index].numbers, charge)

    def read(self, index: int, check: bool = True) -> Hamiltonian:
        """Read one structure's blocks.

        Args:
            index: of the structure.
            check: whether blocks that cannot be are an error; see `gh_tools.orbitals.checks.check_blocks`.

        Raises:
            DataError: they cannot be read, or are not what blocks of H and S must be, or electrons and charge
                contradict each other.
        """
        hamiltonian = self._read(index)
        if check and (fault := self.electron_fault(index)):
            raise DataError(f"{self.store.path}: {self.names[index]}: {fault}")
        if check and (fault := next(check_blocks(hamiltonian), None)):
            raise DataError(f"{self.store.path}: {self.names[index]}: {fault}; make the store anew")
        return hamiltonian

    def _read(self, index: int) -> Hamiltonian:
        onsite: dict[int, OnsiteBlocks] = {}
        pairs: dict[tuple[int, int], PairBlocks] = {}
        for kind, name in self._groups:
            prefix = f"{kind}/{name}"
            start, stop = self._pointer(f"{prefix}/ptr")[index : index + 2]
            if start == stop:
                continue
            fields = {
                field: _rows(self.store, f"{prefix}/{field}", start, stop)
                for field in ("atom", "i", "j", "cell_offset", *MATRICES, "out_of_domain")
                if f"{prefix}/{field}" in self.store
            }
            if self.spinor:
                real, imaginary = fields["hamiltonian"]
                fields["hamiltonian"] = real + 1j * imaginary
            if kind == "onsite":
                onsite[int(name)] = OnsiteBlocks(**fields)
            else:
                zi, zj = name.split("-")
                pairs[int(zi), int(zj)] = PairBlocks(**fields)
        scalars = {name: float(values[index]) for name, values in self.scalars.items()}
        if np.isnan(scalars.get("n_electrons", np.nan)):
            scalars["n_electrons"] = self._counted_electrons(index)
        atoms = self.structures.atoms[index].copy()
        calibration = self.attributes.get("calibration", {})
        bands = self._bands(index)
        return Hamiltonian(
            *(atoms, self.basis, onsite, pairs, scalars, bands, self.spinor),
            calibration=calibration,
        )

    def _bands(self, index: int) -> Bands | None:
        if "bands/eigenvalue" not in self.store:
            return None
        start, stop = self._pointer("bands/kpoint_ptr")[index : index + 2]
        if start == stop:
            return None
        first, last = self._pointer("bands/eigenvalue_ptr")[index : index + 2]
        spins = 2 if self.attributes.get("spins", 1) == 2 else 1
        eigenvalue = self.store.read("bands/eigenvalue", slice(first, last))
        return Bands(
            self.store.read("bands/kpoint", slice(start, stop)),
            self.store.read("bands/weight", slice(start, stop)),
            eigenvalue.reshape(spins, stop - start, -1),
        )

    def _pointer(self, key: str) -> np.ndarray:
        if key not in self._pointers:
            self._pointers[key] = self.store[key]
        return self._pointers[key]


def _rows(store: Store, key: str, start: int, stop: int) -> np.ndarray:
    return store.read(key, (slice(None),) * row_axis(store.shape(key)) + (slice(start, stop),))
