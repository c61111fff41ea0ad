"""What a training run reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np

from gh_tools.errors import DataError
from gh_tools.labels.labels import Labels, open_labels
from gh_tools.labels.split import Split, read_split
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bond_frame import FRAMES, Frame
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.identity import difference
from gh_tools.store.provenance import find_inputs
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import Structures, read_structures
from gh_tools.trained_model.domain import Domain


@dataclass
class Inputs:
    """What a run reads.

    Attributes:
        stores: the scale-shift store, then the label stores.
        readers: of the label stores.
        basis: the table that all of them share.
        scaleshifts: the fitted scale-shifts, by frame.
        split: which structures are used for what, counted over the label stores in order.
        structures: all structures, in this order, with names of their own and their charges.
        charges: that a model will know: those of the training set, and of a parent's.
        n_spins: spin channels of all of them.
        domain: what the training set has, and a parent's.
        weights: of a parent, to start from; None draws them.
        inherited: structures that a parent was trained on; None where they are not known.
    """

    stores: list[Store]
    readers: list[HamiltonianReader]
    basis: Basis
    scaleshifts: dict[Frame, ScaleShift]
    split: Split
    structures: Structures
    charges: list[float]
    n_spins: int
    domain: Domain
    weights: Any = None
    inherited: Sequence[ase.Atoms] | None = ()

    @property
    def names(self) -> list[str]:
        """Names of the structures."""
        return self.structures.names


def open_inputs(
    scaleshift: Path, hamiltonians: Sequence[Path] = (), split: Path | None = None
) -> Inputs:
    """Open what a run reads.

    Args:
        scaleshift: the scale-shift store.
        hamiltonians: the label stores; if none are given, those that the scale-shift was fitted to.
        split: a JSON file; if not given, the split of the scale-shift store.

    Raises:
        NoInputError: a store or file is missing.
        DataError: they do not belong together, or the validation set is empty.
    """
    store = open_store(scaleshift, "scaleshift")
    stores = [open_store(path, "hamiltonians") for path in hamiltonians]
    labels = open_labels(stores or find_inputs(store, "hamiltonians"))
    basis = Basis.from_arrays(store)
    where = ", ".join(str(source.path) for source in labels.stores)
    basis.check_covers(labels.basis.numbers, where)
    basis.check_same(labels.basis, where)
    fitted = int(store.attributes.get("spins", 1))
    if fitted != labels.n_spins:
        raise DataError(
            f"{scaleshift}: expected {labels.n_spins} spin channels as in {where}, found {fitted}; "
            "fit it to these labels with gh-fit-scaleshift"
        )
    for reader in labels.readers:  # eigenvalues are compared up to the Fermi level
        if not np.isfinite(reader.scalars.get("n_electrons", np.nan)).all():
            reader.basis.check_valence(reader.structures.numbers)
    if split is None:
        chosen = Split.from_arrays(store)
        _check_split(store, labels, named=bool(stores))
    else:
        chosen = read_split(split, labels.names)
    chosen.check_copies(labels.copies, labels.names, split or scaleshift)
    if chosen.validation.size == 0:
        raise DataError(
            f"{split or scaleshift}: the split's validation set is empty; the best epoch is chosen "
            "by it: put at least one structure there"
        )
    return Inputs(
        [store, *labels.stores],
        labels.readers,
        basis,
        {frame: ScaleShift.from_arrays(store, basis, frame=frame) for frame in FRAMES},
        chosen,
        labels.structures,
        np.unique(labels.structures.charges[chosen.train]).tolist(),
        labels.n_spins,
        Domain.of(labels.structures.select(chosen.train).atoms),
    )


def _check_split(store: Store, labels: Labels, named: bool) -> None:
    """Make sure that a scale-shift's split counts the structures of these labels.

    Args:
        store: of the scale-shift.
        labels: what its split is to be used for.
        named: whether somebody chose the labels, who need not be those that it was fitted to.
    """
    mend = "give the labels that it was fitted to, or a split of these with --split"
    if "structures/name" not in store:  # made before stores told them
        Split.from_arrays(store).check(len(labels.names), store.path)
        if named:
            raise DataError(f"{store.path}: does not tell the structures of its split; {mend}")
        return
    counted = read_structures(store)
    if len(counted) != len(labels.names):
        raise DataError(
            f"{store.path}: its split counts {len(counted)} structures, but the labels hold "
            f"{len(labels.names)}; {mend}"
        )
    for name, found, expected in zip(
        labels.names, labels.structures.atoms, counted.atoms, strict=True
    ):
        if unlike := difference(found, expected):
            raise DataError(
                f"{store.path}: its split counts another structure in the place of {name}: {unlike}; {mend}"
            )
