"""Label stores that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Int

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import Store


@dataclass(frozen=True)
class Labels:
    """Label stores that can be learned from together.

    Attributes:
        stores: the stores.
        readers: of the stores.
        basis: union of their basis tables.
        names: of all structures, in the order of the stores.
        n_spins: spin channels of all of them.
    """

    stores: list[Store]
    readers: list[HamiltonianReader]
    basis: Basis
    names: list[str]
    n_spins: int


def open_labels(stores: Sequence[Store]) -> Labels:
    """Open label stores and make sure that their bases agree.

    Args:
        stores: of kind ``hamiltonians``.

    Raises:
        DataError: an element's basis or the number of spin channels differs between two of them, or one
            holds predictions.
    """
    readers = [HamiltonianReader(store) for store in stores]
    for reader in readers:
        if reader.predicted:
            raise DataError(
                f"{reader.store.path}: holds predictions of a model, not labels; "
                "name a store that gh-label made"
            )
    basis = reduce(
        lambda basis, reader: basis.merge(reader.basis, str(reader.store.path)),
        readers[1:],
        readers[0].basis,
    )
    spins = [int(reader.attributes.get("spins", 1)) for reader in readers]
    for reader, n_spins in zip(readers, spins, strict=True):
        if n_spins != spins[0]:
            raise DataError(
                f"{reader.store.path}: expected {spins[0]} spin channels as in "
                f"{readers[0].store.path}, found {n_spins}; label all structures with one setting of "
                "spin, or train a model for each"
            )
    names = [name for reader in readers for name in reader.names]
    return Labels(list(stores), readers, basis, names, spins[0])


def read_labels(readers: Sequence, indices: Int[np.ndarray, " n"]) -> Iterator[Hamiltonian]:
    """Read structures that are counted over several label stores.

    Args:
        readers: Label stores (`HamiltonianReader`).
        indices: Structures to read, counted over all readers in order.

    Yields:
        One Hamiltonian after the other.

    Raises:
        DataError: If there is no structure to read.
    """
    if len(indices) == 0:
        raise DataError("there is no labelled structure to fit to; give the training part some")
    starts = np.concatenate([[0], np.cumsum([len(reader) for reader in readers])])
    for index in np.asarray(indices):
        store = int(np.searchsorted(starts, index, side="right")) - 1
        yield readers[store].read(int(index - starts[store]))
