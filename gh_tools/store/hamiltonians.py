"""Hamiltonians of many structures in one store: labels and predictions alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gh_tools.console import log
from gh_tools.errors import DataError, TryAgainError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import MATRICES, Bands, Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.checks import check_blocks
from gh_tools.store.hamiltonian_parts import JoinedPart, pointer_key, to_part
from gh_tools.store.io import put, put_stream, row_axis
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import (
    Structures,
    column_attributes,
    read_structures,
    structure_arrays,
)

_ELECTRONS = 1e-6  # far above the rounding of a sum, far below any charge

SCALAR_UNITS = {
    "fermi_level": "eV",
    "energy": "eV",
    "magnetic_moment": "μB",
    "eigenvalue_error": "meV",
}


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


class HamiltonianWriter:
    """Writes a store of kind ``hamiltonians`` structure by structure.

    Structures may come in any order and from several processes: each is a part of its own, finished
    or not there. One that is too large to be held comes in pieces, see `write_piece`, and `publish` joins all.
    """

    def __init__(
        self,
        path: Path | str,
        structures: Structures,
        provenance: Provenance,
        *,
        resume: bool = False,
        overwrite: bool = False,
        shared: bool = False,
    ):
        """Begin the store, or go on with it; see `PartialStore` for arguments and errors.

        Args:
            path: of the store.
            structures: all that are to be written; names and design variables are copied.
            provenance: how it is being made.
            resume: keep what an earlier run finished, also if it published a store without the
                structures that failed.
            overwrite: discard it.
            shared: begin, or go on, beside other runs that share the work.
        """
        self.structures = structures
        self.partial = PartialStore(
            path, provenance, resume=resume, overwrite=overwrite, shared=shared
        )
        if self.partial.extends:
            reader = HamiltonianReader(self.partial.path, spinors=True)
            for row, name in enumerate(reader.names):
                index = structures.names.index(name)
                if not self.done(index):
                    self.write(index, reader.read(row))

    def done(self, index: int) -> bool:
        """Tell whether a structure is finished."""
        return self.partial.has_part(index)

    def write(self, index: int, hamiltonian: Hamiltonian) -> None:
        """Write one structure's blocks; safe against interruption and other writers."""
        self.partial.write_part(index, to_part(hamiltonian))

    def join_pieces(self, index: int, hamiltonian: Hamiltonian, n_pieces: int) -> bool:
        """Declare a structure finished, unless a piece is missing.

        Args:
            index: of the structure.
            hamiltonian: its atoms and scalars; blocks are those of the pieces.
            n_pieces: how many pieces there must be.

        Returns:
            Whether it is finished.
        """
        if not all(self.partial.has_part(index, piece) for piece in range(n_pieces)):
            return False
        self.partial.write_part(
            index, {**to_part(hamiltonian), "pieces": np.array(n_pieces, dtype=np.int64)}
        )
        return True

    def publish(
        self,
        basis: Basis,
        attributes: Mapping[str, Any] | None = None,
        kind: str = "hamiltonians",
    ) -> Path:
        """Join the parts into the store.

        Structures without a part are left out and listed in the attribute ``failed``.

        Args:
            basis: the basis table of all structures.
            attributes: further attributes of the root.
            kind: of the store; ``overlap`` where blocks of H are absent.

        Raises:
            TryAgainError: not one structure is finished.
        """
        present = [index for index in range(len(self.structures)) if self.done(index)]
        failures = self.partial.failures()
        if not present:
            reasons = "; ".join(f"{f['name']}: {f['reason']}" for f in failures[:3])
            raise TryAgainError(f"{self.partial.path}: no structure was finished ({reasons})")
        return self.partial.publish(
            kind,
            lambda group: self._join(group, present, basis),
            {"failed": failures, **(attributes or {})},
        )

    def _join(self, group: zarr.Group, present: list[int], basis: Basis) -> None:
        structures = self.structures.select(present)
        parts = [JoinedPart(self.partial, index) for index in present]
        scalars: dict[str, np.ndarray] = {}
        for position, part in enumerate(parts):
            structures.atoms[position] = part.atoms
            for name, value in {**part.scalars, **_out_of_domain(part)}.items():
                scalars.setdefault(name, np.full(len(present), np.nan))[position] = value
        attributes = column_attributes(structures)
        for key, values in {**structure_arrays(structures), **basis.to_arrays()}.items():
            put(group, key, values, attributes.get(key))
        keys = sorted({key for part in parts for key in part.blocks})
        members = {key for key in keys if key.endswith("/members")}
        if members and not all(map(_has_members, parts)):
            log.warning(
                "%s: parts of an earlier version lack what members of the ensemble differ by: there will be no "
                "uncertainties of spectra; predict anew with --overwrite for them",
                self.partial.path,
            )
            keys = [key for key in keys if key not in members]
        for key in keys:
            shapes = [part.shape(key) for part in parts]
            rest = next(shape for shape in shapes if shape is not None)
            axis = row_axis(rest)
            counts = [0 if shape is None else shape[axis] for shape in shapes]
            shape = (*rest[:axis], sum(counts), *rest[axis + 1 :])
            dtype = next(part.blocks[key][0][1].dtype for part in parts if key in part.blocks)
            filled = [part for part, count in zip(parts, counts, strict=True) if count]
            pieces = itertools.chain.from_iterable(part.rows(key) for part in filled)
            put_stream(group, key, shape, dtype, pieces)
            pointer = pointer_key(key)
            if pointer is not None:
                put(group, pointer, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
        for name, values in sorted(scalars.items()):
            put(group, f"scalar/{name}", values, {"unit": SCALAR_UNITS.get(name, "")})


def _out_of_domain(part: JoinedPart) -> dict[str, float]:
    """Return the largest of the atoms' out-of-domain scores, as a scalar of the structure; nothing where there are none."""
    keys = [key for key in part.blocks if key.endswith("/out_of_domain")]
    if not keys:
        return {}
    return {"out_of_domain": max(float(rows.max()) for key in keys for rows in part.rows(key))}


def _has_members(part: JoinedPart) -> bool:
    """Tell whether each block of H comes with what members of an ensemble differ by."""
    return all(
        len(part.blocks.get(key.replace("/hamiltonian", "/members"), ())) == len(pieces)
        for key, pieces in part.blocks.items()
        if key.endswith("/hamiltonian")
    )
