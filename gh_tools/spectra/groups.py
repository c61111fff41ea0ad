"""Groups of orbitals that states are projected on: species, shells, atoms, layers, spins, bins along a direction.

Whatever the groups are, the weight of a group in a state is the sum of the weights of its orbitals, Mulliken's or
Löwdin's. Groups are a partition: each orbital belongs to one of them, or is divided among several, so that weights add up
to those of all orbitals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from jaxtyping import Float, Int

from gh_tools.errors import DataError, UsageError
from gh_tools.files import read_text
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.config import PROJECTS, DosConfig, ProjectedConfig
from gh_tools.spectra.positions import along, bins, layers, stacking
from gh_tools.spectra.projection import Projection

# What atoms are called that are in no group.
REST = "rest"
_SHELLS = "spdfghiklm"


@dataclass(frozen=True)
class Groups:
    """A partition of the orbitals of a structure.

    Attributes:
        names: of the groups.
        belongs: sparse matrix [groups, orbitals], the part of each orbital that belongs to each group: one for all spin
            channels, or one for each.
        atoms: number of atoms in each group, where an atom of which a part belongs to it counts by this part.
        method: by which a state is divided among orbitals, ``mulliken`` or ``lowdin``.
        position: middle of each group along a direction, Å; None where groups are not bins.
        spacing: of these middles, Å.
        direction: along which these lie.
        center: mean coordinate of the groups' atoms along a direction, Å; None where none was asked for.
    """

    names: tuple[str, ...]
    belongs: tuple[scipy.sparse.csr_array, ...]
    atoms: Float[np.ndarray, " groups"]
    method: Projection = "mulliken"
    position: Float[np.ndarray, " groups"] | None = None
    spacing: float = 1.0
    direction: str = ""
    center: Float[np.ndarray, " groups"] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def of(
        self, orbitals: Float[np.ndarray, "orbitals states"], spin: int = 0
    ) -> Float[np.ndarray, "groups states"]:
        """Return the weight of each group in each state, the sum of those of its orbitals.

        Args:
            orbitals: weights of the orbitals in states of one spin channel.
            spin: that channel.
        """
        return self.belongs[spin % len(self.belongs)] @ orbitals


def parse_project(text: str) -> dict[str, Any]:
    """Return the keys ``project`` and ``groups`` of a configuration that an option means.

    Args:
        text: one of `PROJECTS`; groups of elements as ``W+Se,Hf+O`` or ``oxide=Hf+O,W+Se``; a file of JSON that names
            atoms or elements by group; or a file of text with the name of each atom's group, a line an atom.

    Raises:
        NoInputError: a file cannot be read.
        UsageError: it is none of these.
    """
    if text in PROJECTS:
        return {"project": text}
    if Path(text).is_file():
        groups, atoms = _read_groups(Path(text))
        return {"project": "groups", "groups": groups, "group_atoms": atoms}
    chosen: dict[str, list[int | str]] = {}
    for part in text.split(","):
        name, _, symbols = part.rpartition("=")
        elements = [symbol.strip() for symbol in symbols.split("+")]
        if any(atomic_numbers.get(symbol, 0) == 0 for symbol in elements):
            raise UsageError(
                f"--project {text}: expected one of {', '.join(k for k in PROJECTS if k != 'groups')}, groups of "
                f"elements as W+Se,oxide=Hf+O, or a file of groups; {part!r} is none"
            )
        chosen[name.strip() or symbols.strip()] = list(elements)
    return {"project": "groups", "groups": chosen}


def _read_groups(file: Path) -> tuple[dict[str, list[int | str]], int | None]:
    """Return groups, and the number of atoms that the file is for, if it has a line for each."""
    text = read_text(file, "file of groups")
    if file.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{file}: not valid JSON: {error}") from None
        if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
            raise UsageError(
                f'{file}: expected lists of atoms or elements by group, as {{"oxide": ["Hf", "O"], "edge": [0, 1]}}'
            )
        return found, None
    groups: dict[str, list[int | str]] = {}
    for atom, name in enumerate(text.splitlines()):
        if not name.strip():
            raise UsageError(
                f"{file}: line {atom + 1}: expected the name of the group of atom {atom}, found an empty line"
            )
        groups.setdefault(name.strip(), []).append(atom)
    return groups, len(text.splitlines())


def groups_of(hamiltonian: Hamiltonian, config: ProjectedConfig) -> Groups:
    """Return the groups that a configuration asks for, and where they lie along its direction if it has one.

    Args:
        hamiltonian: H(R) and S(R), of spinors where they are to be.
        config: what to project on, and by which method.

    Raises:
        DataError: the structure has no such groups.
    """
    found = _groups_of(hamiltonian, config)
    if config.along is None:
        return found
    coordinate = along(hamiltonian.atoms, config.along).coordinate[_owner(hamiltonian)]
    belongs = found.belongs[0]
    count = np.maximum(belongs @ np.ones(len(coordinate)), 1.0)  # of the other spin none
    return replace(found, center=belongs @ coordinate / count)


def _groups_of(hamiltonian: Hamiltonian, config: ProjectedConfig) -> Groups:
    numbers = hamiltonian.atoms.numbers
    project, method = config.project, config.projection
    if project == "spin":
        return _spins(hamiltonian, method)
    if project == "shell":
        return _shells(hamiltonian, method)
    if project == "atom":
        return atoms_of(hamiltonian, method)
    if project == "layer":
        line = along(hamiltonian.atoms, config.along or stacking(hamiltonian.atoms))
        found = layers(line, config.layer_gap)
        names = [f"{n} {_formula(numbers[part])}" for n, part in enumerate(found, 1)]
        return _of_atoms(hamiltonian, dict(zip(names, found, strict=True)), method)
    if project == "groups":
        if config.group_atoms not in (None, len(numbers)):
            raise DataError(
                f"groups: expected a structure of {config.group_atoms} atoms, as many as the file of groups has lines, "
                f"found {len(numbers)} atoms; give it a line for each atom"
            )
        return _of_atoms(hamiltonian, _chosen(numbers, config.groups), method)
    members = {chemical_symbols[z]: np.flatnonzero(numbers == z) for z in np.unique(numbers)}
    return _of_atoms(hamiltonian, members, method)


def check_elements(config: ProjectedConfig, numbers: Iterable[int], where: str) -> None:
    """Raise `DataError` if groups name an element that is none of those present.

    Args:
        config: that may have groups.
        numbers: atomic numbers present.
        where: what is looked at, for the message.
    """
    present = {chemical_symbols[number] for number in numbers}
    for name, members in config.groups.items():
        for member in members:
            if isinstance(member, str) and member not in present:
                raise DataError(
                    f"{where}: there is no {member}, which group {name} names; expected some of "
                    f"{', '.join(sorted(present))}"
                )


def atoms_of(hamiltonian: Hamiltonian, method: Projection) -> Groups:
    """Return each atom as a group, named by its element and its index from 0.

    Args:
        hamiltonian: H(R) and S(R).
        method: by which states are divided among orbitals.
    """
    names = atom_names(hamiltonian.atoms.numbers)
    members = {name: np.array([atom]) for atom, name in enumerate(names)}
    return _of_atoms(hamiltonian, members, method)


def atom_names(numbers: Int[np.ndarray, " atoms"]) -> list[str]:
    """Return the element and the index from 0 of each atom, as ``Se12``."""
    return [f"{chemical_symbols[z]}{atom}" for atom, z in enumerate(numbers)]


def bins_of(hamiltonian: Hamiltonian, config: DosConfig) -> Groups:
    """Return bins along a direction as groups: each atom belongs to the bins about it by a Gaussian of the configuration's width.

    Args:
        hamiltonian: H(R) and S(R).
        config: direction, spacing of the bins and width of the Gaussians.

    Raises:
        DataError: the structure does not repeat along the direction.
    """
    assert config.along is not None
    line = along(hamiltonian.atoms, config.along)
    middle, spacing, parts = bins(line, config.position_spacing, config.position_width)
    return Groups(
        tuple(f"{position:.3f}" for position in middle),
        (scipy.sparse.csr_array(parts[:, _owner(hamiltonian)]),),
        parts.sum(axis=1),
        config.projection,
        middle,
        spacing,
        config.along,
    )


def _spins(hamiltonian: Hamiltonian, method: Projection) -> Groups:
    names, n = ("spin up", "spin down"), hamiltonian.n_orbitals
    atoms = np.full(2, float(len(hamiltonian.atoms)))
    if hamiltonian.spinor:
        half = hamiltonian.orbitals_of_atoms // 2
        down = np.concatenate([np.repeat([0, 1], size) for size in half]).astype(bool)
        return Groups(
            names, (scipy.sparse.csr_array(np.stack([~down, down]).astype(float)),), atoms, method
        )
    if hamiltonian.n_spins == 2:
        both = np.eye(2)[:, :, None] * np.ones(n)
        return Groups(names, tuple(scipy.sparse.csr_array(one) for one in both), atoms, method)
    raise DataError(
        "project: spin: H has no spin: spins are paired; label with spins, or add --soc"
    )


def _shells(hamiltonian: Hamiltonian, method: Projection) -> Groups:
    """Return the orbitals of one species and degree l as groups; several radial functions are one group."""
    numbers, basis = hamiltonian.atoms.numbers, hamiltonian.basis
    names: list[str] = []
    counts: list[float] = []
    rows = np.empty(hamiltonian.n_orbitals, dtype=np.int64)
    starts = hamiltonian.orbital_ptr[:-1]
    for z in np.unique(numbers):
        degrees = np.repeat(basis[z].degrees, [2 * degree + 1 for degree in basis[z].degrees])
        degrees = np.tile(degrees, 2 if hamiltonian.spinor else 1)
        atoms = starts[numbers == z]
        for degree in np.unique(degrees):
            rows[(atoms[:, None] + np.flatnonzero(degrees == degree)).ravel()] = len(names)
            names.append(f"{chemical_symbols[z]} {_SHELLS[degree]}")
            counts.append(float(len(atoms)))
    return Groups(tuple(names), (_indicator(rows, len(names)),), np.array(counts), method)


def _of_atoms(
    hamiltonian: Hamiltonian, members: Mapping[str, Int[np.ndarray, " _"]], method: Projection
) -> Groups:
    group = np.empty(len(hamiltonian.atoms), dtype=np.int64)
    for row, atoms in enumerate(members.values()):
        group[atoms] = row
    counts = np.array([float(len(atoms)) for atoms in members.values()])
    belongs = _indicator(group[_owner(hamiltonian)], len(members))
    return Groups(tuple(members), (belongs,), counts, method)


def _chosen(
    numbers: Int[np.ndarray, " atoms"], groups: Mapping[str, Sequence[int | str]]
) -> dict[str, Int[np.ndarray, " _"]]:
    """Return the atoms of each group that are there; those in none are the group `REST`.

    Raises:
        DataError: an atom is in two groups, or there is none of its index.
    """
    owner: list[str | None] = [None] * len(numbers)
    for name, members in groups.items():
        for member in members:
            if isinstance(member, str):
                chosen = np.flatnonzero(numbers == atomic_numbers[member]).tolist()
            elif member < len(numbers):
                chosen = [member]
            else:
                raise DataError(
                    f"groups: {name}: there is no atom {member}; the structure has {len(numbers)} atoms, from 0"
                )
            for atom in chosen:
                if owner[atom] not in (None, name):
                    raise DataError(
                        f"groups: atom {atom} ({chemical_symbols[numbers[atom]]}) is in {owner[atom]} and in {name}; "
                        "put each atom into one group"
                    )
                owner[atom] = name
    found = {}
    for wanted in (*groups, None):
        atoms = np.flatnonzero([one == wanted for one in owner])
        if len(atoms):
            found[REST if wanted is None else wanted] = atoms
    return found


def _owner(hamiltonian: Hamiltonian) -> Int[np.ndarray, " orbitals"]:
    counts = hamiltonian.orbitals_of_atoms
    return np.repeat(np.arange(len(counts)), counts)


def _indicator(group: Int[np.ndarray, " orbitals"], count: int) -> scipy.sparse.csr_array:
    """Return 1 where an orbital is of a group, else 0."""
    n = len(group)
    return scipy.sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(count, n))


def _formula(numbers: Int[np.ndarray, " atoms"]) -> str:
    symbols = "".join(chemical_symbols[z] for z in numbers)
    return Formula(symbols).reduce()[0].format("metal")
