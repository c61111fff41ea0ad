"""Eigenvalues, k-points and densities of states."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gh_tools.store.checks.limits import LARGEST_LENGTH, check_limits
from gh_tools.store.contents import Store
from gh_tools.store.schema import SPECTRA


def check_bands(store: Store) -> Iterator[str]:
    """Find k-points, weights and numbers of eigenvalues that cannot be; the store has ``bands/kpoint_ptr``."""
    for name in ("kpoint", "weight", "eigenvalue_ptr", "eigenvalue"):
        if f"bands/{name}" not in store:
            yield f"bands/{name} is missing"
            return
    yield from check_limits(store, "bands/kpoint", -LARGEST_LENGTH, LARGEST_LENGTH)
    yield from check_limits(store, "bands/weight", 0.0, 1.0 + 1e-6)
    pointer = store["bands/kpoint_ptr"].astype(np.int64)
    weight = np.r_[0.0, np.cumsum(store["bands/weight"])]
    sums = np.diff(weight[pointer])
    counts = np.diff(pointer)
    if np.any(np.abs(sums[counts > 0] - 1) > 1e-6):
        yield "bands/weight: expected weights of each structure that add up to 1, found others"
    eigenvalues = np.diff(store["bands/eigenvalue_ptr"].astype(np.int64))
    spins = store.attributes.get("spins", 1) if store.kind == "hamiltonians" else 1
    if np.any(eigenvalues[counts > 0] % (spins * counts[counts > 0])) or np.any(
        eigenvalues[counts == 0]
    ):
        yield (
            "bands/eigenvalue_ptr: expected as many eigenvalues for each spin and k-point of a "
            "structure, found others"
        )


def check_spectra(store: Store) -> Iterator[str]:
    """Find energies and densities of states that cannot be; reads all arrays of a store of spectra."""
    energy = store["dos/energy"]
    if not (np.isfinite(energy).all() and (np.diff(energy) > 0).all()):
        yield "dos/energy: expected finite energies in ascending order, found others"
    for key in store.keys("dos/"):
        yield from check_limits(store, key)
    if np.isnan(store["bands/eigenvalue"]).any():
        yield "bands/eigenvalue: expected numbers, found NaN"
    yield from _check_local(store)


def _check_local(store: Store) -> Iterator[str]:
    """Find densities of groups and positions, and localised states, that cannot be."""
    for group in ("groups", "positions", "states"):
        if f"{group}/ptr" not in store:
            continue
        keys = [key for key in store.keys(f"{group}/") if key != f"{group}/ptr"]
        count = int(store[f"{group}/ptr"][-1])
        for field in SPECTRA:
            needed = field.path.startswith(f"{group}/") and field.path != "groups/center"
            if needed and field.path not in store:
                yield f"{field.path} is missing"
        for key in keys:
            if store.shape(key)[0] != count:
                yield f"{key}: expected {count} rows as {group}/ptr says, found {store.shape(key)[0]}"
            elif key == f"{group}/density" and store.shape(key)[1:] != store.shape("dos/energy"):
                yield f"{key}: expected {store.shape('dos/energy')[0]} energies as dos/energy has"
            elif store.dtype(key).kind == "f" and np.isinf(store[key]).any():
                yield f"{key}: expected numbers, found infinity"
    for key in ("groups/density", "positions/density", "states/sharing", "positions/position"):
        if key in store:
            yield from check_limits(store, key)
    if "states/atom" in store and "states/ptr" in store:
        sizes = np.diff(store["structures/atom_ptr"])
        most = np.repeat(sizes, np.diff(store["states/ptr"]))
        atoms = store["states/atom"]
        # Another number of rows is told above.
        if len(atoms) == len(most) and np.any((atoms >= most[:, None]) | (atoms < -1)):
            yield "states/atom: expected atoms of the structure, found others"
