"""gh-tools from Python: stores as objects, predictions without files.

```python
import gh_tools as gh

labels = gh.open("wse2.hamiltonians.zarr")
labels[0].eigenvalues([(0, 0, 0)])
prediction = gh.Model("wse2.model.zarr")(atoms)
```
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
import scipy.sparse
from jaxtyping import Float, Shaped

from gh_tools.errors import DataError
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import CHARGE, Structures, read_structures
from gh_tools.store.summary import summarize
from gh_tools.store.text import render

if TYPE_CHECKING:
    import pandas
    import xarray

    from gh_tools.orbitals.blocks import Hamiltonian
    from gh_tools.spectra.bands import BandStructure
    from gh_tools.trained_model.domain import Domain


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
        return render(summarize(self._store))

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
                f"{self.path}: has {len(self)} structures, number {structure} is not there"
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
        blocks = HamiltonianReader(self._store).read(index)
        blocks.atoms.info.update(self.atoms[index].info)
        return Matrices(blocks, self.names[index])


class SpectraSet(StructureSet):
    """A store of kind ``spectra``: structures, their scalars in `table`, and densities of states."""

    def dos(self) -> xarray.Dataset:
        """Return the densities of states, in states/eV against E - E_F in eV.

        Variables ``total`` (name, energy) and ``projected`` (species, name, energy), where name is that of the structure.
        """
        import xarray
        from ase.data import chemical_symbols

        from gh_tools.spectra.store import read_spectra

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


class Matrices:
    """H(R) and S(R) of one structure, and what follows from them.

    Attributes:
        atoms: the structure, wrapped into its cell.
        name: of the structure.
        blocks: H and S by species and species pair.
        scalars: numbers that came with it, such as ``fermi_level`` (eV) of labels.
    """

    def __init__(self, blocks: Hamiltonian, name: str = ""):
        self.blocks, self.name = blocks, name
        self.atoms, self.scalars = blocks.atoms, dict(blocks.scalars)

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals: rows of H(k)."""
        return self.blocks.n_orbitals

    def H(
        self, k: Sequence[float] = (0, 0, 0), spin: int = 0, sparse: bool = False
    ) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array:
        """Return the Hamiltonian matrix at a k-point, in eV.

        It is the Bloch sum H(k) = Σ_R exp(2πi k·R) H(R).

        Args:
            k: in units of the reciprocal lattice vectors.
            spin: which spin channel.
            sparse: return a CSR array in place of a dense one.
        """
        from gh_tools.orbitals.bloch import bloch_matrix

        return bloch_matrix(
            self.blocks, np.asarray(k, dtype=float), "hamiltonian", spin, sparse=sparse
        )

    def S(
        self, k: Sequence[float] = (0, 0, 0), sparse: bool = False
    ) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array:
        """Return the overlap at a k-point, a Bloch sum as that of `H`."""
        from gh_tools.orbitals.bloch import bloch_matrix

        return bloch_matrix(self.blocks, np.asarray(k, dtype=float), "overlap", sparse=sparse)

    def eigenvalues(
        self, kpoints: Sequence[Sequence[float]] = ((0, 0, 0),)
    ) -> Float[np.ndarray, "spins kpoints bands"]:
        """Return all solutions ε of H(k) c = ε S(k) c, in eV, ascending.

        Args:
            kpoints: in units of the reciprocal lattice vectors.

        Raises:
            DataError: S(k) is not positive definite.
        """
        from gh_tools.spectra.eigen import solve
        from gh_tools.spectra.kpoints import KPoints

        points = np.asarray(kpoints, dtype=float).reshape(-1, 3)
        weights = np.full(len(points), 1 / len(points))
        return solve(self.blocks, KPoints(points, weights), projected=False).energies

    def with_spin_orbit(self) -> Matrices:
        """Return H with spin–orbit coupling and S, for spinors: 2 n_orbitals rows, and one electron in each state.

        The coupling is that of the PAW setups of the basis. Rows of each atom are its orbitals with spin up, then those
        with spin down.

        Raises:
            DataError: the basis has no PAW setups, or not those of this machine.
        """
        from gh_tools.dft.spin_orbit import with_spin_orbit

        return Matrices(with_spin_orbit(self.blocks), self.name)

    def bands(self, path: str | None = None, points: int = 200, **settings: Any) -> BandStructure:
        """Return the bands along a path.

        Args:
            path: names of points of high symmetry, such as "GMKG"; None for the lattice's own path.
            points: number of k-points on the path.
            **settings: keys of the configuration of `gh-bands`, such as ``kpts=(6, 6, 1)`` for the Fermi level.
        """
        from gh_tools.spectra.bands import band_path, band_structure
        from gh_tools.spectra.config import SamplingConfig

        config = SamplingConfig(**settings)
        return band_structure(self.blocks, band_path(self.atoms, path, points), config)

    def dos(self, **settings: Any) -> xarray.DataArray:
        """Return the density of states by species, in states/eV against E - E_F in eV.

        Args:
            **settings: keys of the configuration of `gh-dos`, such as ``kpts=(6, 6, 1), width=0.1``.

        Returns:
            Dimensions (species, energy); ``attrs`` hold the scalars, such as ``fermi_level`` and ``band_gap`` in eV.
        """
        import xarray
        from ase.data import chemical_symbols

        from gh_tools.spectra.config import DosConfig
        from gh_tools.spectra.dos import energy_grid
        from gh_tools.spectra.spectrum import compute_spectrum
        from gh_tools.spectra.window import whole_window

        config = whole_window(DosConfig(**settings), [self.blocks])
        assert config.window is not None
        spectrum = compute_spectrum(self.blocks, config)
        return xarray.DataArray(
            spectrum.density,
            {
                "species": [chemical_symbols[z] for z in spectrum.eigenvalues.species],
                "energy": energy_grid(config.window, config.points),
            },
            ("species", "energy"),
            "dos",
            {"units": "states/eV", **spectrum.scalars},
        )

    def __repr__(self) -> str:
        spins = " of two spins" if self.blocks.n_spins == 2 else ""
        spins = " of spinors" if self.blocks.spinor else spins
        called = f"{self.name}: " if self.name else ""
        return f"<{called}H and S{spins} of {self.atoms.get_chemical_formula()}, {self.n_orbitals} orbitals>"


class Model(Opened):
    """A trained model. Called with atoms, it predicts H and computes S."""

    def __init__(self, model: Store | Path | str):
        super().__init__(model if isinstance(model, Store) else open_store(model, "model"))

    def __repr__(self) -> str:
        from gh_tools.training.model_summary import render_model, summarize_model

        return render_model(summarize_model(self._store))

    @cached_property
    def domain(self) -> Domain | None:
        """What it was trained on; ``domain.departures(atoms)`` says where a structure leaves it.

        None of a model of an earlier version, which does not tell.
        """
        from gh_tools.trained_model.outside import read_domain, warn_unknown

        found = read_domain(self._store)
        if found is None:
            warn_unknown(self._store)
        return found

    @cached_property
    def _predictor(self) -> Any:
        from gh_tools.inference.predict import Predictor
        from gh_tools.trained_model.store import load_model

        return Predictor(load_model(self._store))

    def __call__(self, atoms: ase.Atoms) -> Matrices:
        """Predict a structure.

        Args:
            atoms: the structure; lengths in Å. ``atoms.info["charge"]`` is its charge in |e|; without it, that of the
                labels that the model was trained with.

        Returns:
            H(R) in eV and S(R), in single precision as `gh-infer` stores them.

        Raises:
            DataError: the structure cannot be computed, the model does not know an element of it, its charge is not
                known, or its energies would count from another zero of the potential than those of the labels.
        """
        from gh_tools.inference.checks import charged_like
        from gh_tools.inference.structure import StructureWork
        from gh_tools.overlap.source import overlap_source
        from gh_tools.store.structures import check_structure
        from gh_tools.trained_model.outside import check_zero, warn_outside

        check_structure(atoms, atoms.get_chemical_formula())
        basis = self._predictor.basis
        basis.check_covers(atoms.numbers, atoms.get_chemical_formula())
        if self.domain is not None:
            check_zero(self._store, self.domain, _single(atoms))
            warn_outside(self.domain, _single(atoms))
        charge = float(charged_like(self._store, _single(atoms)).charges[0])
        work = StructureWork(
            self._predictor, overlap_source(basis, atoms.numbers), atoms, np.inf, charge
        )
        blocks = work.blocks(0, range(1))
        blocks.scalars.update(work.head().scalars)
        return Matrices(blocks, str(atoms.info.get("name", "")))


_KINDS: dict[str, type[Opened]] = {
    "structures": StructureSet,
    "hamiltonians": HamiltonianSet,
    "spectra": SpectraSet,
    "model": Model,
}


def open(path: Path | str) -> Any:
    """Open any store of gh-tools.

    Args:
        path: of the store.

    Returns:
        A `StructureSet`, `HamiltonianSet`, `SpectraSet` or `Model`; of all other kinds an `Opened`.

    Raises:
        NoInputError: there is no such store.
        DataError: it is broken, or no store of gh-tools.
    """
    store = open_store(path)
    return _KINDS.get(store.kind, Opened)(store)


def _single(atoms: ase.Atoms) -> Structures:
    """Return one structure with its charge, if ``info`` tells it."""
    formula = atoms.get_chemical_formula()
    found = Structures([atoms], [str(atoms.info.get("name", formula))], source="atoms")
    if CHARGE not in atoms.info:
        return found
    try:
        return found.with_charges(np.array([float(atoms.info[CHARGE])]))
    except (TypeError, ValueError):
        raise DataError(
            f"{formula}: info[{CHARGE!r}]: expected a charge in |e|, found {atoms.info[CHARGE]!r}; give a number"
        ) from None


def label(atoms: ase.Atoms, text: Path | str = "/dev/null", **settings: Any) -> Matrices:
    """Compute H(R) and S(R) of a structure with GPAW.

    Args:
        atoms: the structure; lengths in Å. ``atoms.info["charge"]`` is its charge in |e|, if it has any.
        text: file for GPAW's own text.
        **settings: keys of the configuration of `gh-label`, such as ``kpts=(3, 3, 1), setups={"W": "6"}``.

    Returns:
        The labels; ``scalars`` hold ``fermi_level`` and ``energy`` in eV, and more.

    Raises:
        DataError: the structure cannot be computed, or the calculation did not converge.
    """
    from gh_tools.dft import scf
    from gh_tools.dft.basis_sets import basis_table
    from gh_tools.dft.charged import charged
    from gh_tools.dft.config import LabelConfig
    from gh_tools.store.structures import check_structure

    check_structure(atoms, atoms.get_chemical_formula())
    config = LabelConfig(**settings)
    basis = basis_table(config, atoms.numbers)
    charge = float(charged(_single(atoms), config.charge, basis).charges[0])
    blocks = scf.label(atoms, config.model_copy(update={"charge": charge}), basis, text)
    if blocks is None:
        raise DataError("under MPI only the first process gets labels; use gh-label there")
    return Matrices(blocks, str(atoms.info.get("name", "")))
