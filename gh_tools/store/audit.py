"""All that can be checked of a store, which takes as long as reading all of it and more."""

from __future__ import annotations

from gh_tools.console import track
from gh_tools.errors import DataError
from gh_tools.orbitals.checks import check_hamiltonian
from gh_tools.store.checks.bands import check_spectra
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.hashes import verify_id
from gh_tools.store.read import Store
from gh_tools.store.structures import read_structures


def check_store(store: Store, deep: bool) -> tuple[list[str], str]:
    """Check a store further than `open_store` did, which has checked attributes, schema and small arrays.

    Args:
        store: of any kind.
        deep: whether to check matrices, too: what every block must be, near neighbours, and S(k).

    Returns:
        One sentence for each thing that is wrong, naming array and structure; and in a few words what has
        been checked.

    Raises:
        DataError: chunks are damaged, or a structure cannot be computed.
    """
    checked = "hash of all content, schema, values"
    if not verify_id(store):
        return ["id: the content is no longer what the id was computed from"], checked
    faults: list[str] = []
    if "structures/atom_ptr" in store:  # models have them, too: those of their test set
        try:
            read_structures(store)
        except DataError as error:
            return [str(error).removeprefix(f"{store.path}: ")], checked
        checked += ", structures"
    if store.kind == "spectra":
        faults += check_spectra(store)
    if store.kind in ("hamiltonians", "overlap"):
        reader = HamiltonianReader(store, spinors=True)
        for index, name in enumerate(reader.names):
            if fault := reader.electron_fault(index):
                faults.append(f"{name}: {fault}")
        if deep:
            faults += _check_matrices(store)
        checked += ", matrices" if deep else "; not of matrices, which --deep checks"
    return faults, checked


def _check_matrices(store: Store) -> list[str]:
    reader = HamiltonianReader(store, spinors=True)
    sample = {0, len(reader) // 2, len(reader) - 1}  # for S(k)
    return [
        f"{reader.names[index]}: {fault}"
        for index in track(range(len(reader)), f"checking {store.path.name}")
        for fault in check_hamiltonian(
            reader.read(index, check=False),
            overlap=index in sample,
            orthogonal=bool(store.attributes.get("orthogonal")),
        )
    ]
