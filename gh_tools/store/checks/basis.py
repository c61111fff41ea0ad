"""The basis table, and blocks that must have its shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gh_tools.orbitals.blocks import MATRICES
from gh_tools.store.checks.limits import LARGEST_CUTOFF, LARGEST_DEGREE, N_ELEMENTS, check_limits
from gh_tools.store.contents import Store


def check_basis(store: Store) -> Iterator[str]:
    """Find elements, shells, cutoffs (Å) and valence electrons that no basis table has."""
    element = store["basis/element/number"]
    if element.size == 0 or element.min() < 1 or element.max() > N_ELEMENTS:
        yield f"basis/element/number: expected atomic numbers from 1 to {N_ELEMENTS}, found others"
    elif np.any(np.diff(element.astype(np.int64)) <= 0):
        yield "basis/element/number: expected each element once, in ascending order"
    number, index = store["basis/number"], store["basis/index"]
    expected = [np.arange(np.count_nonzero(number == z)) for z in element]
    if not np.array_equal(np.unique(number), element):
        yield "basis/number: expected shells of each element of basis/element/number, found others"
    elif np.any(np.diff(number) < 0) or not np.array_equal(index, np.concatenate(expected)):
        yield "basis/index: expected the shells of each element in order, counted from 0"
    degree = store["basis/l"]
    if degree.size and (degree.min() < 0 or degree.max() > LARGEST_DEGREE):
        yield f"basis/l: expected degrees from 0 to {LARGEST_DEGREE}, found others"
    yield from check_limits(store, "basis/cutoff", 0.0, LARGEST_CUTOFF, open_below=True)
    valence = store["basis/element/n_valence"]
    fit = (valence > 0) & (valence <= element)
    if "basis/element/code" in store:
        fit |= np.isnan(valence) & (store["basis/element/code"] != "")
    if not np.all(fit):
        wrong = valence[~fit][0]
        yield (
            "basis/element/n_valence: expected more than 0 electrons and no more than protons, "
            f"found {wrong:g}"
        )


def check_overlap_functions(store: Store) -> Iterator[str]:
    """Find functions of S that are no splines, or that are of other elements than the basis table."""
    orbitals = n_orbitals(store)
    for key in store.keys("basis/overlap/"):
        kind, elements, name = key.removeprefix("basis/overlap/").split("/")
        species = [int(z) for z in elements.split("-")]
        if not set(species) <= orbitals.keys():
            yield f"{key}: expected elements of the basis table, found others"
            continue
        values = store[key]
        if not np.isfinite(values).all():
            yield f"{key}: expected finite numbers, found others"
        if kind == "onsite" and values.shape[0] != orbitals[species[0]]:
            yield f"{key}: expected {orbitals[species[0]]} orbitals as in the basis table, found {len(values)}"
        if name == "knots":
            splines = f"{key.removesuffix('knots')}coefficients"
            count = store.shape(splines)[0] if splines in store else 0
            if len(values) != count + 6 or np.any(np.diff(values) <= 0):
                yield f"{key}: expected ascending knots, six more than splines, found others"
        if name == "covered" and (len(values) == 0 or np.any(np.diff(values.ravel()) < 0)):
            yield f"{key}: expected ascending intervals, found others"


def n_orbitals(store: Store) -> dict[int, int]:
    """Return the number of orbitals of each element of the basis table, by atomic number."""
    counts = np.bincount(store["basis/number"], weights=2 * store["basis/l"] + 1)
    return {int(z): int(counts[z]) for z in store["basis/element/number"]}


def check_block_shapes(store: Store) -> Iterator[str]:
    """Find blocks of H and S whose shapes are not those of the basis table and of the spins."""
    orbitals = n_orbitals(store)
    if unknown := set(np.unique(store["atoms/number"]).tolist()) - orbitals.keys():
        yield f"basis/element/number: expected all elements of atoms/number, found none of {unknown}"
    spins, spinor = store.attributes.get("spins", 1), store.attributes.get("spinor", False)
    members: dict[str, int] = {}
    for key in (*store.keys("onsite/"), *store.keys("pairs/")):
        kind, elements, field = key.split("/")
        if field not in MATRICES:
            continue
        species = [int(z) for z in elements.split("-")]
        if not set(species) <= orbitals.keys() or species != sorted(species):
            yield f"{kind}/{elements}: expected elements of the basis table in order, found others"
            continue
        components = 2 if spinor else 1
        expected = (components * orbitals[species[0]], components * orbitals[species[-1]])
        shape = store.shape(key)
        if shape[-2:] != expected:
            yield f"{key}: expected blocks of {expected} as in the basis table, found {shape[-2:]}"
        if field == "overlap":
            continue
        members.setdefault(f"{kind}/{elements}", 0)
        if field == "members":
            members[f"{kind}/{elements}"] = shape[0]
            if shape[0] < 2:
                yield f"{key}: expected two members or more, found {shape[0]}"
        found = shape[-4] if len(shape) > 3 else 1
        if spinor and (found, spins) != (2, 1):
            yield f"{key}: expected real and imaginary parts of spinors, found {found} of {spins} spin channels"
        elif not spinor and found != spins:
            yield f"{key}: expected {spins} spin channels as in the attribute spins, found {found}"
    if len(set(members.values())) > 1:
        counts = ", ".join(map(str, sorted(set(members.values()))))
        yield f"onsite, pairs: expected as many members in all groups, found {counts}"
