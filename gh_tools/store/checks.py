"""Does a store have the arrays of its schema, and obey H(R) and S(R) what they must obey?

Each check gives sentences that name the field, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from ase import Atoms
from jaxtyping import Float

from gh_tools.console import track
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import MATRICES, Hamiltonian, canonical
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import Store, verify_id
from gh_tools.store.schema import KINDS, Field
from gh_tools.store.structures import KINDS as STRUCTURE_KINDS
from gh_tools.store.structures import read_structures

_DTYPES = {"float": "f", "int": "iu", "bool": "b", "str": "TUO"}
_GLOBAL = {"n", "N"}  # lengths that hold for a whole store
# Stored as float32, a matrix element of 100 eV is rounded by 4e-6 eV.
SYMMETRY_TOLERANCE = 1e-5
# Orbitals from which on Lanczos iterations find the lowest eigenvalue sooner than a dense solver.
LANCZOS_FROM = 2000
# A point off every symmetry plane, so that no phase is real.
GENERIC_K = np.array([0.137, 0.291, 0.419])


def check_values(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find numbers that are not finite, and uncertainties below zero."""
    for key, blocks in hamiltonian.groups():
        for field in MATRICES:
            matrix = getattr(blocks, field)
            if matrix is None:
                continue
            if bad := int(np.count_nonzero(~np.isfinite(matrix))):
                yield f"{_group(key)}/{field}: {bad} of {matrix.size} numbers are not finite"
            elif field == "uncertainty" and (matrix < 0).any():
                yield f"{_group(key)}/{field}: expected none below zero, found {matrix.min():g}"
    for name, value in hamiltonian.scalars.items():
        if np.isinf(value):  # nan says that there is none
            yield f"scalar/{name}: expected a finite number, found {value}"


def check_onsite(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find atoms without a block or with two, and blocks that are not symmetric."""
    numbers = hamiltonian.atoms.numbers
    for z in np.unique(numbers).tolist():
        blocks = hamiltonian.onsite.get(z)
        found = np.array([], dtype=int) if blocks is None else blocks.atom
        if not np.array_equal(found, np.flatnonzero(numbers == z)):
            yield (
                f"onsite/{z}/atom: expected each of the {np.count_nonzero(numbers == z)} atoms of "
                f"the species once, in order, found {len(found)} entries that are others"
            )
    for z, blocks in hamiltonian.onsite.items():
        for field in MATRICES:
            matrix = getattr(blocks, field)
            if matrix is None or matrix.size == 0:
                continue
            skew = np.abs(matrix - np.swapaxes(matrix, -1, -2)).max()
            if skew > SYMMETRY_TOLERANCE:
                yield f"onsite/{z}/{field}: blocks must be symmetric, they differ by {skew:.2g}"


def check_pairs(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find pairs that are not canonical, stand twice, or join the wrong species."""
    numbers = hamiltonian.atoms.numbers
    for (zi, zj), blocks in hamiltonian.pairs.items():
        group = _group((zi, zj))
        if len(blocks.i) == 0:
            continue
        ends = np.stack([blocks.i, blocks.j])
        if ends.min() < 0 or ends.max() >= len(numbers):
            found = f"{ends.min()}..{ends.max()}"
            yield f"{group}: i and j must lie in 0..{len(numbers) - 1}, found {found}"
            continue
        if (numbers[blocks.i] != zi).any() or (numbers[blocks.j] != zj).any():
            yield f"{group}: i and j must be atoms of species {zi} and {zj}, found others"
            continue
        if not canonical(blocks.i, blocks.j, blocks.shift, numbers).all():
            yield f"{group}: expected one of (i,j,R) and (j,i,-R), found the one that is not stored"
        rows = np.column_stack([blocks.i, blocks.j, blocks.shift])
        if twice := len(rows) - len(np.unique(rows, axis=0)):
            yield f"{group}: expected each pair once, found {twice} that stand twice"


def check_bonds(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find near neighbours whose overlap is missing or zero.

    That is the trace of lattice vectors counted from other positions than the wrapped ones, which
    neither Hermiticity nor positive definiteness shows. Near is half of what the orbitals reach, or
    as far as blocks are stored at all, if that is less.
    """
    limits = {pair: cutoff / 2 for pair, cutoff in basis_cutoffs(hamiltonian.basis).items()}
    for pair in hamiltonian.pairs:
        farthest = np.linalg.norm(hamiltonian.vectors(pair), axis=1).max(initial=0)
        limits[pair] = min(limits[pair], farthest)
    near = stored_pairs(hamiltonian.atoms, limits)
    for pair, (i, j, shift, _) in near.items():
        expected = np.column_stack([i, j, shift])
        blocks = hamiltonian.pairs.get(pair)
        if blocks is None:
            stored = expected[:0]
        else:
            stored = np.column_stack([blocks.i, blocks.j, blocks.shift])
            if blocks.overlap is not None:
                stored = stored[np.abs(blocks.overlap).max(axis=(-2, -1), initial=0) > 0]
        both = np.unique(np.concatenate([stored, expected]), axis=0)
        if missing := len(both) - len(stored):
            yield (
                f"{_group(pair)}: {missing} of {len(expected)} pairs within "
                f"{limits[pair]:.2f} Å have no overlap; "
                "R must be counted from positions wrapped into the cell"
            )


def lowest_overlap_eigenvalue(hamiltonian: Hamiltonian, k: Float[np.ndarray, "3"]) -> float:
    """Return the lowest eigenvalue of S(k), which must be above zero.

    Args:
        hamiltonian: blocks with overlap.
        k: in units of the reciprocal cell's vectors.
    """
    if hamiltonian.n_orbitals < LANCZOS_FROM:
        overlap = bloch_matrix(hamiltonian, k, field="overlap")
        return float(scipy.linalg.eigh(overlap, eigvals_only=True, subset_by_index=[0, 0])[0])
    overlap = bloch_matrix(hamiltonian, k, field="overlap", sparse=True)
    return float(
        scipy.sparse.linalg.eigsh(
            overlap,
            k=1,
            which="SA",
            tol=1e-3,
            return_eigenvectors=False,
            v0=np.ones(overlap.shape[0]),
        )[0]
    )


def check_overlap(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find an S(k) that is not positive definite, at Γ and at a k-point off all symmetry."""
    if any(blocks.overlap is None for _, blocks in hamiltonian.groups()):
        return
    for k in (np.zeros(3), GENERIC_K * hamiltonian.atoms.pbc):
        lowest = lowest_overlap_eigenvalue(hamiltonian, k)
        if lowest <= 0:
            at = ", ".join(f"{component:g}" for component in k)
            yield f"overlap: S(k) at k = ({at}) must be positive definite, found {lowest:.2g}"


def check_atoms(atoms: Atoms) -> Iterator[str]:
    """Find positions that are not finite, and periodic directions without a cell vector."""
    if not np.isfinite(atoms.positions).all():
        yield "atoms/position: expected finite numbers, found others"
    if not np.isfinite(atoms.cell.array).all():
        yield "structures/cell: expected finite numbers, found others"
    elif np.linalg.matrix_rank(atoms.cell.array[atoms.pbc]) < atoms.pbc.sum():
        yield "structures/cell: the vectors of the periodic directions must be independent"


def check_hamiltonian(hamiltonian: Hamiltonian, overlap: bool = True) -> list[str]:
    """Run all checks on one structure; those that need finite numbers only where all are.

    Args:
        hamiltonian: the blocks of one structure.
        overlap: look at the eigenvalues of S(k) too, which takes longest.

    Returns:
        One sentence for each thing that is wrong.
    """
    found = [*check_values(hamiltonian), *check_pairs(hamiltonian), *check_onsite(hamiltonian)]
    if not found:
        found += check_bonds(hamiltonian)
        found += check_overlap(hamiltonian) if overlap else []
    return found


def check_store(store: Store) -> list[str]:
    """Check the content of a valid store: its id, its structures and its matrices.

    Args:
        store: of any kind; one that passes `check`.

    Returns:
        One sentence for each thing that is wrong, naming structure and field.
    """
    if not verify_id(store):
        return ["id: the content is no longer what the id was computed from"]
    if store.kind not in STRUCTURE_KINDS:
        return []
    structures = read_structures(store)
    faults = [
        f"{name}: {fault}"
        for name, atoms in zip(structures.names, structures.atoms, strict=True)
        for fault in check_atoms(atoms)
    ]
    if faults or store.kind not in ("hamiltonians", "overlap"):
        return faults
    reader = HamiltonianReader(store)
    sample = {0, len(reader) // 2, len(reader) - 1}  # for S(k)
    return [
        f"{reader.names[index]}: {fault}"
        for index in track(range(len(reader)), f"checking {store.path.name}")
        for fault in check_hamiltonian(reader.read(index), overlap=index in sample)
    ]


def _group(key: int | SpeciesPair) -> str:
    return f"onsite/{key}" if isinstance(key, int) else f"pairs/{key[0]}-{key[1]}"


def check(store: Store) -> list[str]:
    """Validate names, shapes and types, reading metadata and pointers only.

    Returns:
        One sentence for each fault, naming the array; empty for a valid store.
    """
    faults = []
    lengths: dict[tuple[str, str], int] = {}
    keys = store.keys()
    for field in KINDS[store.kind]:
        found = [key for key in keys if field.pattern.fullmatch(key)]
        if field.required and not found and "<" not in field.path:
            faults.append(f"{field.path} is missing")
        for key in found:
            faults += _check_array(store, key, field, lengths)
    # Families are required group by group: a group with one of their arrays must have all.
    for field in KINDS[store.kind]:
        if field.required and "<" in field.path:
            group, name = field.path.rsplit("/", 1)
            pattern = Field(group + "/<name>", "", "", "", "").pattern
            groups = {key.rsplit("/", 1)[0] for key in keys if pattern.fullmatch(key)}
            faults += [
                f"{g}/{name} is missing" for g in sorted(groups) if f"{g}/{name}" not in store
            ]
    return faults


def _check_array(
    store: Store, key: str, field: Field, lengths: dict[tuple[str, str], int]
) -> list[str]:
    array = store.array(key)
    if np.dtype(array.dtype).kind not in _DTYPES[field.dtype]:
        return [f"{key}: expected {field.dtype} values, found {array.dtype}"]
    axes = field.shape.split()
    if len(array.shape) < len(axes):
        axes = [axis for axis in axes if not axis.endswith("?")]
    if len(array.shape) != len(axes):
        return [f"{key}: expected shape ({field.shape}), found {tuple(array.shape)}"]
    for axis, length in zip(axes, array.shape, strict=True):
        symbol, plus = (axis.rstrip("?")).removesuffix("+1"), axis.endswith("+1")
        if symbol.isdigit():
            expected = int(symbol)
        else:
            scope = "" if symbol in _GLOBAL else key.rsplit("/", 1)[0]
            expected = lengths.setdefault((scope, symbol), length - plus) + plus
        if length != expected:
            return [
                f"{key}: expected {expected} along axis {axis} of ({field.shape}), found {length}"
            ]
    if key.endswith("ptr"):
        return _check_ptr(store, key)
    return []


def _check_ptr(store: Store, key: str) -> list[str]:
    values = store[key]
    if values.size == 0 or values[0] != 0 or np.any(np.diff(values) < 0):
        return [f"{key}: offsets must start at 0 and never decrease"]
    rows = {
        "structures/atom_ptr": "atoms/number",
        "bands/kpoint_ptr": "bands/weight",
        "bands/eigenvalue_ptr": "bands/eigenvalue",
    }
    group = key.rsplit("/", 1)[0]
    target = rows.get(key) or next(
        (f"{group}/{name}" for name in ("atom", "i") if f"{group}/{name}" in store), None
    )
    if target is not None and target in store and values[-1] != store.array(target).shape[0]:
        return [
            f"{key}: ends at {values[-1]}, but {target} has {store.array(target).shape[0]} rows"
        ]
    return []
