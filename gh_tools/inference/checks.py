"""What a model can predict of a store; light, so that a command can ask before heavy imports."""

from __future__ import annotations

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures


def check_structures(store: Store, structures: Structures, basis: Basis) -> None:
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


def select_part(model: Store, structures: Structures, part: str) -> Structures:
    """Choose the structures that a model's training put into one part of the split, by name.

    Args:
        model: the model store.
        structures: to choose from.
        part: ``train``, ``validation`` or ``test``.

    Raises:
        DataError: none of them is in that part.
    """
    named = set(map(str, model[f"split/{part}_name"]))
    chosen = [index for index, name in enumerate(structures.names) if name in named]
    if not chosen:
        found = ", ".join(sorted(named)[:3]) or "no structure at all"
        raise DataError(
            f"{model.path}: its {part} part is {found}, and none of the structures is in it; "
            "give the structures that the model was trained from"
        )
    return structures.select(chosen)
