"""Structures, their names and design variables, and the split that numbers them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gh_tools.store.checks.limits import (
    LARGEST_ENERGY,
    LARGEST_LENGTH,
    LONGEST_NAME,
    N_ELEMENTS,
    check_limits,
    shortened_value,
)
from gh_tools.store.contents import Store


def name_fault(name: str) -> str | None:
    """Return what is wrong with the name of a structure, which ends up in file names and messages."""
    if not name.strip() or name != name.strip() or not name.isprintable():
        return "expected printable characters with no blank at its ends"
    if len(name) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} characters"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "expected no path that leads elsewhere"
    return None


def check_structure_arrays(store: Store) -> Iterator[str]:
    """Find names, elements, coordinates (Å), design variables and scalars that no structure has."""
    names = [str(name) for name in store["structures/name"]]
    if len(set(names)) < len(names):
        yield "structures/name: expected a name for each structure, found one that stands twice"
    for name in names:
        if fault := name_fault(name):
            yield f"structures/name: {shortened_value(name)!r}: {fault}"
    number = store["atoms/number"]
    if number.size and not (number.min() >= 1 and number.max() <= N_ELEMENTS):
        wrong = number[(number < 1) | (number > N_ELEMENTS)][0]
        yield f"atoms/number: expected atomic numbers from 1 to {N_ELEMENTS}, found {wrong}"
    yield from check_limits(store, "atoms/position", -LARGEST_LENGTH, LARGEST_LENGTH)
    yield from check_limits(store, "structures/cell", -LARGEST_LENGTH, LARGEST_LENGTH)
    if np.any(np.diff(store["structures/atom_ptr"]) == 0):
        yield "structures/atom_ptr: expected structures of atoms, found one without"
    for key in (*store.keys("column/"), *store.keys("scalar/")):
        yield from check_limits(store, key, missing=True)
    yield from check_limits(
        store, "scalar/fermi_level", -LARGEST_ENERGY, LARGEST_ENERGY, missing=True
    )
    if "scalar/n_electrons" in store:
        # An ion has other electrons than protons, but not twice as many.
        pointer = store["structures/atom_ptr"]
        most = 2.0 * np.add.reduceat(np.r_[number, 0], pointer[:-1]) if len(pointer) > 1 else 0
        electrons = store["scalar/n_electrons"]
        wrong = ~np.isnan(electrons) & ~((electrons >= 0) & (electrons <= most))
        if wrong.any():
            row = int(np.argmax(wrong))
            yield (
                f"scalar/n_electrons: expected 0 to twice the protons of the structure, found "
                f"{electrons[row]:g} for {names[row]}"
            )


def check_split(store: Store) -> Iterator[str]:
    """Find indices below zero, and structures that stand in two parts of a split."""
    parts = {part: store[f"split/{part}"] for part in ("train", "validation", "test")}
    together = np.concatenate(list(parts.values()))
    for part, indices in parts.items():
        if indices.size and indices.min() < 0:
            yield f"split/{part}: expected indices not below zero, found {indices.min()}"
    if len(np.unique(together)) < len(together):
        yield "split: expected each structure in one part, found one that stands twice"
