"""Label stores that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from jaxtyping import Int

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.labels.periodicity import check_one_zero
from gh_tools.labels.settings import check_settings
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.identity import CHARGE_TOLERANCE, copies
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures, unique_names


@dataclass(frozen=True)
class Labels:
    """Label stores that one model can be trained on.

    Attributes:
        stores: the stores.
        readers: of the stores.
        basis: union of their basis tables.
        structures: all structures in the order of the stores, with their charges. Where stores repeat a name, the
            second and later ones are numbered: ``NAME.1``.
        n_spins: spin channels of all of them.
    """

    stores: list[Store]
    readers: list[HamiltonianReader]
    basis: Basis
    structures: Structures
    n_spins: int

    @property
    def names(self) -> list[str]:
        """Names of the structures, each its own."""
        return self.structures.names

    @cached_property
    def copies(self) -> Int[np.ndarray, " structures"]:
        """For each structure a number that it shares with its copies, see `copies`."""
        return copies(self.structures.atoms)


def open_labels(stores: Sequence[Store]) -> Labels:
    """Open label stores and make sure that their bases agree.

    Args:
        stores: of kind ``hamiltonians``.

    Raises:
        DataError: an element's basis, the number of spin channels or the functional differs between two of them, one
            holds predictions, one structure was labelled with two charges, or energies count from two zeros of the
            potential, see `periodicity`.
    """
    readers = [HamiltonianReader(store) for store in stores]
    for reader in readers:
        if reader.predicted:
            raise DataError(
                f"{reader.store.path}: holds predictions of a model, not labels; "
                "name a store that gh-label made"
            )
    check_settings(readers)  # first: another functional has other setups, which says less
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
    labels = Labels(list(stores), readers, basis, _joined(readers), spins[0])
    _check_charges(labels)
    check_one_zero(labels.structures.atoms, labels.names)
    return labels


def _joined(readers: Sequence[HamiltonianReader]) -> Structures:
    """Put the structures of stores behind each other, with names of their own and their charges."""
    parts = [reader.structures for reader in readers]
    names = [name for part in parts for name in part.names]
    unique = unique_names(names)
    for old, new in zip(names, unique, strict=True):
        if old != new:
            log.warning("the stores repeat names: the second structure %s counts as %s", old, new)
            break
    atoms = [atoms for part in parts for atoms in part.atoms]
    return Structures(atoms, unique).with_charges(
        np.concatenate([part.charges for part in parts] or [np.zeros(0)])
    )


def _check_charges(labels: Labels) -> None:
    """Make sure that atoms tell the charge, because networks see nothing else."""
    charges = labels.structures.charges
    if np.ptp(charges) <= CHARGE_TOLERANCE:
        return
    seen: dict[int, int] = {}
    formulae: dict[str, int] = {}
    for index, group in enumerate(labels.copies.tolist()):
        first = seen.setdefault(group, index)
        if abs(charges[index] - charges[first]) > CHARGE_TOLERANCE:
            raise DataError(
                f"{labels.names[first]} (charge {charges[first]:+g}) and {labels.names[index]} (charge "
                f"{charges[index]:+g}) are one structure with two charges, which a network that sees atoms alone "
                "cannot tell apart; train a model for each charge"
            )
        formula = labels.structures.atoms[index].get_chemical_formula()
        first = formulae.setdefault(formula, index)
        if abs(charges[index] - charges[first]) > CHARGE_TOLERANCE:
            log.warning(
                "%s (charge %+g) and %s (charge %+g) have the same formula: networks see atoms alone, and tell "
                "their charges by the geometry if at all",
                *(labels.names[first], charges[first], labels.names[index], charges[index]),
            )
            return


def read_labels(
    readers: Sequence, indices: Sequence[int] | Int[np.ndarray, " n"]
) -> Iterator[Hamiltonian]:
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
        raise DataError("there is no labelled structure to fit to; give the training set some")
    starts = np.concatenate([[0], np.cumsum([len(reader) for reader in readers])])
    for index in np.asarray(indices):
        store = int(np.searchsorted(starts, index, side="right")) - 1
        yield readers[store].read(int(index - starts[store]))
