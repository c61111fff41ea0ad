"""Writing Hamiltonians of many structures into one store, structure by structure and piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gh_tools.console import log
from gh_tools.errors import TryAgainError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonian_parts import JoinedPart, hamiltonian_to_part, pointer_key
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.io import put, put_stream, row_axis
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import (
    Structures,
    column_attributes,
    structure_arrays,
)

SCALAR_UNITS = {
    "fermi_level": "eV",
    "energy": "eV",
    "magnetic_moment": "μB",
    "eigenvalue_error": "meV",
}


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
        self.partial.write_part(index, hamiltonian_to_part(hamiltonian))

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
            index,
            {**hamiltonian_to_part(hamiltonian), "pieces": np.array(n_pieces, dtype=np.int64)},
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
