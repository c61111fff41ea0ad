"""How far the matrix elements of a predicted H(R) are from those of a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.spectra.fermi import electrons_of
from gh_tools.store.identity import CHARGE_TOLERANCE, TOLERANCE, difference


@dataclass(frozen=True)
class ErrorSum:
    """Absolute errors, summed, so that averages over parts can be joined.

    Attributes:
        total: sum of absolute errors, eV.
        count: number of matrix elements.
    """

    total: float = 0.0
    count: int = 0

    def __add__(self, other: ErrorSum) -> ErrorSum:
        return ErrorSum(self.total + other.total, self.count + other.count)

    @property
    def mae(self) -> float:
        """Mean absolute error in eV; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")


@dataclass(frozen=True)
class HamiltonianErrors:
    """Errors of the matrix elements of H(R), each counted once.

    Those of a stored pair count twice, because their transpose is the block of the opposite pair.

    Attributes:
        onsite: by atomic number.
        pairs: by species pair.
        distance: of pairs, by distance rounded down to whole Å.
    """

    onsite: Mapping[int, ErrorSum] = field(default_factory=dict)
    pairs: Mapping[SpeciesPair, ErrorSum] = field(default_factory=dict)
    distance: Mapping[int, ErrorSum] = field(default_factory=dict)

    def __add__(self, other: HamiltonianErrors) -> HamiltonianErrors:
        def join(mine: Mapping, theirs: Mapping) -> dict:
            return {
                key: mine.get(key, ErrorSum()) + theirs.get(key, ErrorSum())
                for key in sorted({*mine, *theirs})
            }

        return HamiltonianErrors(
            join(self.onsite, other.onsite),
            join(self.pairs, other.pairs),
            join(self.distance, other.distance),
        )

    @property
    def all_onsite(self) -> ErrorSum:
        """Over all on-site elements."""
        return reduce(add, self.onsite.values(), ErrorSum())

    @property
    def all_pairs(self) -> ErrorSum:
        """Over all elements of pairs."""
        return reduce(add, self.pairs.values(), ErrorSum())

    @property
    def all(self) -> ErrorSum:
        """Over all elements."""
        return self.all_onsite + self.all_pairs

    def means(self) -> dict[str, float]:
        """Mean absolute errors in eV of ``all``, ``onsite`` and ``pairs``; NaN of nothing."""
        return {
            "all": self.all.mae,
            "onsite": self.all_onsite.mae,
            "pairs": self.all_pairs.mae,
        }


def check_same_structure(predicted: Hamiltonian, reference: Hamiltonian, where: str) -> None:
    """Make sure that two Hamiltonians are of the same structure, charge, basis and spin treatment.

    Args:
        predicted: The one.
        reference: The other.
        where: What is named in the error.

    Raises:
        DataError: If atoms, cell, positions, electron count, basis or number of spins differ.
    """
    a, b = predicted.atoms, reference.atoms
    if unlike := difference(a, b):
        raise DataError(f"{where}: {unlike}; compare predictions of the labelled structures")
    if np.abs(a.positions - b.positions).max() > TOLERANCE:
        raise DataError(
            f"{where}: an atom stands in another cell than in the reference, so that R means other pairs; "
            "predict the structures of the labels' own store"
        )
    counts = electrons_of(reference), electrons_of(predicted)
    if abs(counts[0] - counts[1]) > CHARGE_TOLERANCE:
        raise DataError(
            f"{where}: expected {counts[0]:g} electrons as in the reference, found {counts[1]:g}; predict with "
            "the charges of the labels"
        )
    predicted.basis.check_same(reference.basis, where)
    if predicted.n_spins != reference.n_spins:
        raise DataError(
            f"{where}: expected {reference.n_spins} spin channels as in the reference, found "
            f"{predicted.n_spins}; predict with a model of such labels"
        )


def hamiltonian_errors(predicted: Hamiltonian, reference: Hamiltonian) -> HamiltonianErrors:
    """Compare the matrix elements of two Hamiltonians of one structure, in the basis of orbitals.

    A pair that only one of them holds counts as zero in the other.

    Args:
        predicted: H(R); its atoms are those of the reference.
        reference: H(R).

    Returns:
        Sums of absolute errors in eV.
    """
    onsite, pairs = {}, {}
    distance = HamiltonianErrors()
    position, cell = reference.atoms.positions, reference.atoms.cell.array
    for key, mine, theirs, labels in matched_blocks(predicted, reference):
        difference = mine - theirs
        if isinstance(key, int):
            onsite[key] = ErrorSum(float(abs(difference).sum()), difference.size)
            continue
        axes = tuple(axis for axis in range(difference.ndim) if axis != difference.ndim - 3)
        error = abs(difference).sum(axis=axes)
        pairs[key] = ErrorSum(2 * float(error.sum()), 2 * difference.size)
        if len(labels) == 0:
            continue
        i, j, cell_offset = labels[:, 0], labels[:, 1], labels[:, 2:]
        bins = np.linalg.norm(position[j] + cell_offset @ cell - position[i], axis=1).astype(int)
        elements = difference.size // len(labels)
        sums, counts = 2 * np.bincount(bins, error), 2 * np.bincount(bins) * elements
        distance += HamiltonianErrors(
            distance={
                int(b): ErrorSum(float(sums[b]), int(counts[b])) for b in np.flatnonzero(counts)
            }
        )
    return HamiltonianErrors(onsite, pairs, distance.distance)


def matched_blocks(
    predicted: Hamiltonian, reference: Hamiltonian
) -> Iterator[
    tuple[
        int | SpeciesPair,
        Float[np.ndarray, "*spin blocks ka kb"],
        Float[np.ndarray, "*spin blocks ka kb"],
        Int[np.ndarray, "blocks labels"],
    ]
]:
    """Yield the blocks of H(R) of two Hamiltonians, those that belong together in one place.

    Args:
        predicted: H(R).
        reference: H(R) of the same structure.

    Yields:
        Species or species pair; its blocks of both, in eV, zero where one has none; and what they belong
        to: (atom,) or (i, j, *cell_offset).
    """
    for number in sorted({*predicted.onsite, *reference.onsite}):
        yield number, *_matched(predicted.onsite.get(number), reference.onsite.get(number))
    for key in sorted({*predicted.pairs, *reference.pairs}):
        yield key, *_matched(predicted.pairs.get(key), reference.pairs.get(key))


def _matched(
    predicted: OnsiteBlocks | PairBlocks | None, reference: OnsiteBlocks | PairBlocks | None
) -> tuple[
    Float[np.ndarray, "*spin blocks ka kb"],
    Float[np.ndarray, "*spin blocks ka kb"],
    Int[np.ndarray, "blocks labels"],
]:
    """Put the blocks of both sides that belong together in one place; what one lacks is zero."""
    sides = [blocks for blocks in (predicted, reference) if blocks is not None]
    labels, place = np.unique(
        np.concatenate([_labels(blocks) for blocks in sides]), axis=0, return_inverse=True
    )
    assert sides[0].hamiltonian is not None  # stores without H have been refused
    shape = sides[0].hamiltonian.shape
    matched = np.zeros((2, *shape[:-3], len(labels), *shape[-2:]))
    start = 0
    for side, blocks in enumerate((predicted, reference)):
        if blocks is None:
            continue
        assert blocks.hamiltonian is not None
        size = blocks.hamiltonian.shape[-3]
        rows = place.reshape(-1)[start : start + size]
        matched[side][..., rows, :, :] = blocks.hamiltonian
        start += size
    return matched[0], matched[1], labels


def _labels(blocks: OnsiteBlocks | PairBlocks) -> Int[np.ndarray, "blocks labels"]:
    if isinstance(blocks, OnsiteBlocks):
        return blocks.atom[:, None]
    return np.column_stack([blocks.i, blocks.j, blocks.cell_offset])


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the numbers among values; nan if there are none, as of pairs of isolated atoms."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else np.nan
