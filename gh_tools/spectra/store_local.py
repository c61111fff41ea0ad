"""What spectra hold of groups, positions and states, of each structure as many as it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import zarr

from gh_tools.spectra.local_edges import LocalDensities, LocalEdges
from gh_tools.spectra.localisation import States
from gh_tools.spectra.spectrum import Spectrum
from gh_tools.store.io import put, put_stream
from gh_tools.store.read import Store

FAMILIES = ("groups", "positions", "states")
_EDGES = tuple(field.name for field in fields(LocalEdges))


def local_arrays(spectrum: Spectrum) -> dict[str, np.ndarray]:
    """Return what one structure has, as the flat arrays of a part."""
    found: dict[str, np.ndarray] = {}
    for family, one in spectrum.local.items():
        arrays = {
            "atoms": one.atoms,
            "density": one.density,
            **{name: getattr(one.edges, name) for name in _EDGES},
        }
        if one.position is None:
            arrays["name"] = np.array(one.names)
            if one.center is not None:
                arrays["center"] = one.center
        else:
            arrays["position"] = one.position
            arrays["spacing"] = np.full(len(one.names), one.spacing)
        found |= {f"{family}/{name}": values for name, values in arrays.items()}
    if spectrum.states is not None:
        found |= {f"states/{f.name}": getattr(spectrum.states, f.name) for f in fields(States)}
    return found


def join_local(
    group: zarr.Group,
    parts: Sequence[int],
    keys: Sequence[str],
    read: Callable[[int, str], np.ndarray],
) -> None:
    """Write what all structures have, one after the other, with pointers.

    Args:
        group: root of the store in the making.
        parts: indices of the structures.
        keys: of the arrays of a part.
        read: gives an array of a part.
    """
    for family in FAMILIES:
        own = [key for key in keys if key.startswith(f"{family}/")]
        if not own:
            continue
        first = f"{family}/{'energy' if family == 'states' else 'atoms'}"
        sizes = [len(read(index, first)) for index in parts]
        put(group, f"{family}/ptr", np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))
        for key in own:
            if key.endswith("/density"):
                one = read(parts[0], key)
                shape = (sum(sizes), one.shape[1])
                put_stream(group, key, shape, one.dtype, (read(index, key) for index in parts))
                continue
            rows = [read(index, key) for index in parts]
            if family == "states" and rows[0].ndim == 2:
                rows = _filled(rows)
            put(group, key, np.concatenate(rows))


def _filled(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return tables of the same width: small structures have fewer atoms than are kept."""
    width = max(row.shape[1] for row in rows)
    fill = -1 if rows[0].dtype.kind == "i" else 0
    return [np.pad(r, [(0, 0), (0, width - r.shape[1])], constant_values=fill) for r in rows]


def local_row(store: Store, row: int) -> dict[str, np.ndarray]:
    """Return what one structure of a finished store has, as the arrays of a part."""
    found: dict[str, np.ndarray] = {}
    for family in FAMILIES:
        if f"{family}/ptr" not in store:
            continue
        some = slice(*store[f"{family}/ptr"][row : row + 2].tolist())
        for key in store.keys(f"{family}/"):
            if key != f"{family}/ptr":
                values = store.read(key, some)
                # Zarr's own type of text is none that a part's file can have.
                text = values.dtype.kind in "TO"
                found[key] = np.array([str(v) for v in values]) if text else values
    return found


def read_local(store: Store, row: int) -> dict[str, LocalDensities]:
    """Return the densities of groups and positions of one structure of a store of spectra."""
    arrays = local_row(store, row)
    return {
        family: _densities(family, arrays, str(store.attributes.get("along") or ""))
        for family in ("groups", "positions")
        if f"{family}/atoms" in arrays
    }


def _densities(family: str, arrays: Mapping[str, np.ndarray], direction: str) -> LocalDensities:
    edges = LocalEdges(*(arrays[f"{family}/{name}"] for name in _EDGES))
    atoms, density = arrays[f"{family}/atoms"], arrays[f"{family}/density"]
    if family == "groups":
        names = tuple(str(name) for name in arrays["groups/name"])
        center = arrays.get("groups/center")
        return LocalDensities(names, atoms, density, edges, center=center)
    position = arrays["positions/position"]
    return LocalDensities(
        tuple(f"{x:.3f}" for x in position),
        atoms,
        density,
        edges,
        position,
        float(arrays["positions/spacing"][0]),
        direction,
    )


def read_states(store: Store, row: int) -> States | None:
    """Return the states that were listed of one structure of a store of spectra; None where none were asked for."""
    if "states/ptr" not in store:
        return None
    arrays = local_row(store, row)
    return States(*(arrays[f"states/{field.name}"] for field in fields(States)))
