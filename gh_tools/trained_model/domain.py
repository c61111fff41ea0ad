"""What a model was trained on, and where a structure leaves it.

A network extrapolates without a word. So a model keeps the ranges of what its training structures had: distances,
coordination, composition, density and the shape of the bonds; and the environments of their atoms, as its own descriptors
see them. Each structure to be predicted is compared with them.
Structures drawn like those of the training set stay within, up to what sets of their number leave out by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int

from gh_tools.labels.periodicity import NAMES
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.store.read import Store
from gh_tools.trained_model.departures import (
    Departure,
    departures_as_a_whole,
    departures_in_coordination,
    departures_in_distance,
    departures_in_environment,
)
from gh_tools.trained_model.environments import Environments
from gh_tools.trained_model.measures import Key, Measures, Range
from gh_tools.trained_model.ranges import DENSITY_UNITS, Group, group_of, join_ranges, percent


@dataclass
class Domain:
    """What a model was trained on.

    Attributes:
        distances: shortest distance of each species pair, and the standard deviation of the nearest ones, in Å.
        coordination: by element, how many atoms had 0, 1, 2 ... neighbours.
        groups: by number of periodic directions and elements.
        environments: of the atoms; None where they are not known.
    """

    distances: dict[SpeciesPair, Range] = field(default_factory=dict)
    coordination: dict[int, Int[np.ndarray, " numbers"]] = field(default_factory=dict)
    groups: dict[Key, Group] = field(default_factory=dict)
    environments: Environments | None = None

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
        return replace(self, groups=groups)

    def union(self, other: Domain) -> Domain:
        """Return what two training sets had together, without environments: two networks see them otherwise.

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
            groups[key] = join_ranges(groups[key], group) if key in groups else group
        return Domain(distances, coordination, groups)

    @property
    def kinds(self) -> set[int]:
        """Numbers of periodic directions that structures of training had."""
        return {kind for kind, _ in self.groups}

    def departures(
        self, atoms: ase.Atoms, scores: Float[np.ndarray, " atoms"] | None = None
    ) -> list[Departure]:
        """Return in which ways a structure leaves the domain; none where it is like those of training.

        Args:
            atoms: the structure.
            scores: of its atoms, see `Environments.scores`, where the network has described them.
        """
        found = Measures.of(atoms)
        return [
            *departures_in_distance(self.distances, found),
            *departures_in_coordination(self.coordination, atoms, found),
            *departures_as_a_whole(self.groups, found),
            *(() if scores is None else departures_in_environment(atoms, scores)),
        ]

    def describe(self) -> list[str]:
        """Return lines for a person: kinds and compositions, densities, distances and coordination."""
        lines = []
        for (kind, elements), group in sorted(self.groups.items()):
            name = NAMES[kind][group.count > 1]
            parts = ", ".join(
                f"{chemical_symbols[n]} {percent(group.fractions[n])}" for n in elements
            )
            text = f"{group.count} {name} of {parts}"
            if kind:
                unit, factor = DENSITY_UNITS[kind]
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
        if self.environments is None:
            lines.append("environments: not told")
        else:
            lines.append(self.environments.describe())
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
            **({} if self.environments is None else self.environments.to_arrays()),
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
            Environments.from_arrays(arrays),
        )


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    total = np.zeros(max(len(one), len(other)), dtype=np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def _range(values: np.ndarray) -> Range:
    return float(values[0]), float(values[1])
