"""Fine-tuning: a run that starts from another model's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from gh_tools.console import log
from gh_tools.errors import DataError, UsageError
from gh_tools.labels.periodicity import counts_from_vacuum, n_periodic
from gh_tools.store.identity import copies
from gh_tools.store.read import Store
from gh_tools.store.structures import read_structures
from gh_tools.trained_model.domain import Domain
from gh_tools.trained_model.outside import read_domain, tells_all
from gh_tools.trained_model.store import LoadedModel
from gh_tools.training.config import TrainConfig
from gh_tools.training.inputs import Inputs

# What a run from a parent's weights has for defaults, besides the parent's network. Measured on WSe2, see
# docs/how-to/training.md: at the rate of a new network a good parent loses, at lower ones a bad one learns slowly.
DEFAULTS: Mapping[str, Any] = {"optimizer": {"learning_rate": 2e-3}}


def defaults(parent: LoadedModel) -> dict[str, Any]:
    """Return the configuration that a run from a parent starts with, before the user's."""
    network = parent.config.model.model_dump(mode="json")
    return {"model": network, "ensemble": parent.config.ensemble, **DEFAULTS}


def continue_from(inputs: Inputs, path: Path, parent: LoadedModel, config: TrainConfig) -> Inputs:
    """Let a run start from a parent.

    The parent's scale-shift is kept, and with it its basis table: its weights are corrections in units
    of its scales, on top of its shifts, so that with others they would mean another Hamiltonian. What
    the new labels have of another mean, the network learns.

    Args:
        inputs: of the run.
        path: the parent's store.
        parent: what it holds.
        config: of the run.

    Returns:
        The inputs with the parent's basis, scale-shift and weights, and its store among theirs.

    Raises:
        UsageError: the configuration names another network.
        DataError: the parent does not know an element, or knows it with another basis, the number of
            spin channels differs, or it was trained on a structure of the validation or test set.
    """
    if config.model != parent.config.model:
        old, new = parent.config.model.model_dump(), config.model.model_dump()
        key = next((key for key in new if old.get(key) != new[key]), "model")
        raise UsageError(
            f"model.{key}: expected {old.get(key)!r} as in {path}, found {new[key]!r}; weights fit one "
            "network only: leave the model section out"
        )
    if config.ensemble != parent.config.ensemble:
        raise UsageError(
            f"ensemble: expected {parent.config.ensemble} as in {path}, found {config.ensemble}; each member "
            "goes on from its own weights: leave the key out"
        )
    present = sorted({number for reader in inputs.readers for number in reader.basis.numbers})
    unknown = [chemical_symbols[n] for n in present if n not in parent.basis.numbers]
    if unknown:
        known = ", ".join(chemical_symbols[number] for number in parent.basis.numbers)
        raise DataError(
            f"{path}: knows {known}, but the labels also hold {', '.join(unknown)}; a model is fine-tuned "
            "for elements that it knows: train a new one on labels of all of them"
        )
    parent.basis.check_same(inputs.basis, str(inputs.stores[0].path))
    if parent.n_spins != inputs.n_spins:
        raise DataError(
            f"{path}: expected {inputs.n_spins} spin channels as in the labels, found {parent.n_spins}; "
            "fine-tune with labels of the same kind"
        )
    _check_unseen(inputs, parent.store)
    domain = _domain(inputs, parent.store)
    return dataclasses.replace(
        inputs,
        stores=[*inputs.stores, parent.store],
        basis=parent.basis,
        scaleshifts={parent.scaleshift.frame: parent.scaleshift},
        weights=parent.params,
        domain=domain,
        inherited=_training_set(parent.store, domain.kinds),
        charges=sorted({*inputs.charges, *parent.attributes.get("charges", [0.0])}),
    )


def _domain(inputs: Inputs, parent: Store) -> Domain:
    """Return what the training set and the parent's have together, of those whose energies count from one zero."""
    known = read_domain(parent)
    if known is None:
        log.warning(
            "%s: does not tell what it was trained on, so that the new model will not know of it",
            parent.path,
        )
        return inputs.domain
    zeros = {counts_from_vacuum(kind) for kind in inputs.domain.kinds}
    same = {kind for kind in known.kinds if counts_from_vacuum(kind) in zeros}
    if same != known.kinds:
        log.warning(
            "%s: was trained on structures whose energies count from another zero of the potential; the new model will "
            "not be one for these",
            parent.path,
        )
    return inputs.domain.union(known.of_kinds(same))


def _training_set(parent: Store, kinds: Collection[int]) -> list[ase.Atoms] | None:
    """Return a parent's training set, as far as it has one of these numbers of periodic directions; None where its store does not hold them all."""
    if not tells_all(parent):
        return None
    learned = read_structures(parent).select(parent["split/train"]).atoms
    return [atoms for atoms in learned if n_periodic(atoms) in kinds]


def _check_unseen(inputs: Inputs, parent: Store) -> None:
    """Make sure that a parent was not trained on what its child is judged by."""
    if "structures/name" not in parent:  # made before stores told them
        log.warning("%s: does not tell which structures it was trained on", parent.path)
        return
    learned = read_structures(parent).select(parent["split/train"])
    kept = np.concatenate([inputs.split.validation, inputs.split.test])
    judges = inputs.structures.select(kept)
    number = copies([*learned.atoms, *judges.atoms])
    first = {
        group: row for row, group in reversed(list(enumerate(number[: len(learned)].tolist())))
    }
    for row, group in enumerate(number[len(learned) :].tolist()):
        if group in first:
            raise DataError(
                f"{parent.path}: was trained on {learned.names[first[group]]}, of which {judges.names[row]} in the "
                "validation or test set is a copy, so that errors would look smaller than they are; put it into "
                "the training set with --split"
            )
