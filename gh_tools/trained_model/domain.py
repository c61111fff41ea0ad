"""What a model was trained on, and where a structure leaves it.

A network extrapolates without a word. So a model keeps the ranges of what its training structures had: distances,
coordination, composition, density and the shape of the bonds; each structure to be predicted is compared with them.
Structures drawn like those of the training set stay within, up to what sets of their number leave out by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Int
from scipy.stats import poisson

from gh_tools.labels.periodicity import NAMES
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.store.read import Store
from gh_tools.trained_model.measures import COMPARED, Key, Measures, Range
from gh_tools.trained_model.ranges import Group, beyond, group_of, joined

# Standard deviations by which a shortest distance may be shorter, and Å where all of training were equal: in larger
# structures there are more pairs, of which the shortest one is shorter.
DEVIATIONS, LEAST_DISTANCE = 2.0, 0.02
# Ranges are widened at least by so much: of densities and lengths of bonds as fractions, of parts of the composition
# absolute.
LEAST_RATIO, LEAST_FRACTION = 0.02, 0.01
# Coordination numbers that training never had are told where so many would come by chance at most this often.
CHANCE = 0.01
# Units of the mass per Å³, Å² and Å: what they are shown in, and how many of these an u/Å^d are.
_DENSITY_UNITS = {3: ("g/cm^3", 1.66053907), 2: ("mg/m^2", 0.166053907), 1: ("u/Å", 1.0)}


@dataclass(frozen=True)
class Departure:
    """One way in which a structure leaves what a model was trained on.

    Attributes:
        what: ``distance``, ``coordination``, ``periodicity``, ``elements``, ``composition``, ``density`` or ``strain``.
        text: what was found, what training had, and by how much they differ.
        atoms: indices of the atoms that it is about; empty where it is about the whole structure.
    """

    what: str
    text: str
    atoms: Sequence[int] = ()


@dataclass
class Domain:
    """What a model was trained on.

    Attributes:
        distances: shortest distance of each species pair, and the standard deviation of the nearest ones, in Å.
        coordination: by element, how many atoms had 0, 1, 2 ... neighbours.
        groups: by number of periodic directions and elements.
    """

    distances: dict[SpeciesPair, Range] = field(default_factory=dict)
    coordination: dict[int, Int[np.ndarray, " numbers"]] = field(default_factory=dict)
    groups: dict[Key, Group] = field(default_factory=dict)

    @classmethod
    def of(cls, structures: Iterable[ase.Atoms]) -> Domain:
        """Find what structures have.

        Args:
            structures: of the training set.
        """
        nearest: dict[SpeciesPair, list[np.ndarray]] = defaultdict(list)
        coordination: dict[int, np.ndarray] = {}
        measured: dict[Key, list[Measures]] = defaultdict(list)
        for atoms in structures:
            found = Measures.of(atoms)
            measured[found.key].append(found)
            for pair, of_atoms in found.nearest.items():
                nearest[pair].append(of_atoms)
            for number in np.unique(atoms.numbers).tolist():
                counts = np.bincount(found.neighbours[atoms.numbers == number])
                coordination[number] = _added(coordination.get(number, np.zeros(0, int)), counts)
        distances = {}
        for pair, parts in nearest.items():
            every = np.concatenate(parts)
            distances[pair] = float(every.min()), float(every.std())
        return cls(distances, coordination, {key: group_of(rows) for key, rows in measured.items()})

    def of_kinds(self, kinds: Iterable[int]) -> Domain:
        """Return the domain without the groups of other numbers of periodic directions.

        Args:
            kinds: that stay.
        """
        groups = {key: group for key, group in self.groups.items() if key[0] in set(kinds)}
        return Domain(self.distances, self.coordination, groups)

    def union(self, other: Domain) -> Domain:
        """Return what two training sets had together.

        Args:
            other: such as that of a model's parent.
        """
        distances = dict(self.distances)
        for pair, (shortest, deviation) in other.distances.items():
            mine = distances.get(pair, (np.inf, 0.0))
            distances[pair] = min(mine[0], shortest), max(mine[1], deviation)
        coordination = dict(self.coordination)
        for number, counts in other.coordination.items():
            coordination[number] = _added(coordination.get(number, np.zeros(0, int)), counts)
        groups = dict(self.groups)
        for key, group in other.groups.items():
            groups[key] = joined(groups[key], group) if key in groups else group
        return Domain(distances, coordination, groups)

    @property
    def kinds(self) -> set[int]:
        """Numbers of periodic directions that structures of training had."""
        return {kind for kind, _ in self.groups}

    def departures(self, atoms: ase.Atoms) -> list[Departure]:
        """Return in which ways a structure leaves the domain; none where it is like those of training.

        Args:
            atoms: the structure.
        """
        found = Measures.of(atoms)
        return [
            *self._distances(found),
            *self._coordination(atoms, found),
            *self._whole(found),
        ]

    def _distances(self, found: Measures) -> Iterator[Departure]:
        for pair, distances in sorted(found.nearest.items()):
            name = f"{chemical_symbols[pair[0]]}-{chemical_symbols[pair[1]]}"
            index = int(np.argmin(distances))
            shortest, which = float(distances[index]), (int(found.nearest_atoms[pair][index]),)
            if pair not in self.distances:
                if found.ratio[pair][index] > COMPARED:
                    continue
                text = f"{name} {shortest:.2f} Å apart, where training had no such pair as near"
                yield Departure("distance", text, which)
                continue
            known, deviation = self.distances[pair]
            if shortest < known - max(DEVIATIONS * deviation, LEAST_DISTANCE):
                yield Departure(
                    "distance",
                    f"{name} {shortest:.2f} Å apart, {known - shortest:.2f} Å less than the shortest of training "
                    f"({known:.2f} Å)",
                    which,
                )

    def _coordination(self, atoms: ase.Atoms, found: Measures) -> Iterator[Departure]:
        for number in np.unique(atoms.numbers).tolist():
            known = self.coordination.get(number)
            if known is None:
                continue  # the elements say so
            mine = atoms.numbers == number
            seen = np.flatnonzero(known)
            for low in (False, True):
                limit = int(seen[0] if low else seen[-1])
                outside = mine & ((found.neighbours < limit) if low else (found.neighbours > limit))
                count = int(outside.sum())
                if count == 0 or not _unlikely(known[seen], low, count, int(mine.sum())):
                    continue
                numbers = np.unique(found.neighbours[outside])
                had = f"{seen[0]}" if len(seen) == 1 else f"{seen[0]} to {seen[-1]}"
                yield Departure(
                    "coordination",
                    f"{count} {chemical_symbols[number]} with {', '.join(map(str, numbers))} neighbours, where "
                    f"training had {had}",
                    np.flatnonzero(outside).tolist(),
                )

    def _whole(self, found: Measures) -> Iterator[Departure]:
        kind, elements = found.key
        if kind not in self.kinds:
            had = " and ".join(NAMES[k][1] for k in sorted(self.kinds))
            yield Departure("periodicity", f"a {NAMES[kind][0]}, where training had {had}")
            return
        groups = [group for (k, e), group in self.groups.items() if k == kind and e == elements]
        if not groups:
            symbols = ", ".join(chemical_symbols[number] for number in elements)
            sets = sorted({e for k, e in self.groups if k == kind})
            had = "; ".join("-".join(chemical_symbols[n] for n in e) for e in sets[:5])
            yield Departure("elements", f"made of {symbols}, where training had {had}")
            return
        group = groups[0]
        for number, part in found.fractions.items():
            if (
                text := beyond(part, group.fractions[number], LEAST_FRACTION, group.count)
            ) is not None:
                had = _percent(group.fractions[number])
                yield Departure(
                    "composition",
                    f"{100 * part:.3g} % {chemical_symbols[number]}, where training had {had}",
                )
        if kind:
            text = beyond(found.density, group.density, LEAST_RATIO * group.density[1], group.count)
            if text is not None:
                unit, factor = _DENSITY_UNITS[kind]
                low, high = (factor * value for value in group.density)
                yield Departure(
                    "density",
                    f"density {factor * found.density:.3g} {unit}, {text} training's {low:.3g} to {high:.3g}",
                )
        for axis in (2, 0):  # the longest bonds and the shortest tell both signs of a strain
            low, high = group.extents[axis].tolist()
            text = beyond(float(found.extents[axis]), (low, high), LEAST_RATIO * high, group.count)
            # Of flat structures the shortest extent is nothing but displacements.
            if text is not None and low > 0.3 * group.extents[2, 0]:
                yield Departure(
                    "strain",
                    f"bonds along their {('shortest', 'middle', 'longest')[axis]} principal axis are {text} training's",
                )
                return

    def describe(self) -> list[str]:
        """Return lines for a person: kinds and compositions, densities, distances and coordination."""
        lines = []
        for (kind, elements), group in sorted(self.groups.items()):
            name = NAMES[kind][group.count > 1]
            parts = ", ".join(
                f"{chemical_symbols[n]} {_percent(group.fractions[n])}" for n in elements
            )
            text = f"{group.count} {name} of {parts}"
            if kind:
                unit, factor = _DENSITY_UNITS[kind]
                low, high = (factor * value for value in group.density)
                text += f", {low:.3g} to {high:.3g} {unit}"
            lines.append(text)
        lines.append(
            "shortest distances: "
            + ", ".join(
                f"{chemical_symbols[a]}-{chemical_symbols[b]} {shortest:.2f} Å"
                for (a, b), (shortest, _) in sorted(self.distances.items())
            )
        )
        lines.append(
            "neighbours: "
            + ", ".join(
                f"{chemical_symbols[z]} "
                + "-".join(map(str, sorted({*np.flatnonzero(n)[[0, -1]].tolist()})))
                for z, n in sorted(self.coordination.items())
            )
        )
        return lines

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a model store, by path."""
        numbers = sorted(self.coordination)
        width = max(map(len, self.coordination.values()))
        counts = np.zeros((len(numbers), width), dtype=np.int64)
        for row, number in enumerate(numbers):
            counts[row, : len(self.coordination[number])] = self.coordination[number]
        keys = sorted(self.groups)
        fractions = np.zeros((len(keys), len(numbers), 2))
        for row, key in enumerate(keys):
            for number, limits in self.groups[key].fractions.items():
                fractions[row, numbers.index(number)] = limits
        pairs = sorted(self.distances)
        return {
            "domain/pairs/number": np.array(pairs, dtype=np.int64).reshape(-1, 2),
            "domain/pairs/distance": np.array([self.distances[p] for p in pairs]).reshape(-1, 2),
            "domain/elements/number": np.array(numbers, dtype=np.int64),
            "domain/elements/coordination": counts,
            "domain/groups/periodic": np.array([kind for kind, _ in keys], dtype=np.int64),
            "domain/groups/structures": np.array([self.groups[key].count for key in keys]),
            "domain/groups/density": np.array([self.groups[key].density for key in keys]),
            "domain/groups/extents": np.array([self.groups[key].extents for key in keys]),
            "domain/groups/fractions": fractions,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray] | Store) -> Domain:
        """Read what `to_arrays` gave."""
        numbers = arrays["domain/elements/number"].tolist()
        pairs = zip(arrays["domain/pairs/number"], arrays["domain/pairs/distance"], strict=True)
        counts = arrays["domain/elements/coordination"]
        groups = {}
        fractions = arrays["domain/groups/fractions"]
        for row, kind in enumerate(arrays["domain/groups/periodic"].tolist()):
            present = np.flatnonzero(fractions[row, :, 1] > 0)
            elements = tuple(numbers[place] for place in present)
            groups[kind, elements] = Group(
                int(arrays["domain/groups/structures"][row]),
                _range(arrays["domain/groups/density"][row]),
                np.asarray(arrays["domain/groups/extents"][row]),
                {numbers[place]: _range(fractions[row, place]) for place in present},
            )
        return cls(
            {(int(pair[0]), int(pair[1])): _range(values) for pair, values in pairs},
            {number: np.trim_zeros(row, "b") for number, row in zip(numbers, counts, strict=True)},
            groups,
        )


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    total = np.zeros(max(len(one), len(other)), dtype=np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def _unlikely(known: np.ndarray, low: bool, count: int, atoms: int) -> bool:
    """Tell whether so many atoms beyond the range of coordination numbers would hardly come by chance.

    The distribution is continued beyond its last number as it falls towards it: as a geometric one.

    Args:
        known: numbers of atoms in training for each coordination number that occurred, ascending.
        low: whether it is continued to lower numbers.
        count: atoms beyond.
        atoms: all of that element in the structure.
    """
    ends = known if low else known[::-1]
    if len(ends) < 2:
        return True
    falls = min(ends[0] / ends[1], 1.0)
    expected = atoms * float(ends[0] / known.sum()) * falls
    return bool(poisson.sf(count - 1, expected) < CHANCE)


def _range(values: np.ndarray) -> Range:
    return float(values[0]), float(values[1])


def _percent(limits: Range) -> str:
    low, high = (f"{100 * value:.3g}" for value in limits)
    return f"{low} %" if low == high else f"{low} to {high} %"
