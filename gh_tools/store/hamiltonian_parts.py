"""How H and S of a structure stand in the parts of an unfinished store: in one, or in pieces that are read as one."""

from __future__ import annotations

from collections.abc import Iterator

import ase
import numpy as np

from gh_tools.orbitals.blocks import MATRICES, Hamiltonian
from gh_tools.store.io import row_axis
from gh_tools.store.parts import Parts, StoredArray

_SLICE = 2**22  # elements of an array that are read at once to be joined


class JoinedPart:
    """One finished structure of a store in the making, whose pieces are read as if they were one."""

    def __init__(self, parts: Parts, index: int):
        self._parts, self._index = parts, index
        with parts.open_part(index) as part:
            self.atoms = ase.Atoms(
                part["number"], part["position"], cell=part["cell"], pbc=part["pbc"]
            )
            self.scalars = {
                key.removeprefix("scalar/"): float(part[key])
                for key in part
                if key.startswith("scalar/")
            }
            pieces = range(int(part["pieces"])) if "pieces" in part else [None]
        # By path: where the rows are, piece by piece
        self.blocks: dict[str, list[tuple[int | None, StoredArray]]] = {}
        for piece in pieces:
            for key, array in parts.arrays(index, piece).items():
                if key.split("/")[0] in ("onsite", "pairs", "bands") and 0 not in array.shape:
                    self.blocks.setdefault(key, []).append((piece, array))

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of an array of all pieces; None where there is none."""
        if key not in self.blocks:
            return None
        shapes = [array.shape for _, array in self.blocks[key]]
        axis = row_axis(shapes[0])
        return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])

    def rows(self, key: str) -> Iterator[np.ndarray]:
        """Yield an array in slices: sorted by atom, as if the structure had been written whole."""
        shape = self.shape(key)
        assert shape is not None  # only arrays that are there are asked for
        axis = row_axis(shape)
        most = max(1, _SLICE // (int(np.prod(shape)) // shape[axis]))
        if len(self.blocks[key]) == 1:
            for start in range(0, shape[axis], most):
                yield self._read(*self.blocks[key][0], slice(start, start + most), axis)
            return
        # An atom is of one piece, where its rows are in order.
        group = key.rsplit("/", 1)[0]
        owner = f"{group}/atom" if f"{group}/atom" in self.blocks else f"{group}/i"
        owners = [self._read(*place, slice(None), 0) for place in self.blocks[owner]]
        total = np.cumsum(np.bincount(np.concatenate(owners)))
        first = 0
        while first < len(total):
            before = total[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(total, before + most, side="right")))
            slices = [slice(*np.searchsorted(atom, [first, last])) for atom in owners]
            found = [
                (atom[rows], self._read(*place, rows, axis))
                for atom, rows, place in zip(owners, slices, self.blocks[key], strict=True)
                if rows.start < rows.stop
            ]
            if found:
                atom, values = zip(*found, strict=True)
                order = np.argsort(np.concatenate(atom), kind="stable")
                yield np.take(np.concatenate(values, axis=axis), order, axis=axis)
            first = last

    def _read(self, piece: int | None, array: StoredArray, rows: slice, axis: int) -> np.ndarray:
        return self._parts.read_rows(self._index, piece, array, rows, axis)


def pointer_key(key: str) -> str | None:
    """Return the path of the offsets that go with an array; None where another one of its group carries them."""
    owners = {"atom": "ptr", "i": "ptr", "weight": "kpoint_ptr", "eigenvalue": "eigenvalue_ptr"}
    group, name = key.rsplit("/", 1)
    return f"{group}/{owners[name]}" if name in owners else None


def hamiltonian_to_part(hamiltonian: Hamiltonian) -> dict[str, np.ndarray]:
    """Return one structure's Hamiltonian as the flat arrays of a part."""
    atoms = hamiltonian.atoms
    arrays = {
        "number": atoms.numbers.astype(np.int32),
        "position": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
        **_blocks(hamiltonian),
    }
    for name, value in hamiltonian.scalars.items():
        arrays[f"scalar/{name}"] = np.float64(value)
    if hamiltonian.bands is not None:
        arrays["bands/kpoint"] = hamiltonian.bands.kpoint
        arrays["bands/weight"] = hamiltonian.bands.weight
        arrays["bands/eigenvalue"] = hamiltonian.bands.eigenvalue.ravel()
    return arrays


def write_piece(parts: Parts, index: int, piece: int, hamiltonian: Hamiltonian) -> None:
    """Write a piece of a structure: on-site blocks of some atoms, and pairs that begin at these.

    Args:
        parts: of the store in the making.
        index: of the structure.
        piece: number of the piece, from 0.
        hamiltonian: the blocks.
    """
    parts.write_part(index, _blocks(hamiltonian), piece)


def _blocks(hamiltonian: Hamiltonian) -> dict[str, np.ndarray]:
    arrays = {}
    for key, blocks in hamiltonian.groups():
        prefix = f"onsite/{key}" if isinstance(key, int) else f"pairs/{key[0]}-{key[1]}"
        for field, values in vars(blocks).items():
            if values is None:
                continue
            if field not in (*MATRICES, "out_of_domain"):
                values = values.astype(np.int32)
            elif np.iscomplexobj(values):  # of spinors
                values = np.stack([values.real, values.imag])
            arrays[f"{prefix}/{field}"] = values
    return arrays
