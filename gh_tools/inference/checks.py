"""What a model can predict of a store; light, so that a command can ask before heavy imports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.labels.split import SETS
from gh_tools.orbitals.basis import Basis
from gh_tools.store.identity import CHARGE_TOLERANCE, copies, difference
from gh_tools.store.read import Store
from gh_tools.store.structures import CHARGE, Structures, read_structures


def check_model_covers(store: Store, structures: Structures, basis: Basis) -> None:
    """Make sure that a model's basis serves for structures.

    Args:
        store: where they come from. If it holds Hamiltonians, theirs must be the model's basis.
        structures: its structures.
        basis: of the model.

    Raises:
        DataError: naming the elements that the model has not seen, or whose basis differs.
    """
    where = f"{store.path}: cannot be predicted by this model"
    basis.check_covers(structures.numbers, where)
    if store.kind == "hamiltonians":
        basis.check_same(Basis.from_arrays(store), where)


def charged_like(model: Store, structures: Structures) -> Structures:
    """Give each structure its charge: that of its column ``charge``, else that of the model's labels.

    Networks see atoms alone. So a model predicts structures of the charges that its labels had, and what a
    column says otherwise decides on the electron count alone.

    Args:
        model: the model store; its attribute ``charges`` lists those of its labels.
        structures: what is to be predicted.

    Returns:
        The same structures with a column ``charge``.

    Raises:
        DataError: a charge is not known, or is none although all labels were neutral.
    """
    learned = list(model.attributes.get("charges", [0.0]))
    told = ", ".join(f"{charge:+g}" for charge in learned)
    if CHARGE not in structures.columns:
        if len(learned) > 1:
            raise DataError(
                f"{structures.source}: column/{CHARGE} is missing, and the labels of {model.path} had the charges "
                f"{told}; give each structure its charge in |e|, as a number called charge in the file that "
                "gh-build reads"
            )
        if learned[0]:
            log.warning(
                "%s: without column/%s, each structure is taken to have the charge %s of all labels of %s",
                *(structures.source, CHARGE, told, model.path),
            )
        return structures.with_charges(np.full(len(structures), learned[0]))
    charges = structures.charges
    unseen = np.flatnonzero(np.abs(charges[:, None] - learned).min(axis=1) > CHARGE_TOLERANCE)
    if unseen.size:
        first = f"{structures.names[unseen[0]]!r} has the charge {charges[unseen[0]]:+g}"
        if not any(learned):
            raise DataError(
                f"{structures.source}: column/{CHARGE}: {first}, but all labels of {model.path} were neutral, so "
                "that it would predict the neutral structure; train a model on charged labels"
            )
        log.warning(
            "%s: %s, which none of the labels of %s had (%s): it decides on the electron count alone",
            *(structures.source, first, model.path, told),
        )
    return structures


def select_part(
    model: Store, stores: Sequence[Store], sets: Sequence[Structures], part: str
) -> list[Structures]:
    """Choose the structures that a model's training put into one part of the split.

    A structure is known by its atoms, cell and charge, under whatever name; so none is chosen that has only the
    name of one.

    Args:
        model: the model store.
        stores: where the structures come from.
        sets: the structures of each, to choose from.
        part: ``train``, ``validation`` or ``test``.

    Returns:
        Those of each store that are in the part; of some of several stores there may be none.

    Raises:
        DataError: none of them is in that part, one has the name of another structure, or the model does not
            tell its structures.
    """
    if "structures/name" not in model:
        raise DataError(
            f"{model.path}: does not tell the structures of its split, being made by an earlier version; train "
            "it anew, or give the structures of the part without --part"
        )
    known = read_structures(model)
    members = set(model[f"split/{part}"].tolist())
    found = [
        structures.select(_chosen(model, known, members, store, structures))
        for store, structures in zip(stores, sets, strict=True)
    ]
    if not any(map(len, found)):
        where = ", ".join(str(store.path) for store in stores)
        names = ", ".join(known.names[index] for index in sorted(members)[:3]) or "empty"
        raise DataError(
            f"{where}: no structure is in the {SETS[part]} of {model.path} ({names}); give the structures that the model "
            "was trained with"
        )
    return found


def _chosen(
    model: Store, known: Structures, members: set[int], store: Store, structures: Structures
) -> list[int]:
    """Return the indices of the structures that are members of a model's."""
    number = copies([*known.atoms, *structures.atoms])
    places: dict[int, list[int]] = {}
    for index, group in enumerate(number[: len(known)].tolist()):
        places.setdefault(group, []).append(index)
    named, charges = set(known.names), known.charges
    chosen = []
    rows = zip(structures.names, structures.charges, number[len(known) :].tolist(), strict=True)
    for index, (name, charge, group) in enumerate(rows):
        same = [n for n in places.get(group, []) if abs(charges[n] - charge) <= CHARGE_TOLERANCE]
        if not same and name in named:
            unlike = difference(structures.atoms[index], known.atoms[known.names.index(name)])
            raise DataError(
                f"{store.path}: {name} is another structure than the one of this name that {model.path} was "
                f"trained with ({unlike or 'their charges differ'}); give the structures that it was trained "
                "with, or leave --part out"
            )
        if members.intersection(same):
            chosen.append(index)
    return chosen
