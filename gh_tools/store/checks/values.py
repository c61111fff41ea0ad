"""Values of all arrays but matrices, by what a store holds."""

from __future__ import annotations

from collections.abc import Iterator

from gh_tools.store.checks.bands import check_bands
from gh_tools.store.checks.basis import check_basis, check_block_shapes, check_overlap_functions
from gh_tools.store.checks.model import (
    check_calibration,
    check_environments,
    check_scaleshift,
    check_weights,
)
from gh_tools.store.checks.structures import check_split, check_structure_arrays
from gh_tools.store.contents import Store


def check_values(store: Store) -> Iterator[str]:
    """Find values that cannot be: of elements, positions, basis, split, scale-shift, weights and spectra.

    The store has passed `check_arrays`.

    Yields:
        One sentence for each fault, naming the array.
    """
    if "structures/atom_ptr" in store:
        yield from check_structure_arrays(store)
    if "basis/number" in store:
        yield from check_basis(store)
        yield from check_overlap_functions(store)
    if "split/train" in store:
        yield from check_split(store)
    if store.kind in ("scaleshift", "model"):
        yield from check_scaleshift(store, "scaleshift/" if store.kind == "model" else "")
    if store.kind == "model":
        yield from check_weights(store)
        yield from check_calibration(store)
        yield from check_environments(store)
    if store.kind in ("hamiltonians", "overlap"):
        yield from check_block_shapes(store)
    if "bands/kpoint_ptr" in store:
        yield from check_bands(store)
