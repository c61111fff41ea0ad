"""A given structure made a random one: supercell, strain, vacancies, substitution, adsorbates, displacements.

The steps come in this order: standard cell, periodicity and vacuum, supercell, strain, vacancies, substitutions,
adsorbates, displacements. All that is random is drawn in the same order.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from gh_tools.errors import DataError
from gh_tools.structures.adsorption import adsorb, adsorbate
from gh_tools.structures.modify import Amount, make_vacancies, rattle, strain, substitute_atoms
from gh_tools.structures.recipe import Quantity
from gh_tools.structures.supercells import Limits, primitive_counts, random_supercell, supercell

Row = tuple[int, int, int]


class Transformations(BaseModel):
    """Options of the changes to a given structure; without any the structure stays as it is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    standardize: Literal["primitive", "conventional"] | None = None
    """Take the primitive or the conventional cell of the crystal first, as spglib finds it."""
    pbc: tuple[bool, bool, bool] | None = None
    """Periodic directions, where the file does not say them right: [true, true, false] of a layer."""
    vacuum: PositiveFloat | None = None
    """Empty space on both sides along directions that are not periodic, in Å."""
    size: (
        tuple[PositiveInt, PositiveInt, PositiveInt]
        | tuple[Row, Row, Row]
        | Literal["varied"]
        | None
    ) = None
    """The supercell: three numbers of cells, a matrix whose rows are supercell vectors in units of the cell's, or
    "varied": a compact supercell of random shape for each structure, which training sets need. Varied is also the
    default where more structures are asked for than there are in the files."""
    cells: Limits = (3, 7)
    """Least and largest number of cells in a varied supercell."""
    atoms: Limits | None = None
    """Least and largest number of atoms in a varied supercell, in place of `cells`."""
    strain: float | None = Field(None, ge=0, lt=0.5)
    """Limit of the uniform random strain along x, y and z (where periodic), as a fraction."""
    shear: float | None = Field(None, ge=0, lt=0.5)
    """Limit of the uniform random shear strain in each plane of periodic directions, as a fraction."""
    vacancies: dict[str, Amount] = Field(default_factory=dict)
    """Atoms to take out, by element: a number, a rate below 1, or {poisson = mean}."""
    substitute: dict[str, dict[str, Amount]] = Field(default_factory=dict)
    """Atoms to replace, by element and new element, such as {Si = {Ge = 0.1}}: a number, a rate, or {poisson = mean}."""
    adsorb: dict[str, Amount] = Field(default_factory=dict)
    """Atoms or molecules to put above random atoms of a layer's upper surface, in random orientation: an element or a name
    of ASE's g2 set of molecules, such as {H2O = 1}; a number, a rate of the surface's atoms below 1, or {poisson = mean}."""
    height: PositiveFloat = 2.0
    """Height of an adsorbate's lowest atom above the surface's atom below it, in Å."""
    rattle: float | None = Field(None, ge=0)
    """Standard deviation of each component of the random displacements, in Å."""

    @field_validator("size", mode="before")
    @classmethod
    def _check_size(cls, size):
        rows = size if isinstance(size, (list, tuple)) else ()
        matrix = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
        numbers = all(isinstance(n, int) and not isinstance(n, bool) for row in matrix for n in row)
        fits = numbers and [len(row) for row in matrix] in ([1, 1, 1], [3, 3, 3])
        if not (size is None or size == "varied" or fits):
            raise ValueError(
                'expected three numbers of cells, as in [2,2,1], a matrix of three rows of integers, or "varied"'
            )
        return size

    @field_validator("vacancies", "substitute")
    @classmethod
    def _check_elements(cls, amounts):
        symbols = {*amounts, *(s for to in amounts.values() if isinstance(to, dict) for s in to)}
        unknown = sorted(symbols - set(chemical_symbols[1:]))
        if unknown:
            raise ValueError(f"there is no element {unknown[0]!r}")
        return amounts

    @field_validator("adsorb")
    @classmethod
    def _check_adsorbates(cls, amounts):
        for name in amounts:
            adsorbate(name)
        return amounts

    @property
    def random(self) -> bool:
        """Whether two structures of the same file can differ."""
        amounts = [
            *self.vacancies.values(),
            *(a for to in self.substitute.values() for a in to.values()),
            *self.adsorb.values(),
        ]
        return bool(
            self.size == "varied" or self.strain or self.shear or self.rattle or any(amounts)
        )


def transform(
    atoms: Atoms, options: Transformations, rng: np.random.Generator
) -> tuple[Atoms, dict[str, Quantity]]:
    """Change a structure as the options say.

    Args:
        atoms: the structure; it is not changed.
        options: what to do.
        rng: where all that is random comes from.

    Returns:
        The changed structure, and a column for each quantity that was drawn.

    Raises:
        DataError: the structure lacks what is to be changed, or has no cell to repeat.
    """
    atoms = atoms.copy()
    columns: dict[str, Quantity] = {}
    if options.standardize:
        atoms = standardized(atoms, options.standardize)
    if options.pbc is not None:
        atoms.pbc = options.pbc
    if options.vacuum is not None:
        if atoms.pbc.all():
            raise DataError(
                "vacuum is asked for, but all three directions are periodic; set pbc, as in pbc=[true,true,false]"
            )
        atoms.center(options.vacuum, axis=np.flatnonzero(~atoms.pbc).tolist())
    if options.size == "varied":
        limits = options.cells
        counts = (
            range(limits[0], limits[1] + 1)
            if options.atoms is None
            else primitive_counts(len(atoms), options.atoms)
        )
        index = int(counts[rng.integers(len(counts))])
        atoms = random_supercell(atoms, index, rng)
        columns["cells"] = Quantity(index, "", "number of cells in the supercell")
    elif options.size is not None:
        size = np.asarray(options.size)
        atoms = supercell(atoms, np.diag(size) if size.ndim == 1 else size)
    if options.strain or options.shear:
        normal, shear = (
            rng.uniform(-limit, limit, 3) for limit in (options.strain or 0, options.shear or 0)
        )
        columns |= strain(
            atoms, normal if options.strain else None, shear if options.shear else None
        )
    for symbol, amount in options.vacancies.items():
        columns |= make_vacancies(atoms, symbol, amount, rng)
    for symbol, targets in options.substitute.items():
        columns |= substitute_atoms(atoms, symbol, targets, rng)
    if options.adsorb:
        columns |= adsorb(atoms, options.adsorb, options.height, rng)
    if options.rattle:
        rattle(atoms, options.rattle, rng)
    return atoms, columns


def standardized(atoms: Atoms, cell: Literal["primitive", "conventional"]) -> Atoms:
    """Return a crystal in its primitive or conventional cell.

    Args:
        atoms: a crystal, periodic in three directions.
        cell: which of the two.

    Raises:
        DataError: it is not periodic in three directions, or spglib finds no space group.
    """
    import spglib

    if not atoms.pbc.all():
        raise DataError(
            "standardize finds the cell of crystals that are periodic in three directions, and this structure "
            f"has pbc {atoms.pbc.tolist()}; leave standardize out"
        )
    found = spglib.standardize_cell(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers),
        to_primitive=cell == "primitive",
        no_idealize=False,
        symprec=1e-3,
    )
    if found is None:
        raise DataError("spglib finds no space group of the crystal; leave standardize out")
    vectors, scaled, numbers = found
    return Atoms(numbers, scaled_positions=scaled, cell=vectors, pbc=True)
