"""Stores as objects: sequences of structures, and of their Hamiltonians; tables and densities of states."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from jaxtyping import Shaped

from gh_tools.api.matrices import Matrices
from gh_tools.errors import DataError
from gh_tools.store.read import Store
from gh_tools.store.structures import CHARGE, Structures, read_structures
from gh_tools.store.summary import summarize_store
from gh_tools.store.text import render
from gh_tools.tables import counted

if TYPE_CHECKING:
    import pandas
    import xarray

    from gh_tools.spectra.local_edges import LocalDensities
    from gh_tools.spectra.localisation import States


class Opened:
    """A store of any kind: what `gh-info` shows, and its arrays by path.

    Attributes:
        path: of the store.
        kind: what it holds.
        history: how it was made, oldest entry first.
        attributes: of its root.
    """

    def __init__(self, store: Store):
        self._store = store
        self.path: Path = store.path
        self.kind: str = store.kind
        self.history: list[dict[str, Any]] = store.history
        self.attributes: dict[str, Any] = store.attributes

    def array(self, key: str) -> Shaped[np.ndarray, "..."]:
        """Return an array by its path in the store, such as ``atoms/number``.

        Raises:
            DataError: there is none of that name.
        """
        return self._store[key]

    def keys(self) -> list[str]:
        """Return the paths of all arrays."""
        return self._store.keys()

    def __repr__(self) -> str:
        return render(summarize_store(self._store))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


class StructureSet(Opened):
    """A store of kind ``structures``: a sequence of ASE atoms. Other kinds with structures extend it."""

    @cached_property
    def structures(self) -> Structures:
        """The structures with their names and design variables; atoms tell their charge as ``info["charge"]``."""
        found = read_structures(self._store)
        if CHARGE in found.columns:
            for atoms, charge in zip(found.atoms, found.charges.tolist(), strict=True):
                atoms.info[CHARGE] = charge
        return found

    @property
    def names(self) -> list[str]:
        """Names of the structures."""
        return self.structures.names

    @property
    def atoms(self) -> list[ase.Atoms]:
        """The structures; lengths in Å."""
        return self.structures.atoms

    def table(self) -> pandas.DataFrame:
        """Return design variables and scalars, a row a structure, by name.

        Units stand in ``table().attrs["units"]``, by column.
        """
        import pandas

        columns = {name: np.asarray(c.values) for name, c in self.structures.columns.items()}
        units = {name: column.unit for name, column in self.structures.columns.items()}
        for name in self._store.group_names("scalar"):
            columns[name] = self._store[f"scalar/{name}"]
            units[name] = self._store.unit(f"scalar/{name}")
        table = pandas.DataFrame(columns, index=pandas.Index(self.names, name="name"))
        table.attrs["units"] = units
        return table

    def index(self, structure: int | str) -> int:
        """Return the number of a structure from its number (also from the end) or its name.

        Raises:
            DataError: there is no such structure.
        """
        if isinstance(structure, str):
            if structure not in self.names:
                raise DataError(f"{self.path}: there is no structure of the name {structure!r}")
            return self.names.index(structure)
        if not -len(self) <= structure < len(self):
            # IndexError ends loops over a sequence.
            raise IndexError(
                f"{self.path}: has {counted(len(self), 'structure')}, number {structure} is not there"
            )
        return structure % len(self)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, structure: int | str) -> Any:
        return self.atoms[self.index(structure)].copy()

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))


class HamiltonianSet(StructureSet):
    """A store of kind ``hamiltonians``: a sequence of `Matrices`, each read when it is asked for."""

    def __getitem__(self, structure: int | str) -> Matrices:
        from gh_tools.store.hamiltonians import HamiltonianReader

        index = self.index(structure)
        blocks = HamiltonianReader(self._store, spinors=True).read(index)
        blocks.atoms.info.update(self.atoms[index].info)
        return Matrices(blocks, self.names[index])


class SpectraSet(StructureSet):
    """A store of kind ``spectra``: structures, their scalars in `table`, and densities of states."""

    def local(self, structure: int | str) -> dict[str, LocalDensities]:
        """Return densities and band edges of ``groups`` and ``positions`` of a structure; those that were not asked for are not there."""
        from gh_tools.spectra.store_local import read_local

        return read_local(self._store, self.index(structure))

    def states(self, structure: int | str) -> States | None:
        """Return the localisation of a structure's states; None if it was not asked for."""
        from gh_tools.spectra.store_local import read_states

        return read_states(self._store, self.index(structure))

    def dos(self) -> xarray.Dataset:
        """Return the densities of states, in states/eV against E - E_F in eV.

        Variables ``total`` (name, energy) and ``projected`` (species, name, energy), where name is that of the structure.
        """
        import xarray
        from ase.data import chemical_symbols

        from gh_tools.spectra.spectra import read_spectra

        spectra = read_spectra(self._store)
        axes = {"name": spectra.names, "energy": spectra.energy}
        projected = np.array(list(spectra.species.values()))
        result = xarray.Dataset(
            {
                "total": (("name", "energy"), spectra.total, {"units": "states/eV"}),
                "projected": (("species", "name", "energy"), projected, {"units": "states/eV"}),
            },
            {**axes, "species": [chemical_symbols[z] for z in spectra.species]},
        )
        result["energy"].attrs["units"] = "eV"
        return result
