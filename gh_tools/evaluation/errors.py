"""How far a predicted Hamiltonian is from a reference: matrix elements, eigenvalues, Fermi level."""

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
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import electrons_of, fermi_level
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.store.identity import CHARGE_TOLERANCE, TOLERANCE, difference

WINDOW = 5.0  # eV on both sides of the Fermi level
SMEARING = 0.05  # eV, for the Fermi levels of both sides alike
# A predicted eigenvalue with no eigenvalue of the reference this near (eV) has no counterpart: errors of H in a
# direction that S hardly holds make such states.
GHOST_DISTANCE = 0.3


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


@dataclass(frozen=True)
class EigenvalueErrors:
    """Errors of the eigenvalues of one structure; averages over k-points go by their weights.

    Attributes:
        window: MAE in eV of the eigenvalues within ±5 eV of the reference's Fermi level.
        window_shifted: the same after aligning by a constant shift, the mean error of these eigenvalues.
        all: MAE in eV of all eigenvalues.
        all_shifted: the same after aligning by a constant shift, the mean error of all eigenvalues.
        fermi_level: error (predicted - reference) in eV; both from the eigenvalues on these k-points.
        ghosts: predicted eigenvalues within ±5 eV that have no eigenvalue of the reference near them, over
            all k-points and spins.
    """

    window: float
    window_shifted: float
    all: float
    all_shifted: float
    fermi_level: float
    ghosts: int


@dataclass(frozen=True)
class GapError:
    """Band gaps of one structure, by `band_edges.refined_edges`; 0 of a metal.

    Attributes:
        predicted: gap of the prediction, eV.
        reference: gap of the reference, eV.
    """

    predicted: float
    reference: float

    @property
    def error(self) -> float:
        """Predicted - reference, eV; NaN where both are metals, which says nothing of gaps."""
        return self.predicted - self.reference if self.predicted or self.reference else np.nan


def gap_error(
    matrices: tuple[Hamiltonian, Hamiltonian],
    eigenvalues: tuple[Eigenvalues, Eigenvalues],
    n_electrons: float,
) -> GapError:
    """Compare the band gaps of two Hamiltonians of one structure, each refined from the same k-points.

    Args:
        matrices: the prediction, and the reference.
        eigenvalues: those of both, on the same k-points.
        n_electrons: that fill them.
    """
    gaps = (
        refined_edges(hamiltonian, solved, n_electrons).gap
        for hamiltonian, solved in zip(matrices, eigenvalues, strict=True)
    )
    return GapError(*gaps)


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
        i, j, shift = labels[:, 0], labels[:, 1], labels[:, 2:]
        bins = np.linalg.norm(position[j] + shift @ cell - position[i], axis=1).astype(int)
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
        to: (atom,) or (i, j, *shift).
    """
    for number in sorted({*predicted.onsite, *reference.onsite}):
        yield number, *_matched(predicted.onsite.get(number), reference.onsite.get(number))
    for key in sorted({*predicted.pairs, *reference.pairs}):
        yield key, *_matched(predicted.pairs.get(key), reference.pairs.get(key))


def both_eigenvalues(
    predicted: Hamiltonian, reference: Hamiltonian, kpoints: KPoints | None = None
) -> tuple[Eigenvalues, Eigenvalues, float]:
    """Solve two Hamiltonians of one structure, each with its own overlap.

    Args:
        predicted: H(R) and S(R).
        reference: H(R) and S(R).
        kpoints: where to compare; None for `reference_kpoints`.

    Returns:
        Eigenvalues of both, and the electrons that fill them: what `eigenvalue_errors` takes.

    Raises:
        DataError: If an overlap is not positive definite.
    """
    kpoints = reference_kpoints(reference) if kpoints is None else kpoints
    return (
        solve(predicted, kpoints, projected=False),
        solve(reference, kpoints, projected=False),
        electrons_of(reference),
    )


def eigenvalue_errors(
    predicted: Eigenvalues,
    reference: Eigenvalues,
    n_electrons: float,
    window: float = WINDOW,
    ghost_distance: float = GHOST_DISTANCE,
) -> EigenvalueErrors:
    """Compare eigenvalues on the same k-points, by their order at each.

    Args:
        predicted: eigenvalues.
        reference: eigenvalues.
        n_electrons: that fill them.
        window: eV on both sides of the reference's Fermi level.
        ghost_distance: eV; a predicted eigenvalue in the window with no eigenvalue of the reference this near
            is a ghost.

    Returns:
        Errors in eV.
    """
    fermi = fermi_level(reference, n_electrons, SMEARING)
    difference = predicted.energies - reference.energies
    near = share_in_window(reference.energies, (fermi - window, fermi + window))
    return EigenvalueErrors(
        *_mae(difference, near * reference.states),
        *_mae(difference, reference.states),
        fermi_level=float(fermi_level(predicted, n_electrons, SMEARING) - fermi),
        ghosts=_count_ghosts(predicted.energies, reference.energies, fermi, window, ghost_distance),
    )


def reference_kpoints(reference: Hamiltonian) -> KPoints:
    """Give the k-points of a label's self-consistent run, or two along each periodic direction."""
    if reference.bands is None:
        return monkhorst_pack([2 if periodic else 1 for periodic in reference.atoms.pbc])
    weight = reference.bands.weight / reference.bands.weight.sum()
    return KPoints(np.asarray(reference.bands.kpoint), weight)


def _count_ghosts(
    predicted: Float[np.ndarray, "spins kpoints bands"],
    reference: Float[np.ndarray, "spins kpoints bands"],
    fermi: float,
    window: float,
    distance: float,
) -> int:
    """Count predicted eigenvalues in the window that no eigenvalue of the same spin and k-point is near to."""
    ghosts = 0
    n_bands = reference.shape[-1]
    for found, true in zip(
        predicted.reshape(-1, n_bands), reference.reshape(-1, n_bands), strict=True
    ):
        found = found[share_in_window(found, (fermi - window, fermi + window)) > 0]
        edges = np.concatenate([[-np.inf], true, [np.inf]])
        above = np.searchsorted(true, found) + 1
        ghosts += int(np.sum(np.minimum(edges[above] - found, found - edges[above - 1]) > distance))
    return ghosts


def _mae(
    difference: Float[np.ndarray, "..."], weight: Float[np.ndarray, "..."]
) -> tuple[float, float]:
    """Weighted mean absolute value, before and after aligning by a constant shift, the weighted mean."""
    if not np.any(weight):
        return float("nan"), float("nan")
    mean = np.average(difference, weights=weight)
    return (
        float(np.average(abs(difference), weights=weight)),
        float(np.average(abs(difference - mean), weights=weight)),
    )


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
    return np.column_stack([blocks.i, blocks.j, blocks.shift])


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the numbers among values; nan if there are none, as of pairs of isolated atoms."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else np.nan
