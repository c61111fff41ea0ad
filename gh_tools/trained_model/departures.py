"""Where a structure leaves what a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from scipy.special import pdtrc

from gh_tools.labels.periodicity import NAMES
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.trained_model.measures import COMPARED, Key, Measures, Range
from gh_tools.trained_model.ranges import DENSITY_UNITS, Group, beyond, percent

# Standard deviations by which a shortest distance may be shorter, and Å where all of training were equal: in larger
# structures there are more pairs, of which the shortest one is shorter.
DEVIATIONS, LEAST_DISTANCE = 2.0, 0.02
# Ranges are widened at least by so much: of densities and lengths of bonds as fractions, of parts of the composition
# absolute.
LEAST_RATIO, LEAST_FRACTION = 0.02, 0.01
# Coordination numbers that training never had are told where so many would come by chance at most this often.
CHANCE = 0.01


@dataclass(frozen=True)
class Departure:
    """One way in which a structure leaves what a model was trained on.

    Attributes:
        what: ``distance``, ``coordination``, ``periodicity``, ``elements``, ``composition``, ``density``, ``strain`` or
            ``environment``.
        text: what was found, what training had, and by how much they differ.
        atoms: indices of the atoms that it is about; empty where it is about the whole structure.
    """

    what: str
    text: str
    atoms: Sequence[int] = ()


def departures_in_distance(
    known: Mapping[SpeciesPair, Range], found: Measures
) -> Iterator[Departure]:
    """Yield the species pairs that are closer than those of training.

    Args:
        known: shortest distance of each species pair of training, and the standard deviation, in Å.
        found: measures of the structure.
    """
    for pair, distances in sorted(found.nearest.items()):
        name = f"{chemical_symbols[pair[0]]}-{chemical_symbols[pair[1]]}"
        index = int(np.argmin(distances))
        shortest, which = float(distances[index]), (int(found.nearest_atoms[pair][index]),)
        if pair not in known:
            if found.ratio[pair][index] > COMPARED:
                continue
            text = f"{name} {shortest:.2f} Å apart, where training had no such pair as near"
            yield Departure("distance", text, which)
            continue
        least, deviation = known[pair]
        if shortest < least - max(DEVIATIONS * deviation, LEAST_DISTANCE):
            yield Departure(
                "distance",
                f"{name} {shortest:.2f} Å apart, {least - shortest:.2f} Å less than the shortest of training "
                f"({least:.2f} Å)",
                which,
            )


def departures_in_coordination(
    coordination: Mapping[int, Int[np.ndarray, " numbers"]], atoms: ase.Atoms, found: Measures
) -> Iterator[Departure]:
    """Yield the elements whose atoms have numbers of neighbours that training did not have.

    Args:
        coordination: by element, how many atoms of training had 0, 1, 2 ... neighbours.
        atoms: the structure.
        found: its measures.
    """
    for number in np.unique(atoms.numbers).tolist():
        known = coordination.get(number)
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


def departures_in_environment(
    atoms: ase.Atoms, scores: Float[np.ndarray, " atoms"], most: int = 5
) -> Iterator[Departure]:
    """Yield the atoms whose environments, as the network describes them, are outside of those of training.

    Args:
        atoms: the structure.
        scores: of its atoms: above 1 they are outside.
        most: atoms that are named.
    """
    outside = np.flatnonzero(scores > 1.0)
    if not len(outside):
        return
    worst = outside[np.argsort(-scores[outside], kind="stable")]
    named = ", ".join(f"{i} ({chemical_symbols[atoms.numbers[i]]})" for i in worst[:most].tolist())
    more = f" and {len(worst) - most} more" if len(worst) > most else ""
    several = "s" if len(worst) > 1 else ""
    yield Departure(
        "environment",
        f"environment{several} of atom{several} {named}{more} unlike any of training, up to {scores[worst[0]]:.3g} times the "
        "limit",
        worst.tolist(),
    )


def departures_as_a_whole(known: Mapping[Key, Group], found: Measures) -> Iterator[Departure]:
    """Yield in which ways periodicity, elements, composition, density or strain are beyond those of training.

    Args:
        known: ranges of the training structures, by number of periodic directions and elements.
        found: measures of the structure.
    """
    kinds = {kind for kind, _ in known}
    kind, elements = found.key
    if kind not in kinds:
        had = " and ".join(NAMES[k][1] for k in sorted(kinds))
        yield Departure("periodicity", f"a {NAMES[kind][0]}, where training had {had}")
        return
    groups = [group for (k, e), group in known.items() if k == kind and e == elements]
    if not groups:
        symbols = ", ".join(chemical_symbols[number] for number in elements)
        sets = sorted({e for k, e in known if k == kind})
        had = "; ".join("-".join(chemical_symbols[n] for n in e) for e in sets[:5])
        yield Departure("elements", f"made of {symbols}, where training had {had}")
        return
    group = groups[0]
    for number, part in found.fractions.items():
        if (text := beyond(part, group.fractions[number], LEAST_FRACTION, group.count)) is not None:
            had = percent(group.fractions[number])
            yield Departure(
                "composition",
                f"{100 * part:.3g} % {chemical_symbols[number]}, where training had {had}",
            )
    if kind:
        text = beyond(found.density, group.density, LEAST_RATIO * group.density[1], group.count)
        if text is not None:
            unit, factor = DENSITY_UNITS[kind]
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
    return bool(pdtrc(count - 1, expected) < CHANCE)
