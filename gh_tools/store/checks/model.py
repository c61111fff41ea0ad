"""Scale-shift, weights and learning curve of a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gh_tools.store.checks.basis import n_orbitals
from gh_tools.store.checks.limits import (
    LARGEST_CUTOFF,
    LARGEST_ENERGY,
    LARGEST_LENGTH,
    check_limits,
)
from gh_tools.store.contents import Store


def check_scaleshift(store: Store, group: str) -> Iterator[str]:
    """Find parameters of a scale-shift that cannot be: elements, numbers of components, values.

    Args:
        store: of kind ``scaleshift`` or ``model``.
        group: before the paths of its arrays, such as ``scaleshift/``.

    Yields:
        One sentence for each fault, naming the array.
    """
    orbitals = n_orbitals(store)
    spins = store.attributes.get("spins", 1)
    energies = (-LARGEST_ENERGY, LARGEST_ENERGY)
    limits = {
        # By the last component of the path: least and largest value, and whether the least is excluded
        # Stretched exponentials may be steep: their amplitude is far above what any distance takes.
        "shift_amplitude": (-np.inf, np.inf, False),
        "shift_length": (0.0, np.inf, True),
        "shift_power": (0.0, np.inf, True),
        "scale_amplitude": (-np.inf, np.inf, False),
        "scale_length": (0.0, np.inf, True),
        "scale_power": (0.0, np.inf, True),
        "scale_floor": (0.0, LARGEST_ENERGY, False),
        "r_min": (0.0, LARGEST_LENGTH, False),
        "shift": (*energies, False),
        "scale": (*energies, False),
        "range": (0.0, 2 * LARGEST_CUTOFF, False),
        "local": (*energies, False),
        "neighbour": (*energies, False),
        "charge": (*energies, False),
        "draws": (*energies, False),
    }
    for key in store.keys(group):
        parts = key.removeprefix(group).split("/")
        if parts[0] not in ("onsite", "pairs", "bond_pairs", "onsite_energy"):
            continue
        low, high, open_below = limits[parts[-1]]
        if parts[0] == "onsite" and parts[-1] == "scale":
            low, open_below = 0.0, True
        yield from check_limits(store, key, low, high, open_below=open_below)
        if parts[0] == "onsite_energy":
            if parts[-1] != "r_min" and store.shape(key)[-2] != len(orbitals):
                yield f"{key}: expected a row for each of {len(orbitals)} elements"
            continue
        elements = [int(z) for z in parts[1].split("-")]
        if not set(elements) <= orbitals.keys():
            yield f"{key}: expected elements of the basis table, found another"
            continue
        k = [orbitals[z] for z in elements]
        size = spins * (k[0] * (k[0] + 1) // 2 if parts[0] == "onsite" else k[0] * k[-1])
        if parts[-1] != "range" and store.shape(key)[-1] != size:
            yield (
                f"{key}: expected {size} components, as many as the blocks of the basis table have "
                f"irreps, found {store.shape(key)[-1]}"
            )
        if parts[-1] == "range":
            r_min, r_max, cutoff = store[key]
            if not (r_min <= r_max and cutoff > 0):
                yield f"{key}: expected shortest and longest distance, and a cutoff above zero"


def check_weights(store: Store) -> Iterator[str]:
    """Find weights that are not finite, and columns of the history of different lengths."""
    for group in ("parameters/", "parameters_eigenvalue/", "last_layers/"):
        for key in store.keys(group):
            if store.dtype(key).kind != "f":
                yield f"{key}: expected float values, found {store.dtype(key)}"
            else:
                yield from check_limits(store, key)
    for key in store.keys("grams/"):
        kind = "f" if key.endswith("/length") else "i"
        if store.dtype(key).kind != kind:
            yield f"{key}: expected {'float' if kind == 'f' else 'int'} values, found {store.dtype(key)}"
        elif kind == "f":
            yield from check_limits(store, key, 0.0)
    lengths = set()
    for key in store.keys("history/"):
        if store.dtype(key).kind not in "if" or len(store.shape(key)) != 1:
            yield f"{key}: expected numbers along one axis, found {store.dtype(key)} {store.shape(key)}"
        else:
            lengths.add(store.shape(key)[0])
    if len(lengths) > 1:
        yield "history: expected columns of one length, found others"


def check_calibration(store: Store) -> Iterator[str]:
    """Find factors of uncertainties that are negative, or not as many as the blocks have irreps."""
    orbitals, spins = n_orbitals(store), store.attributes.get("spins", 1)
    for key in store.keys("calibration/"):
        yield from check_limits(store, key, 0.0)
        kind, elements = key.split("/")[1:3]
        numbers = [int(z) for z in elements.split("-")]
        if not set(numbers) <= orbitals.keys():
            yield f"{key}: expected elements of the basis table, found another"
            continue
        k = [orbitals[z] for z in numbers]
        size = spins * (k[0] * (k[0] + 1) // 2 if kind == "onsite" else k[0] * k[-1])
        if store.shape(key)[-1] != size or 0 in store.shape(key):
            yield f"{key}: expected {size} factors, one an irrep's component, found shape {store.shape(key)}"


def check_environments(store: Store) -> Iterator[str]:
    """Find environments of the training set that cannot be, or of which an array is missing."""
    group = "domain/environments/"
    keys = store.keys(group)
    for key in keys:
        name = key.rsplit("/", 1)[1]
        low = 0.0 if name in ("scale", "left_out", "atoms") else -np.inf
        yield from check_limits(store, key, low, open_below=name in ("scale", "atoms"))
    alone = ("left_out", "atoms")
    names: dict[str, tuple[str, ...]] = {"": alone} if keys else {}
    for place in store.group_names(group):
        if place not in alone:
            names[f"{place}/"] = ("mean", "axes", "scale", "points")
    for prefix, needed in names.items():
        for name in needed:
            if f"{group}{prefix}{name}" not in store:
                yield f"{group}{prefix}{name} is missing"
            elif 0 in store.shape(f"{group}{prefix}{name}"):
                yield f"{group}{prefix}{name}: expected numbers, found none"
