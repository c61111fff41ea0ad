"""Kinds of periodicity, and which of them share a zero of the potential.

Where a direction is not periodic, GPAW sets the potential to zero in the vacuum: energies of molecules, wires and
layers count from the vacuum level. Where all three are, no vacuum level exists (or none that is zero), and energies
count from the mean potential of the cell. So a crystal and a layer of one material differ by eV, which no network can
know; see docs/explanation/conventions.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import ase

from gh_tools.console import log
from gh_tools.errors import DataError

# By the number of periodic directions: one structure, and several.
NAMES = {
    0: ("molecule", "molecules"),
    1: ("wire", "wires"),
    2: ("layer", "layers"),
    3: ("bulk crystal", "bulk crystals"),
}


def n_periodic(atoms: ase.Atoms) -> int:
    """Return the number of periodic directions: 0 of a molecule, 1 of a wire, 2 of a layer, 3 of a bulk crystal."""
    return int(atoms.pbc.sum())


def counts_from_vacuum(dimensions: int) -> bool:
    """Return whether energies of structures with so many periodic directions count from the vacuum level."""
    return dimensions < 3


def describe_kinds(structures: Iterable[ase.Atoms]) -> str:
    """Return how many structures of which kind there are, such as "3 layers and 1 bulk crystal"."""
    found = Counter(map(n_periodic, structures))
    return " and ".join(
        f"{count} {NAMES[kind][count > 1]}" for kind, count in sorted(found.items())
    )


def warn_if_mixed(structures: Sequence[ase.Atoms], names: Sequence[str]) -> None:
    """Warn of structures of several kinds of periodicity, of which one model should not be made.

    Args:
        structures: what will be labelled.
        names: of the structures.
    """
    kinds = [n_periodic(atoms) for atoms in structures]
    if len(set(kinds)) < 2:
        return
    first = {kind: names[kinds.index(kind)] for kind in sorted(set(kinds))}
    found = " and ".join(f"{NAMES[kind][1]} (such as {name})" for kind, name in first.items())
    if len(set(map(counts_from_vacuum, kinds))) > 1:
        log.warning(
            "%s: energies of bulk crystals count from the cell's mean potential, those of others from the vacuum; one "
            "model cannot learn both: build and label stores of their own",
            found,
        )
    else:
        log.warning(
            "%s: energies of all count from the vacuum, but a model needs enough structures of each kind",
            found,
        )


def check_one_zero(structures: Sequence[ase.Atoms], names: Sequence[str]) -> None:
    """Make sure that energies of all labels count from one zero of the potential.

    Args:
        structures: the labels'.
        names: of the structures.

    Raises:
        DataError: some are bulk crystals, and others are not.
    """
    by_zero: dict[bool, int] = {}
    for index, atoms in enumerate(structures):
        by_zero.setdefault(counts_from_vacuum(n_periodic(atoms)), index)
    if len(by_zero) == 2:
        bulk, other = by_zero[False], by_zero[True]
        kind = NAMES[n_periodic(structures[other])][0]
        raise DataError(
            f"{names[bulk]} is a bulk crystal, whose energies count from its mean potential, and {names[other]} a {kind}, "
            "whose energies count from the vacuum: they differ by a constant that no model can learn; train a model "
            "for each (a layer read as a crystal is mended by --set pbc=[true,true,false] in gh-build)"
        )
