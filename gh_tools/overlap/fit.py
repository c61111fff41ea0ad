"""Fit of the two-centre functions of S to the blocks of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float
from scipy.interpolate import BSpline

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import exchange_atoms, to_frame
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.overlap.functions import DEGREE, PairFunctions, two_centre_components
from gh_tools.overlap.radial import knows_radial_functions, two_centre_functions

# Deviation of S from two-centre form above which it has none: PAW corrections are ten times larger, and what
# programs that integrate on grids or print few digits leave is ten times smaller.
LIMIT = 1e-3
SPACING = 0.15  # Å between knots: orbitals have no finer features
# Å: pairs in bins of this width, of which so many are kept, say all about functions of the distance.
_BIN, _KEPT = 0.02, 40
_NEAR = 0.05  # Å around a distance of the data that it covers
# Of the mean square of the splines: continues functions through gaps, and biases them by less than 1e-10.
_RIDGE = 1e-12
# Deviation of S from pairs left out of its fit, above which it is worth a warning: some meV of eigenvalues.
_POOR = 1e-4
# Deviation of S of the labels from radial functions that are theirs: what tables of them and grids leave.
_SAME = 1e-4


@dataclass
class OverlapFit:
    """Functions of S, and how far they can be trusted.

    Attributes:
        arrays: for `Basis.overlap`.
        deviation: largest element of S that is not of two-centre form.
        held_out: largest deviation of S of half of the pairs from functions that were fitted to the other half; of
            functions that were not fitted, of all pairs.
        ranges: shortest and longest distance of the data in Å, by elements.
        worst: elements with the largest deviation from two-centre form.
        source: ``labels``, or ``radial functions`` where the program's files hold them.
    """

    arrays: dict[str, np.ndarray]
    deviation: float
    held_out: float
    ranges: dict[SpeciesPair, tuple[float, float]]
    worst: str
    source: str = "labels"


@dataclass
class _Pairs:
    """What is kept of the pairs of two elements."""

    irreps: Irreps
    like: bool
    deviation: float = 0.0
    distance: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    count: dict[int, int] = field(default_factory=dict)

    def add(self, vectors: Float[np.ndarray, "pairs 3"], blocks: np.ndarray) -> None:
        chosen = two_centre_components(self.irreps)
        components = to_frame("bond", self.irreps, self.irreps.to_irreps(blocks), vectors)
        values = components[:, chosen]
        form = np.zeros_like(components)
        if self.like:
            partner, sign = exchange_atoms(self.irreps)
            mirrored = (sign * components)[:, partner]
            values = 0.5 * (components + mirrored)[:, chosen]
        form[:, chosen] = values
        rest = np.abs(self.irreps.to_blocks(components - form))
        self.deviation = max(self.deviation, float(rest.max(initial=0.0)))
        distance = np.linalg.norm(vectors, axis=1)
        keep = np.zeros(len(distance), dtype=bool)
        for row, place in enumerate((distance / _BIN).astype(int).tolist()):
            self.count[place] = self.count.get(place, 0) + 1
            keep[row] = self.count[place] <= _KEPT
        self.distance.append(distance[keep])
        self.values.append(values[keep])


def fit_overlap(basis: Basis, hamiltonians: Iterable[Hamiltonian]) -> OverlapFit:
    """Fit functions of the distance to S.

    Args:
        basis: the basis table.
        hamiltonians: labels; S alone is used.

    Raises:
        DataError: S is not of two-centre form.
    """
    layout = IrrepLayout(basis)
    pairs = {pair: _Pairs(layout.pair[pair], pair[0] == pair[1]) for pair in layout.pair}
    onsite: dict[int, list[np.ndarray]] = {}
    for ham in hamiltonians:
        for z, blocks in ham.onsite.items():
            assert blocks.overlap is not None  # of labels
            onsite.setdefault(z, []).append(np.asarray(blocks.overlap, dtype=float))
        for pair, bonds in ham.pairs.items():
            assert bonds.overlap is not None
            pairs[pair].add(ham.vectors(pair), np.asarray(bonds.overlap, dtype=float))
    arrays: dict[str, np.ndarray] = {}
    deviation = {pair: found.deviation for pair, found in pairs.items()}
    for z, parts in onsite.items():
        every = np.concatenate(parts)
        irreps = layout.onsite[z]
        mean = irreps.to_irreps(every).mean(axis=0)
        arrays[f"onsite/{z}/matrix"] = irreps.to_blocks(np.where(irreps.scalar, mean, 0.0))
        apart = float(np.abs(every - arrays[f"onsite/{z}/matrix"]).max())
        deviation[z, z] = max(deviation[z, z], apart)
    worst = max(deviation, key=lambda pair: deviation[pair])
    names = "-".join(chemical_symbols[z] for z in worst)
    if deviation[worst] > LIMIT:
        raise DataError(
            f"S is not of two-centre form: elements of {names} blocks depend on more than the two atoms, by up to "
            f"{deviation[worst]:.2g}, as with PAW"
        )
    if knows_radial_functions(basis) and (exact := _exact(basis, pairs, layout)):
        arrays.update(_named(exact))
        ranges = {
            pair: (float(f.covered[0, 0]), float(f.covered[-1, 1])) for pair, f in exact.items()
        }
        apart = max(_difference(pairs[pair], exact[pair]) for pair in pairs)
        return OverlapFit(arrays, deviation[worst], apart, ranges, names, "radial functions")
    held_out, ranges = 0.0, {}
    for (zi, zj), found in pairs.items():
        if not found.distance:
            continue
        distance, values = np.concatenate(found.distance), np.concatenate(found.values)
        arrays.update(_named({(zi, zj): _fit(distance, values)}))
        ranges[zi, zj] = float(distance.min()), float(distance.max())
        held_out = max(held_out, _held_out(found, distance, values))
    return OverlapFit(arrays, deviation[worst], held_out, ranges, names)


def _named(functions: Mapping[SpeciesPair, PairFunctions]) -> dict[str, np.ndarray]:
    return {
        f"pairs/{zi}-{zj}/{name}": array
        for (zi, zj), found in functions.items()
        for name, array in vars(found).items()
    }


def _exact(
    basis: Basis, pairs: Mapping[SpeciesPair, _Pairs], layout: IrrepLayout
) -> dict[SpeciesPair, PairFunctions]:
    """Return functions from the radial functions of the basis, if they give the S of the labels."""
    found = {
        pair: _fit(*two_centre_functions(basis, pair, layout.pair[pair])) for pair in layout.pair
    }
    apart = max(_difference(pairs[pair], found[pair]) for pair in pairs)
    if apart < _SAME:
        return found
    log.warning(
        "the radial functions of the basis give another S than the labels have, by up to %.2g: functions of S are "
        "fitted to the labels",
        apart,
    )
    return {}


def _difference(found: _Pairs, functions: PairFunctions) -> float:
    """Return the largest deviation of functions from the S of pairs."""
    if not found.distance:
        return 0.0
    return _largest(found, np.concatenate(found.distance), np.concatenate(found.values), functions)


def _largest(
    found: _Pairs, distance: np.ndarray, values: np.ndarray, functions: PairFunctions
) -> float:
    components = np.zeros((len(distance), found.irreps.size))
    components[:, two_centre_components(found.irreps)] = functions(distance) - values
    return float(np.abs(found.irreps.to_blocks(components)).max(initial=0.0))


def _fit(distance: np.ndarray, values: np.ndarray) -> PairFunctions:
    """Minimise Σ |f(r) - value|² + ridge |third differences|² over splines with even knots."""
    low = np.floor(distance.min() / SPACING - 3) * SPACING
    count = int(np.ceil((distance.max() - low) / SPACING)) + 1
    knots = low + SPACING * np.arange(-DEGREE, count + DEGREE + 1)
    matrix = BSpline.design_matrix(distance, knots, DEGREE).toarray()
    rough = np.diff(np.eye(matrix.shape[1]), n=3, axis=0)
    weight = np.sqrt(_RIDGE * max(len(distance), 1))
    target = np.concatenate([values, np.zeros((len(rough), values.shape[1]))])
    coefficients = np.linalg.lstsq(np.concatenate([matrix, weight * rough]), target, rcond=1e-14)[0]
    return PairFunctions(knots, coefficients, _intervals(distance))


def _intervals(distance: np.ndarray) -> Float[np.ndarray, "intervals 2"]:
    """Return the intervals around distances of the data."""
    r = np.unique(distance)
    gap = np.flatnonzero(np.diff(r) > 2 * _NEAR)
    starts, stops = r[np.r_[0, gap + 1]] - _NEAR, r[np.r_[gap, len(r) - 1]] + _NEAR
    stops[-1] = r[-1]  # nothing is known beyond
    return np.column_stack([starts, stops])


def _held_out(found: _Pairs, distance: np.ndarray, values: np.ndarray) -> float:
    """Return how far S of half of the pairs is from functions of the other half, where those cover it."""
    order = np.random.default_rng(0).permutation(len(distance))
    first, second = order[::2], order[1::2]
    functions = _fit(distance[first], values[first])
    second = second[functions.is_covered(distance[second])]
    if not len(second):
        return 0.0
    return _largest(found, distance[second], values[second], functions)


def fit_attributes(fit: OverlapFit) -> Mapping[str, object]:
    """Return what a store says of a fit: an attribute of its root."""
    return {
        "source": fit.source,
        "deviation": fit.deviation,
        "held_out": fit.held_out,
        "distances": {f"{zi}-{zj}": list(found) for (zi, zj), found in fit.ranges.items()},
    }


def tell(fit: OverlapFit, codes: Sequence[str]) -> None:
    """Log how far functions of S can be trusted, and warn where that is not far.

    Args:
        fit: the functions.
        codes: programs whose orbitals these are.
    """
    log.info(
        "S of %s is of two-centre form within %.1g; its functions, %s, give %s within %.1g, at distances of %s Å",
        *(", ".join(codes), fit.deviation),
        *(
            ("fitted to half of the pairs", "the others")
            if fit.source == "labels"
            else ("integrals of the basis files' radial functions", "those of the labels")
        ),
        fit.held_out,
        ", ".join(
            f"{a:.2f} to {b:.2f} ({'-'.join(chemical_symbols[z] for z in pair)})"
            for pair, (a, b) in fit.ranges.items()
        ),
    )
    if fit.held_out > _POOR:
        log.warning(
            "S of new structures will be off by up to %.1g: label more structures, at other distances",
            fit.held_out,
        )
