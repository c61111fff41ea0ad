"""Does a Hamiltonian obey what every H(R) and S(R) must obey?

Each check gives sentences that name the field, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import MATRICES, Hamiltonian, canonical
from gh_tools.orbitals.pairs import basis_cutoffs, stored_pairs

# Stored as float32, a matrix element of 100 eV is rounded by 4e-6 eV.
SYMMETRY_TOLERANCE = 1e-5
# eV. The deepest eigenvalues that a basis of valence orbitals describes are some hundred eV deep.
LARGEST_ENERGY = 1e5
# Orbitals are normalised, those of other codes within an order of magnitude or two.
LARGEST_OVERLAP = 1e3
# Of float32, and of the grids and splines that S comes from.
OVERLAP_TOLERANCE = 1e-3
# Orbitals from which on Lanczos iterations find the lowest eigenvalue sooner than a dense solver.
LANCZOS_FROM = 2000
# A point off every symmetry plane, so that no phase is real.
GENERIC_K = np.array([0.137, 0.291, 0.419])


def check_blocks(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Run the checks that cost no more than reading the blocks did: values, pairs, on-site blocks, sizes of S."""
    yield from check_block_values(hamiltonian)
    yield from check_pairs(hamiltonian)
    yield from check_onsite(hamiltonian)
    yield from check_overlap_bound(hamiltonian)


def check_block_values(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find numbers that are not finite, energies that cannot be, and uncertainties below zero."""
    for key, blocks in hamiltonian.groups():
        for field in MATRICES:
            matrix = getattr(blocks, field)
            if matrix is None:
                continue
            if matrix.size == 0:
                continue
            parts = [matrix.real, matrix.imag] if np.iscomplexobj(matrix) else [matrix]
            low = min(float(part.min()) for part in parts)
            high = max(float(part.max()) for part in parts)
            if not np.isfinite([low, high]).all():
                bad = int(np.count_nonzero(~np.isfinite(matrix)))
                yield f"{_group(key)}/{field}: {bad} of {matrix.size} numbers are not finite"
            elif field == "uncertainty" and low < 0:
                yield f"{_group(key)}/{field}: expected none below zero, found {low:g}"
            elif field == "overlap" and max(high, -low) > LARGEST_OVERLAP:
                yield (
                    f"{_group(key)}/{field}: expected overlaps within ±{LARGEST_OVERLAP:g}, "
                    f"found {max(high, low, key=abs):g}"
                )
            elif field != "overlap" and max(high, -low) > LARGEST_ENERGY:
                yield (
                    f"{_group(key)}/{field}: expected energies within ±{LARGEST_ENERGY:g} eV, "
                    f"found {max(high, low, key=abs):g}"
                )
    for name, value in hamiltonian.scalars.items():
        if np.isinf(value):  # nan says that there is none
            yield f"scalar/{name}: expected a finite number, found {value}"
    if hamiltonian.bands is not None and not np.isfinite(hamiltonian.bands.eigenvalue).all():
        yield "bands/eigenvalue: expected finite numbers, found others"


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
            with np.errstate(invalid="ignore"):  # of infinities
                adjoint = np.swapaxes(matrix, -1, -2)
                adjoint = adjoint.conj() if np.iscomplexobj(matrix) else adjoint
                skew = np.abs(matrix - adjoint).max()
            if not skew <= SYMMETRY_TOLERANCE:
                name = "Hermitian" if np.iscomplexobj(matrix) else "symmetric"
                yield f"onsite/{z}/{field}: blocks must be {name}, they differ by {skew:.2g}"


def check_pairs(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find pairs that are not canonical, stand twice, join the wrong species, or are far apart."""
    numbers = hamiltonian.atoms.numbers
    for (zi, zj), blocks in hamiltonian.pairs.items():
        group = _group((zi, zj))
        if len(blocks.i) == 0:
            continue
        members = np.stack([blocks.i, blocks.j])
        if members.min() < 0 or members.max() >= len(numbers):
            found = f"{members.min()}..{members.max()}"
            yield f"{group}: i and j must lie in 0..{len(numbers) - 1}, found {found}"
            continue
        if (numbers[blocks.i] != zi).any() or (numbers[blocks.j] != zj).any():
            yield f"{group}: i and j must be atoms of species {zi} and {zj}, found others"
            continue
        if not canonical(blocks.i, blocks.j, blocks.cell_offset, numbers).all():
            yield f"{group}: expected one of (i,j,R) and (j,i,-R), found the one that is not stored"
        if twice := _repeated(blocks.i, blocks.j, blocks.cell_offset, len(numbers)):
            yield f"{group}: expected each pair once, found {twice} that stand twice"
        # Projectors of a third atom couple orbitals that do not overlap themselves.
        limit = 2 * hamiltonian.basis.pair_range(zi, zj)
        farthest = float(np.linalg.norm(hamiltonian.vectors((zi, zj)), axis=1).max())
        if not farthest <= limit:
            yield (
                f"{group}/cell_offset: expected atoms at most {limit:.1f} Å apart, twice what their orbitals "
                f"reach, found {farthest:.3g}"
            )


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
    for pair, (i, j, cell_offset, _) in near.items():
        expected = np.column_stack([i, j, cell_offset])
        blocks = hamiltonian.pairs.get(pair)
        if blocks is None:
            stored = expected[:0]
        else:
            stored = np.column_stack([blocks.i, blocks.j, blocks.cell_offset])
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


def check_overlap_bound(hamiltonian: Hamiltonian) -> Iterator[str]:
    """Find elements of S above what its diagonal allows: |S_ab|² ≤ S_aa S_bb for any scalar product."""
    largest: dict[int, float] = {}
    for z, blocks in hamiltonian.onsite.items():
        if blocks.overlap is None or blocks.overlap.size == 0:
            continue
        diagonal = np.diagonal(blocks.overlap, axis1=-2, axis2=-1)
        if diagonal.min() <= 0:
            yield f"onsite/{z}/overlap: expected a positive diagonal, found {diagonal.min():.3g}"
            return
        largest[z] = float(diagonal.max())
    for (zi, zj), bonds in hamiltonian.pairs.items():
        if bonds.overlap is None or bonds.overlap.size == 0 or not {zi, zj} <= largest.keys():
            continue
        bound = (largest[zi] * largest[zj]) ** 0.5
        found = max(float(bonds.overlap.max()), -float(bonds.overlap.min()))
        if found > bound * (1 + OVERLAP_TOLERANCE):
            yield (
                f"{_group((zi, zj))}/overlap: expected at most {bound:.3g}, which the on-site blocks "
                f"allow, found {found:.3g}"
            )


def check_hamiltonian(
    hamiltonian: Hamiltonian, overlap: bool = True, orthogonal: bool = False
) -> list[str]:
    """Run all checks on one structure; those that need finite numbers only where all are.

    Args:
        hamiltonian: the blocks of one structure.
        overlap: look at the eigenvalues of S(k) too, which takes longest.
        orthogonal: the basis is orthonormal, so that neighbours do not overlap.

    Returns:
        One sentence for each thing that is wrong.
    """
    found = list(check_blocks(hamiltonian))
    if not found:
        found += [] if orthogonal else check_bonds(hamiltonian)
        found += check_overlap(hamiltonian) if overlap else []
    return found


def _repeated(i, j, cell_offset: Int[np.ndarray, "pairs 3"], n_atoms: int) -> int:
    """Number of pairs that stand twice; what is sorted, as all stores are, takes one comparison."""
    low = cell_offset.min(axis=0).astype(np.int64)
    span = cell_offset.max(axis=0) - low + 1
    if n_atoms**2 * float(np.prod(span, dtype=float)) > 2**62:
        return len(i) - len(np.unique(np.column_stack([i, j, cell_offset]), axis=0))
    place = i.astype(np.int64) * n_atoms + j
    for axis in range(3):
        place = place * span[axis] + (cell_offset[:, axis] - low[axis])
    if (np.diff(place) > 0).all():
        return 0
    return len(place) - len(np.unique(place))


def _group(key: int | SpeciesPair) -> str:
    return f"onsite/{key}" if isinstance(key, int) else f"pairs/{key[0]}-{key[1]}"
