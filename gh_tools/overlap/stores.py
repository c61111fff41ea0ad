"""Stores of overlap matrices."""

from __future__ import annotations

from pathlib import Path

from gh_tools.console import progress
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs, wrapped
from gh_tools.overlap.source import overlap_source, warn_of_overlap, with_functions
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures


def known_overlap(store: Store) -> Basis:
    """Return the basis table of a store; of imported labels with functions of S that are fitted to all of them.

    Args:
        store: of any kind that has a basis table.

    Raises:
        DataError: S of the labels is not of two-centre form, or that of orthonormal functions.
    """
    basis = Basis.from_arrays(store)
    if store.kind != "hamiltonians" or not any(e.code for e in basis.elements.values()):
        return basis
    if store.attributes.get("orthogonal") or store.attributes.get("shells") is False:
        raise DataError(f"{store.path}: holds H of orthonormal functions, whose S is one")
    reader = HamiltonianReader(store)
    return with_functions(basis, (reader.read(index) for index in range(len(reader))))


def write_overlaps(
    path: Path,
    structures: Structures,
    basis: Basis,
    provenance: Provenance,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Compute S(R) of structures and write a store of kind ``overlap``.

    Args:
        path: of the store.
        structures: of any size, each held in memory whole.
        basis: the basis table; covers their elements.
        provenance: how the store is being made.
        resume: keep what an interrupted run finished.
        overwrite: replace what is there.

    Raises:
        CannotCreateError: something is at ``path``.
        DataError: an element is not in the table, its PAW setup is not this machine's, or S is not known.
    """
    overlap, cutoffs = overlap_source(basis, structures.numbers), basis_cutoffs(basis)
    writer = HamiltonianWriter(path, structures, provenance, resume=resume, overwrite=overwrite)
    if writer.partial.finished:
        return path
    warn_of_overlap(overlap, basis, cutoffs, structures.atoms)
    charges = structures.charges
    with progress("overlap", len(structures)) as shown:
        for index, atoms in enumerate(map(wrapped, structures.atoms)):
            if not writer.done(index):
                pairs = stored_pairs(atoms, cutoffs)
                onsite, bonds = overlap(atoms, pairs)
                writer.write(
                    index,
                    Hamiltonian(
                        atoms,
                        basis,
                        {
                            z: OnsiteBlocks((atoms.numbers == z).nonzero()[0], overlap=blocks)
                            for z, blocks in onsite.items()
                        },
                        {
                            pair: PairBlocks(*pairs[pair][:3], overlap=blocks)
                            for pair, blocks in bonds.items()
                        },
                        {"n_electrons": basis.n_electrons(atoms.numbers, charges[index])},
                    ),
                )
            shown.advance()
    attributes = {"cutoffs": {f"{zi}-{zj}": cutoff for (zi, zj), cutoff in cutoffs.items()}}
    return writer.publish(basis, attributes, kind="overlap")
