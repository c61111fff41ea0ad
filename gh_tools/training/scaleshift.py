"""The scale-shift layers: what a network's output of order one is multiplied with and added to.

`physical irreps = shift + scale * prediction`. On-site blocks have one shift and scale per species and irrep.
Those of pairs depend on the distance as stretched exponentials `a exp(-(r / λ)^p)` with parameters of their
own for each species pair (ordered as stored) and irrep (GEARS H, arXiv 2506.10298, section 2.1.3). Only true
scalars (degree 0) can be shifted without breaking equivariance; every irrep is scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.training.decay import fit_decay, fit_log_decay

# Irreps below this (eV, root mean square) are numerical noise: the channel vanishes by symmetry.
VANISHING = 1e-6
# Pair scales never fall below this (eV), so that noise of the labels is not blown up to order one. It is a
# tenth of the smallest error of matrix elements that is reported for this method (0.3 meV).
SCALE_FLOOR = 3e-5
# Pair data is summed in bins this narrow (Å) before fitting. A stretched exponential of 6 eV with a decay
# length of 1 Å deviates from a straight line over half a bin by 6 * 0.001**2 / 2 = 3e-6 eV, which is far below
# the spread of the data within the bin, so the minimum is that of the sum over all pairs.
BIN_WIDTH = 0.002
SCALE_BIN_WIDTH = 0.1  # Å: wide enough for a root mean square, narrow against the decay

IDENTITY_SHIFT = (0.0, 1.0, 1.0)  # amplitude, length, power
IDENTITY_SCALE = (0.0, 1.0, 1.0, 1.0)  # and floor: sqrt(0 + 1**2) = 1


@dataclass(frozen=True)
class OnsiteScaleShift:
    """Scale and shift of the on-site irreps of one species.

    Args:
        mean: Shift in eV for each irrep component; zero unless it is a scalar.
        deviation: Scale in eV for each irrep component.
    """

    mean: Float[np.ndarray, "components"]
    deviation: Float[np.ndarray, "components"]


@dataclass(frozen=True)
class PairScaleShift:
    """Scale and shift of the irreps of one species pair as functions of the distance r.

    With r not below `nearest`: `shift(r) = a exp(-(r / λ)^p)` and
    `scale(r) = sqrt((b exp(-(r / μ)^q))^2 + floor^2)`.

    Args:
        shift: Rows a (eV), λ (Å), p for each irrep component; a = 0 unless it is a scalar.
        scale: Rows b (eV), μ (Å), q, floor (eV) for each irrep component.
        nearest: Shortest distance in Å of the data: pairs that are closer get what it gets, because a
            stretched exponential extrapolates there without bounds.
    """

    shift: Float[np.ndarray, "3 components"]
    scale: Float[np.ndarray, "4 components"]
    nearest: float

    def __call__(
        self, distance: Float[np.ndarray, "pairs"]
    ) -> tuple[Float[np.ndarray, "pairs components"], Float[np.ndarray, "pairs components"]]:
        """Evaluate shift and scale.

        Args:
            distance: Distances in Å.

        Returns:
            Shift and scale in eV for each pair and irrep component.
        """
        r = np.maximum(np.asarray(distance, dtype=float), self.nearest)[:, None]
        # The 2l+1 components of an irrep share their parameters: evaluate each set once.
        (a, length, power), back = np.unique(self.shift, axis=1, return_inverse=True)
        shift = (a * np.exp(-((r / length) ** power)))[:, back.reshape(-1)]
        (b, length, power, floor), back = np.unique(self.scale, axis=1, return_inverse=True)
        scale = np.hypot(b * np.exp(-((r / length) ** power)), floor)[:, back.reshape(-1)]
        return shift, scale


@dataclass(frozen=True)
class ScaleShift:
    """Scale and shift of all on-site and pair irreps of a basis.

    Args:
        basis: The basis that the irreps belong to.
        onsite_terms: Per atomic number.
        pair_terms: Per species pair, as in `basis.species_pairs()`.
    """

    basis: Basis
    onsite_terms: Mapping[int, OnsiteScaleShift]
    pair_terms: Mapping[tuple[int, int], PairScaleShift]

    def onsite(
        self, species: Int[np.ndarray, "atoms"]
    ) -> tuple[Float[np.ndarray, "atoms Ko"], Float[np.ndarray, "atoms Ko"]]:
        """Give shift and scale of on-site irreps.

        Args:
            species: Index of each atom's species in `basis.numbers`.

        Returns:
            Shift and scale in eV in the order of `IrrepLayout.onsite[Z]`, padded with 0 and 1 to the largest
            number of components of any species.
        """
        terms = [self.onsite_terms[number] for number in self.basis.numbers]
        width = max(term.mean.size for term in terms)
        shift = np.zeros((len(terms), width))
        scale = np.ones((len(terms), width))
        for row, term in enumerate(terms):
            shift[row, : term.mean.size] = term.mean
            scale[row, : term.mean.size] = term.deviation
        return shift[species], scale[species]

    def pairs(
        self, pair_type: Int[np.ndarray, "pairs"], distance: Float[np.ndarray, "pairs"]
    ) -> tuple[Float[np.ndarray, "pairs Kp"], Float[np.ndarray, "pairs Kp"]]:
        """Give shift and scale of pair irreps.

        Args:
            pair_type: Index of each pair's species pair in `basis.species_pairs()`.
            distance: Distances in Å.

        Returns:
            Shift and scale in eV in the order of `IrrepLayout.pair[Zi, Zj]`, padded with 0 and 1 to the
            largest number of components of any species pair.
        """
        keys = self.basis.species_pairs()
        pair_type = np.asarray(pair_type)
        width = max(term.shift.shape[1] for term in self.pair_terms.values())
        shift = np.zeros((pair_type.size, width))
        scale = np.ones((pair_type.size, width))
        for index in np.unique(pair_type):
            rows = np.flatnonzero(pair_type == index)
            term = self.pair_terms[keys[index]]
            size = term.shift.shape[1]
            shift[rows, :size], scale[rows, :size] = term(np.asarray(distance)[rows])
        return shift, scale

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give everything but the basis as arrays for a store.

        Returns:
            Array paths and float64 arrays.
        """
        arrays = {}
        for number, term in self.onsite_terms.items():
            arrays[f"onsite/{number}/mean"] = term.mean
            arrays[f"onsite/{number}/deviation"] = term.deviation
        for (zi, zj), term in self.pair_terms.items():
            names = ("shift_amplitude", "shift_length", "shift_power")
            names += ("scale_amplitude", "scale_length", "scale_power", "scale_floor")
            for name, row in zip(names, np.concatenate([term.shift, term.scale]), strict=True):
                arrays[f"pairs/{zi}-{zj}/{name}"] = row
            arrays[f"pairs/{zi}-{zj}/nearest"] = np.full(term.shift.shape[1], term.nearest)
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], basis: Basis, prefix: str = ""
    ) -> ScaleShift:
        """Build it from the arrays of a store.

        Args:
            arrays: Anything indexed by array path, such as an open store.
            basis: The basis of the same store.
            prefix: Path of the group that holds the arrays, such as "scaleshift/".

        Returns:
            The scale-shift.
        """
        onsite = {
            number: OnsiteScaleShift(
                *(
                    np.asarray(arrays[f"{prefix}onsite/{number}/{name}"])
                    for name in ("mean", "deviation")
                )
            )
            for number in basis.numbers
        }
        pairs = {}
        for zi, zj in basis.species_pairs():
            group = f"{prefix}pairs/{zi}-{zj}/"
            rows = {
                kind: np.stack([np.asarray(arrays[f"{group}{kind}_{name}"]) for name in names])
                for kind, names in (
                    ("shift", ("amplitude", "length", "power")),
                    ("scale", ("amplitude", "length", "power", "floor")),
                )
            }
            pairs[zi, zj] = PairScaleShift(
                **rows, nearest=float(np.asarray(arrays[group + "nearest"])[0])
            )
        return cls(basis, onsite, pairs)


def fit_scaleshift(
    readers: Sequence, indices: Int[np.ndarray, "n"], layout: IrrepLayout
) -> ScaleShift:
    """Fit scale and shift to labelled structures.

    On-site: mean and standard deviation over all atoms of a species for scalars, root mean square over atoms
    and m for other irreps. Pairs: least squares of the stretched exponential over all pairs for the shift of
    scalars; then, for every irrep, least squares of the logarithm of the stretched exponential against that
    of the remainder's root mean square over m at each distance, because the scale has to fit in proportion
    at all distances. A channel that vanishes or has no data keeps shift 0 and scale 1.

    The structures are read once, one at a time; the result does not depend on their order but for rounding.

    Args:
        readers: Label stores (`HamiltonianReader`), whose elements are in the basis.
        indices: Structures to fit to, counted over all readers in order.
        layout: Irreps of the basis.

    Returns:
        The fitted scale-shift.

    Raises:
        DataError: If there is no structure to fit to.
    """
    basis = layout.basis
    onsite = {number: _Moments(layout.onsite[number]) for number in basis.numbers}
    pairs = {key: _Bins(layout.pair[key], basis.pair_cutoff(*key)) for key in basis.species_pairs()}
    for ham in read_structures(readers, np.sort(indices)):
        for number, blocks in ham.onsite.items():
            onsite[number].add(blocks.hamiltonian)
        for key, blocks in ham.pairs.items():
            pairs[key].add(np.linalg.norm(ham.vectors(key), axis=1), blocks.hamiltonian)
    return ScaleShift(
        basis,
        {number: moments.fit() for number, moments in onsite.items()},
        {key: bins.fit() for key, bins in pairs.items()},
    )


def read_structures(readers: Sequence, indices: Int[np.ndarray, "n"]) -> Iterator[Hamiltonian]:
    """Read structures that are counted over several label stores.

    Args:
        readers: Label stores (`HamiltonianReader`).
        indices: Structures to read, counted over all readers in order.

    Yields:
        One Hamiltonian after the other.

    Raises:
        DataError: If there is no structure to read.
    """
    if len(indices) == 0:
        raise DataError("there is no labelled structure to fit to; give the training part some")
    starts = np.concatenate([[0], np.cumsum([len(reader) for reader in readers])])
    for index in np.asarray(indices):
        store = int(np.searchsorted(starts, index, side="right")) - 1
        yield readers[store].read(int(index - starts[store]))


def shift_only(ham: Hamiltonian, layout: IrrepLayout, scaleshift: ScaleShift) -> Hamiltonian:
    """Predict a Hamiltonian by the shift alone: what a network that answers zero would give.

    Args:
        ham: Gives the atoms and the pairs.
        layout: Irreps of the basis.
        scaleshift: The fitted scale-shift.

    Returns:
        The Hamiltonian, without overlap.
    """
    onsite, pairs = {}, {}
    for number, blocks in ham.onsite.items():
        mean = layout.onsite[number].to_blocks(scaleshift.onsite_terms[number].mean)
        onsite[number] = OnsiteBlocks(blocks.atom, np.broadcast_to(mean, blocks.hamiltonian.shape))
    for key, blocks in ham.pairs.items():
        shift, _ = scaleshift.pair_terms[key](np.linalg.norm(ham.vectors(key), axis=1))
        values = np.broadcast_to(layout.pair[key].to_blocks(shift), blocks.hamiltonian.shape)
        pairs[key] = PairBlocks(blocks.i, blocks.j, blocks.shift, values)
    return Hamiltonian(ham.atoms, ham.basis, onsite, pairs, dict(ham.scalars))


def _irrep_index(irreps: Irreps) -> np.ndarray:
    """Number the irreps of a layout: the index of the irrep that each component belongs to."""
    labels = np.stack([irreps.shell_a, irreps.shell_b, irreps.parity, irreps.l])
    return np.unique(labels, axis=1, return_inverse=True)[1].reshape(-1)


class _Moments:
    """Collects the on-site irreps of one species; they are few."""

    def __init__(self, irreps: Irreps):
        self.irreps = irreps
        self.samples: list[np.ndarray] = []

    def add(self, blocks: Float[np.ndarray, "*spin atoms k k"]) -> None:
        values = self.irreps.to_irreps(np.asarray(blocks, dtype=float))
        self.samples.append(values.reshape(-1, self.irreps.size))

    def fit(self) -> OnsiteScaleShift:
        values = np.concatenate([*self.samples, np.zeros((0, self.irreps.size))])
        mean = np.zeros(self.irreps.size)
        deviation = np.ones(self.irreps.size)
        if len(values):
            mean[self.irreps.scalar] = values[:, self.irreps.scalar].mean(axis=0)
            group = _irrep_index(self.irreps)
            square = np.bincount(group, np.mean((values - mean) ** 2, axis=0)) / np.bincount(group)
            spread = np.sqrt(square)[group]
            deviation = np.where(spread > VANISHING, spread, 1.0)
        return OnsiteScaleShift(mean, deviation)


class _Bins:
    """Sums of the pair irreps of one species pair in narrow bins of the distance."""

    def __init__(self, irreps: Irreps, cutoff: float):
        self.irreps = irreps
        self.group = _irrep_index(irreps)
        self.scalars = np.flatnonzero(irreps.scalar)
        self.mean_over_m = sparse.csr_matrix(
            ((1 / np.bincount(self.group))[self.group], (np.arange(irreps.size), self.group))
        )
        self.cutoff = cutoff
        n_bins = int(cutoff / BIN_WIDTH) + 1
        self.count = np.zeros(n_bins)
        self.distance = np.zeros(n_bins)
        self.sums = np.zeros((n_bins, self.scalars.size))
        self.squares = np.zeros((n_bins, self.mean_over_m.shape[1]))
        self.nearest = np.inf

    def add(
        self, distance: Float[np.ndarray, "pairs"], blocks: Float[np.ndarray, "*spin pairs ki kj"]
    ) -> None:
        if distance.size == 0:
            return
        values = self.irreps.to_irreps(np.asarray(blocks, dtype=float)).reshape(
            -1, self.irreps.size
        )
        distance = np.tile(distance, len(values) // distance.size)
        place = np.minimum((distance / BIN_WIDTH).astype(int), self.count.size - 1)
        gather = sparse.csr_matrix(
            (np.ones(place.size), (place, np.arange(place.size))),
            shape=(self.count.size, place.size),
        )
        self.count += gather @ np.ones(place.size)
        self.distance += gather @ distance
        self.sums += gather @ values[:, self.scalars]
        self.squares += gather @ (values**2 @ self.mean_over_m)
        self.nearest = min(self.nearest, float(distance.min()))

    def fit(self) -> PairScaleShift:
        shift = np.tile(np.array(IDENTITY_SHIFT)[:, None], (1, self.irreps.size))
        scale = np.tile(np.array(IDENTITY_SCALE)[:, None], (1, self.irreps.size))
        filled = np.flatnonzero(self.count)
        if filled.size == 0:
            return PairScaleShift(shift, scale, nearest=0.0)
        count, squares = self.count[filled], self.squares[filled].copy()
        r = self.distance[filled] / count
        means = self.sums[filled] / count[:, None]
        for column, component in enumerate(self.scalars):
            group = self.group[component]
            if np.sqrt(squares[:, group].sum() / count.sum()) <= VANISHING:
                continue
            parameters, fitted = fit_decay(r, means[:, column], count)
            shift[:, component] = parameters
            # Σ (y - f)² over a bin from Σ y² and Σ y
            squares[:, group] += count * (fitted**2 - 2 * fitted * means[:, column])
        wide = (r / SCALE_BIN_WIDTH).astype(int)
        weight = np.bincount(wide, count)
        used = weight > 0
        weight, centre = weight[used], np.bincount(wide, count * r)[used] / weight[used]
        for group in range(squares.shape[1]):
            rms = np.sqrt(np.maximum(np.bincount(wide, squares[:, group])[used] / weight, 0))
            if np.sqrt(np.sum(weight * rms**2) / weight.sum()) <= VANISHING:
                continue
            parameters = fit_log_decay(centre, rms, weight, SCALE_FLOOR)
            scale[:, self.group == group] = np.array([*parameters, SCALE_FLOOR])[:, None]
        return PairScaleShift(shift, scale, self.nearest)
