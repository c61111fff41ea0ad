"""Whether a model can predict structures at all; light, so that a command can ask before heavy imports."""

from __future__ import annotations

from gh_tools.orbitals.basis import Basis
from gh_tools.store.io import Store
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
