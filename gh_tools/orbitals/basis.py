"""The basis: which orbitals each element carries, and all that is needed to make them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from gh_tools.errors import DataError

SpeciesPair = tuple[int, int]

# What two tables that belong together agree in, of each element that both know
_COMPARED = (
    "shells",
    "n_valence",
    "basis_name",
    "basis_text",
    "setup",
    "fingerprint",
    "hubbard",
    "code",
)
# Texts of an element, in a store arrays of their own; stores of earlier versions lack the last one
_TEXTS = ("basis_name", "basis_text", "setup", "fingerprint", "hubbard", "code")


@dataclass(frozen=True)
class Shell:
    """The 2l + 1 orbitals that share one radial function.

    Attributes:
        l: degree of the spherical harmonics.
        cutoff: radius in Å beyond which the orbitals vanish.
    """

    l: int  # noqa: E741
    cutoff: float


@dataclass(frozen=True)
class ElementBasis:
    """The orbitals of one element, with the texts and names that reproduce them on any machine.

    Attributes:
        number: atomic number.
        shells: the shells, in the order of the orbitals.
        n_valence: electrons that the PAW setup or the pseudopotential treats explicitly; NaN if nobody knows.
        basis_name: as given to GPAW, such as ``szp(dzp)``.
        basis_text: GPAW's basis file; of another program, its radial functions if they are known.
        setup: type of the PAW setup as given to GPAW (empty for the default), without Hubbard terms.
        fingerprint: of the PAW setup file.
        hubbard: Hubbard terms as given to GPAW, such as ``:d,4.5``, or empty.
        code: program, or format, that the orbitals come from; empty for GPAW. Cutoffs of another program's
            shells may be known from its matrices alone.
    """

    number: int
    shells: tuple[Shell, ...]
    n_valence: float
    basis_name: str = ""
    basis_text: str = ""
    setup: str = ""
    fingerprint: str = ""
    hubbard: str = ""
    code: str = ""

    @property
    def degrees(self) -> tuple[int, ...]:
        """Degree l of each shell."""
        return tuple(shell.l for shell in self.shells)

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals of one atom."""
        return sum(2 * degree + 1 for degree in self.degrees)

    @property
    def reach(self) -> float:
        """Largest cutoff of a shell, in Å."""
        return max(shell.cutoff for shell in self.shells)


@dataclass(frozen=True)
class Basis:
    """The basis table: one `ElementBasis` for each atomic number, in ascending order.

    Attributes:
        elements: by atomic number.
        overlap: functions of S that were fitted to matrices of another program, arrays by name, see
            `gh_tools.overlap.functions`; empty where there are none.
    """

    elements: Mapping[int, ElementBasis]
    overlap: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "elements", dict(sorted(self.elements.items())))

    def __getitem__(self, number: int) -> ElementBasis:
        return self.elements[number]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(self.elements)

    @cached_property
    def _orbital_counts(self) -> Int[np.ndarray, " numbers"]:
        counts = np.zeros(max(self.numbers, default=0) + 1, dtype=np.int64)
        for number, element in self.elements.items():
            counts[number] = element.n_orbitals
        return counts

    def n_orbitals(self, numbers: Int[np.ndarray, " atoms"]) -> Int[np.ndarray, " atoms"]:
        """Number of orbitals of each atom."""
        return self._orbital_counts[np.asarray(numbers)]

    def orbital_ptr(self, numbers: Int[np.ndarray, " atoms"]) -> Int[np.ndarray, " atoms+1"]:
        """Index of each atom's first orbital, and at the end the number of all orbitals."""
        return np.concatenate([[0], np.cumsum(self.n_orbitals(numbers))])

    def n_electrons(self, numbers: Int[np.ndarray, " atoms"], charge: float = 0.0) -> float:
        """Valence electrons of a structure: those of its neutral atoms, less its charge in |e|."""
        species, counts = np.unique(np.asarray(numbers), return_counts=True)
        return float(counts @ [self[int(number)].n_valence for number in species]) - charge

    def check_valence(self, numbers: Iterable[int]) -> None:
        """Raise `DataError` naming the elements whose valence electrons nobody has told."""
        from ase.data import chemical_symbols

        unknown = [z for z in sorted({int(n) for n in numbers}) if np.isnan(self[z].n_valence)]
        if unknown:
            names = [chemical_symbols[z] for z in unknown]
            raise DataError(
                f"the number of valence electrons of {' and '.join(names)} is not known, because the files of "
                f"{self[unknown[0]].code} do not tell it; import them again with gh-import --valence "
                + ",".join(f"{name}=N" for name in names)
            )

    def pair_range(self, zi: int, zj: int) -> float:
        """Distance in Å up to which orbitals of the two elements overlap: the sum of their reaches."""
        return self[zi].reach + self[zj].reach

    def species_pairs(self) -> tuple[SpeciesPair, ...]:
        """All (Zi, Zj) with Zi <= Zj, in lexicographic order."""
        return tuple((zi, zj) for zi in self.numbers for zj in self.numbers if zi <= zj)

    def check_covers(self, numbers: Iterable[int], where: str) -> None:
        """Raise `DataError` naming the elements of ``where`` that the table lacks."""
        from ase.data import chemical_symbols

        unknown = sorted({int(number) for number in numbers} - set(self.numbers))
        if unknown:
            names = ", ".join(chemical_symbols[number] for number in unknown)
            known = ", ".join(chemical_symbols[number] for number in self.numbers)
            raise DataError(f"{where}: no basis is known for {names}, only for {known}")

    def check_same(self, other: Basis, where: str) -> None:
        """Raise `DataError` if an element of both tables differs: H and S would not belong together."""
        from ase.data import chemical_symbols

        for number in set(self.numbers) & set(other.numbers):
            for name in _COMPARED:
                expected, found = getattr(self[number], name), getattr(other[number], name)
                if not _agree(self[number], other[number], name):
                    mend = "label all data with the same basis and setups"
                    if self[number].code or other[number].code:
                        mend = "put data of different bases or programs into stores of their own"
                    raise DataError(
                        f"{where}: the basis of {chemical_symbols[number]} differs in {name}: "
                        f"expected {_shorten(expected)}, found {_shorten(found)}; {mend}"
                    )

    def merge(self, other: Basis, where: str) -> Basis:
        """Return the union of two tables; raise `DataError` where they contradict each other."""
        self.check_same(other, where)
        both = {z: _joined(self[z], other[z]) for z in set(self.numbers) & set(other.numbers)}
        overlap = self.overlap or other.overlap
        return Basis({**self.elements, **other.elements, **both}, overlap)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the table as the flat arrays of a store's ``basis`` group."""
        rows = [
            (number, index, shell.l, shell.cutoff)
            for number, element in self.elements.items()
            for index, shell in enumerate(element.shells)
        ]
        number, index, degree, cutoff = zip(*rows, strict=True)
        elements = self.elements.values()
        texts = _TEXTS if any(e.code for e in elements) else _TEXTS[:-1]
        return {
            "basis/number": np.array(number, dtype=np.int32),
            "basis/index": np.array(index, dtype=np.int32),
            "basis/l": np.array(degree, dtype=np.int32),
            "basis/cutoff": np.array(cutoff, dtype=np.float64),
            "basis/element/number": np.array(self.numbers, dtype=np.int32),
            "basis/element/n_valence": np.array([e.n_valence for e in elements], dtype=np.float64),
            **{
                f"basis/element/{text}": np.array(
                    [getattr(e, text) for e in elements], dtype=np.dtypes.StringDType()
                )
                for text in texts
            },
            **{f"basis/overlap/{name}": array for name, array in self.overlap.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Basis:
        """Rebuild the table from what `to_arrays` gave (a `Store` serves as the mapping)."""
        number, degree, cutoff = (arrays[f"basis/{name}"] for name in ("number", "l", "cutoff"))
        texts = _TEXTS if "basis/element/code" in arrays else _TEXTS[:-1]
        columns = {
            name: arrays[f"basis/element/{name}"] for name in ("number", "n_valence", *texts)
        }
        elements = {}
        for row, z in enumerate(columns["number"]):
            shells = np.flatnonzero(number == z)
            elements[int(z)] = ElementBasis(
                number=int(z),
                shells=tuple(Shell(int(degree[s]), float(cutoff[s])) for s in shells),
                n_valence=float(columns["n_valence"][row]),
                **{name: str(columns[name][row]) for name in texts},
            )
        names = [f"onsite/{z}/matrix" for z in elements]
        names += [
            f"pairs/{zi}-{zj}/{name}"
            for zi in elements
            for zj in elements
            for name in ("knots", "coefficients", "covered")
        ]
        keys = {name: f"basis/overlap/{name}" for name in names}
        return cls(elements, {name: arrays[key] for name, key in keys.items() if key in arrays})


@runtime_checkable
class Arrays(Protocol):
    """Arrays by name, such as a mapping or a store."""

    def __getitem__(self, name: str, /) -> np.ndarray:
        """Return an array."""
        ...

    def __contains__(self, name: str, /) -> bool:
        """Tell whether there is an array of this name."""
        ...


def _agree(a: ElementBasis, b: ElementBasis, field: str) -> bool:
    """Tell whether two bases of an element agree; what is not known of another program's agrees with all."""
    first, second = getattr(a, field), getattr(b, field)
    if field == "shells" and a.degrees == b.degrees:
        # Packed models were once written in single precision.
        first, second = ([shell.cutoff for shell in element.shells] for element in (a, b))
        return bool(a.code and b.code) or np.allclose(first, second, rtol=1e-6, atol=0.0)
    if not (a.code and b.code):
        return first == second
    if field == "n_valence":
        return np.isnan(first) or np.isnan(second) or first == second
    return first == second or (field == "basis_text" and not (first and second))


def _joined(a: ElementBasis, b: ElementBasis) -> ElementBasis:
    """Join what two stores know of one element of another program."""
    if not a.code:
        return b
    pairs = zip(a.shells, b.shells, strict=True)
    return replace(
        a,
        shells=tuple(Shell(x.l, max(x.cutoff, y.cutoff)) for x, y in pairs),
        n_valence=b.n_valence if np.isnan(a.n_valence) else a.n_valence,
        basis_text=a.basis_text or b.basis_text,
    )


def _shorten(value: object, length: int = 60) -> str:
    text = repr(value)
    if isinstance(value, tuple):  # shells, of which programs that tell no radius have none
        text = " ".join("spdfghiklm"[shell.l] + _radius(shell.cutoff) for shell in value)
    return text if len(text) <= length else text[: length - 3] + "..."


def _radius(cutoff: float) -> str:
    return "" if np.isnan(cutoff) else f" {cutoff:.2f} Å,"
