"""Structures and their design variables, in memory and in stores."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import ase
import numpy as np
from jaxtyping import Float, Num

from gh_tools.errors import DataError
from gh_tools.orbitals.geometry import structure_fault
from gh_tools.store.io import write_arrays
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store, open_store

# Kinds of stores that carry structures.
KINDS = ("structures", "hamiltonians", "overlap", "spectra")

CHARGE = "charge"  # the column that says how many electrons a structure lacks
_CHARGE_UNITS = ("", "1", "e", "|e|")


@dataclass
class Column:
    """A design variable: one value for each structure.

    Attributes:
        values: the values; NaN where a structure has none.
        unit: such as ``1/cm^2``; empty for pure numbers.
        description: what it is.
    """

    values: Num[np.ndarray, " n"]
    unit: str = ""
    description: str = ""


@dataclass
class Structures:
    """Atomic structures with unique names and design variables.

    Attributes:
        atoms: the structures.
        names: a name for each.
        columns: design variables by name.
        source: the store that they were read from, for messages.
    """

    atoms: list[ase.Atoms]
    names: list[str]
    columns: dict[str, Column] = field(default_factory=dict)
    source: str = "structures"

    def __post_init__(self):
        if len(set(self.names)) != len(self.names) or len(self.names) != len(self.atoms):
            raise DataError("structures need unique names, one each; rename those that repeat")

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers present, ascending."""
        return tuple(sorted({int(z) for atoms in self.atoms for z in np.unique(atoms.numbers)}))

    @property
    def charges(self) -> Float[np.ndarray, " n"]:
        """Charge of each structure in |e|: its column ``charge``, or zero without one.

        Raises:
            DataError: the column is in another unit, or holds no finite number for a structure.
        """
        if CHARGE not in self.columns:
            return np.zeros(len(self))
        column = self.columns[CHARGE]
        if column.unit not in _CHARGE_UNITS:
            raise DataError(
                f"{self.source}: column/{CHARGE}: expected charges in units of |e|, found the unit {column.unit!r}; "
                "convert them, or name the column otherwise if it is no charge of the structures"
            )
        charges = np.asarray(column.values, dtype=np.float64)
        for index in np.flatnonzero(~np.isfinite(charges)):
            raise DataError(
                f"{self.source}: column/{CHARGE}: expected the charge of each structure in |e|, found "
                f"{charges[index]} for {self.names[index]!r}; give it one"
            )
        return charges

    def with_charges(self, charges: Float[np.ndarray, " n"]) -> Structures:
        """Return the same structures with a column ``charge``, in |e|."""
        column = Column(np.asarray(charges, np.float64), "|e|", "charge of the structure")
        return replace(self, columns={**self.columns, CHARGE: column})

    def select(self, indices: Iterable[int]) -> Structures:
        """Return some of the structures, in the order given."""
        indices = [int(index) for index in indices]
        return Structures(
            [self.atoms[index] for index in indices],
            [self.names[index] for index in indices],
            {
                name: Column(np.asarray(column.values)[indices], column.unit, column.description)
                for name, column in self.columns.items()
            },
            self.source,
        )


def unique_names(names: Sequence[str]) -> list[str]:
    """Number the second and later structures of one name, ``NAME.1`` and so on, so that each has its own."""
    unique: dict[str, None] = {}
    repeats: Counter[str] = Counter()
    for name in names:
        candidate = name
        while candidate in unique:
            repeats[name] += 1
            candidate = f"{name}.{repeats[name]}"
        unique[candidate] = None
    return list(unique)


def structure_arrays(structures: Structures) -> dict[str, np.ndarray]:
    """Return structures as the flat arrays of a store."""
    atoms = structures.atoms
    counts = [len(a) for a in atoms]
    return {
        "structures/atom_ptr": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        "structures/cell": np.array([a.cell.array for a in atoms]).reshape(-1, 3, 3),
        "structures/pbc": np.array([a.pbc for a in atoms], dtype=bool).reshape(-1, 3),
        "structures/name": np.array(structures.names, dtype=np.dtypes.StringDType()),
        "atoms/number": np.concatenate([a.numbers for a in atoms] or [[]]).astype(np.int32),
        "atoms/position": np.concatenate([a.positions for a in atoms] or [np.zeros((0, 3))]),
        **{f"column/{name}": np.asarray(c.values) for name, c in structures.columns.items()},
    }


def column_attributes(structures: Structures) -> dict[str, Mapping[str, str]]:
    """Return the array attributes that belong to `structure_arrays`."""
    return {
        f"column/{name}": {"unit": column.unit, "description": column.description}
        for name, column in structures.columns.items()
    }


def write_structures(
    path: Path | str,
    structures: Structures,
    provenance: Provenance,
    overwrite: bool = False,
    resume: bool = False,
) -> Path:
    """Write a store of kind ``structures``; errors are those of `write_arrays`.

    Args:
        path: of the store.
        structures: atoms, names, columns and labels.
        provenance: the command, its options and inputs.
        overwrite: replace a store of ours that is there.
        resume: leave one that the same command made as it is.
    """
    return write_arrays(
        path,
        "structures",
        structure_arrays(structures),
        provenance=provenance,
        array_attributes=column_attributes(structures),
        overwrite=overwrite,
        resume=resume,
    )


def read_structures(source: Store | Path | str) -> Structures:
    """Read the structures of any store that carries them.

    Raises:
        NoInputError: there is no such store.
        DataError: it is broken or carries no structures, or one of them cannot be computed.
    """
    store = source if isinstance(source, Store) else open_store(source, KINDS)
    pointer = store["structures/atom_ptr"]
    number, position = store["atoms/number"], store["atoms/position"]
    cell, pbc = store["structures/cell"], store["structures/pbc"]
    atoms = [
        ase.Atoms(number[start:stop], position[start:stop], cell=cell[index], pbc=pbc[index])
        for index, (start, stop) in enumerate(itertools.pairwise(pointer))
    ]
    names = [str(name) for name in store["structures/name"]]
    for name, structure in zip(names, atoms, strict=True):
        check_structure(structure, f"{store.path}: structure {name!r}")
    columns = {}
    for name in store.group_names("column"):
        key = f"column/{name}"
        description = str(store.array_attributes(key).get("description", ""))
        columns[name] = Column(store[key], store.unit(key), description)
    return Structures(atoms, names, columns, str(store.path))


def check_structure(atoms: ase.Atoms, where: str) -> None:
    """Make sure that a structure can be computed; see `gh_tools.orbitals.geometry.structure_fault`.

    Args:
        atoms: the structure.
        where: what an error names, such as file and structure.

    Raises:
        DataError: it has no atoms, an unknown element, coordinates that are not finite, a cell that does not
            span its periodic directions, or coincident atoms.
    """
    fault = structure_fault(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if fault is not None:
        raise DataError(f"{where}: {fault}")
