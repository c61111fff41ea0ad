"""How far the environment of an atom is from all that a model was trained on.

The network's own descriptors say how an atom's environment differs from another one. Their rotational invariants are
whitened for each element over the atoms of the training set, and reduced to the directions in which these vary most and the
length of what is left. The distance of an atom is that to the nearest atom of the training set in these coordinates. It is
compared with the distances that training structures have when they are left out. The largest distance in a structure follows
Gumbel's distribution, whose mean and standard deviation give the limit that only a chosen part of such structures exceeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from scipy.special import ndtri, stdtrit

from gh_tools.store.read import Store

# Of structures like those of training, of their mean size, the part that is told as outside by chance.
FALSE_POSITIVES = 0.02
# Directions that are kept; a variance counts as at least this part of the largest, and as this much: descriptors are of
# order one, and those of atoms in equal environments differ by rounding.
DIRECTIONS, LEAST_RATIO, LEAST_VARIANCE = 12, 1e-2, 1e-6
# Bytes of all in a model store, and parts of the training set that are left out in turn.
BYTES, FOLDS = 250_000, 10
# Structures that must have been left out for a scatter to be known.
LEAST_LEFT_OUT = 3
# Stored for elements of which training had none, and for all that is farther.
FARTHEST = 1000.0
# Left-out distances count as no smaller: of copies of one structure nothing is left but rounding.
_LEAST_DISTANCE = 0.05

Described = tuple[Int[np.ndarray, " _atoms"], Float[np.ndarray, "_atoms _features"]]


@dataclass(frozen=True)
class Known:
    """Environments of one element, as whitened coordinates: principal components over their standard deviations.

    Attributes:
        mean: of the invariants over the atoms of the training set.
        axes: orthonormal directions, as columns.
        scale: standard deviation along each, and of what is left.
        points: whitened coordinates of atoms of the training set: of all, or of those that cover the others best.
    """

    mean: Float[np.ndarray, " features"]
    axes: Float[np.ndarray, "features directions"]
    scale: Float[np.ndarray, " coordinates"]
    points: Float[np.ndarray, "points coordinates"]

    @classmethod
    def of(cls, invariants: Float[np.ndarray, "atoms features"], most_bytes: int) -> Known:
        """Return the environments of some atoms of one element.

        Args:
            invariants: of the atoms.
            most_bytes: to keep, in single precision.
        """
        width = invariants.shape[1]
        mean = invariants.mean(axis=0)
        off = invariants - mean
        variances, vectors = np.linalg.eigh(off.T @ off / len(off))
        count = max(1, min(DIRECTIONS, width, most_bytes // (8 * width)))
        order = np.argsort(variances)[::-1]
        kept, left = order[:count], order[count:]
        floor = max(LEAST_RATIO * float(variances[order[0]]), LEAST_VARIANCE)
        scale = np.sqrt(np.append(variances[kept], max(float(variances[left].sum()), 0.0)) + floor)
        empty = cls(mean, vectors[:, kept], scale, np.zeros((0, count + 1)))
        points = empty.coordinates(invariants)
        most = max(16, (most_bytes - 4 * width * (count + 1)) // (4 * (count + 1)))
        return cls(mean, empty.axes, scale, covering(points, most))

    def coordinates(
        self, invariants: Float[np.ndarray, "atoms features"]
    ) -> Float[np.ndarray, "atoms coordinates"]:
        """Return whitened coordinates, the last of which is the length of what the others leave.

        Args:
            invariants: of the atoms.
        """
        off = invariants - self.mean
        along = off @ self.axes
        rest = np.sqrt(np.maximum((off**2).sum(axis=1) - (along**2).sum(axis=1), 0.0))
        return np.column_stack([along, rest]) / self.scale

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)

    def distances(
        self, invariants: Float[np.ndarray, "atoms features"]
    ) -> Float[np.ndarray, " atoms"]:
        """Return the distance of each atom to the nearest atom of the training set, in units of standard deviations."""
        return self._tree.query(self.coordinates(invariants))[0]


def covering(
    points: Float[np.ndarray, "points coordinates"], most: int
) -> Float[np.ndarray, "some coordinates"]:
    """Return at most so many points, each the farthest from those before it; all where they are as few."""
    return points if len(points) <= most else points[farthest_points(points, most)]


def farthest_points(
    points: Float[np.ndarray, "points coordinates"],
    count: int,
    start: Float[np.ndarray, "known coordinates"] | None = None,
) -> Int[np.ndarray, " count"]:
    """Choose points one after the other, each the farthest from those before it (Gonzalez, 1985).

    Args:
        points: to choose from.
        count: how many.
        start: points that count as chosen already; without them the first is the farthest from the mean.

    Returns:
        Their indices in the order of choice.
    """
    if start is None or not len(start):
        chosen = [int(np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
        nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    else:
        chosen, nearest = [], cKDTree(start).query(points)[0] ** 2
    while len(chosen) < min(count, len(points)):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen[:count])


@dataclass(frozen=True)
class Environments:
    """Environments of a training set, and how far those of left-out structures are from them.

    Attributes:
        known: by atomic number.
        left_out: largest distance of an atom of each structure that was left out.
        n_atoms: mean number of atoms of these structures.
    """

    known: Mapping[int, Known]
    left_out: Float[np.ndarray, " structures"]
    n_atoms: float

    @classmethod
    def of(
        cls, train: Sequence[Described], validation: Sequence[Described] = ()
    ) -> Environments | None:
        """Return the environments of a training set.

        Args:
            train: atomic numbers and invariants of the atoms of each structure.
            validation: of structures that count as left out, too.

        Returns:
            None where so few structures could be left out that nothing is known of the scatter of their distances.
        """
        left_out, sizes = [], []
        folds = min(FOLDS, len(train))
        whole = _known(train)
        tried = [(whole, validation)]
        if folds > 1:
            for fold in range(folds):
                rest = [one for row, one in enumerate(train) if row % folds != fold]
                tried.append((_known(rest), train[fold::folds]))
        for known, structures in tried:
            for numbers, invariants in structures:
                # Elements that only left-out structures have say nothing of distances.
                seen = np.isin(numbers, list(known))
                if seen.any():
                    found = _distances(known, numbers[seen], invariants[seen])
                    left_out.append(float(found.max()))
                    sizes.append(len(numbers))
        if len(left_out) < LEAST_LEFT_OUT:
            return None
        return cls(whole, np.array(left_out), float(np.mean(sizes)))

    def limit(self, n_atoms: int, false_positives: float = FALSE_POSITIVES) -> float:
        """Return the limit that the largest distance in a structure like the training structures rarely exceeds.

        A larger structure has as many chances as it holds structures of the mean size. With probability p, a value of Gumbel's
        distribution with mean m and standard deviation s exceeds m + s (√6/π) (-ln(-ln(1 - p)) - γ). As m and s are
        known from n values, s is multiplied with (1 + 1/n)^½ and with the ratio of Student's quantile for n - 1 degrees
        of freedom to the normal one, at most 3.

        Args:
            n_atoms: of the structure.
            false_positives: part of structures like the training structures, of their mean size, that exceed it.
        """
        x = np.maximum(self.left_out, _LEAST_DISTANCE)
        p = false_positives / max(1.0, n_atoms / self.n_atoms)
        few = np.sqrt(1 + 1 / len(x)) * min(stdtrit(len(x) - 1, p) / ndtri(p), 3.0)
        quantile = np.sqrt(6) / np.pi * (-np.log(-np.log1p(-p)) - np.euler_gamma)
        return float(x.mean() + few * quantile * x.std(ddof=1))

    def scores(
        self,
        numbers: Int[np.ndarray, " some"],
        invariants: Float[np.ndarray, "some features"],
        n_atoms: int,
    ) -> Float[np.ndarray, " some"]:
        """Return the distance of each atom over the limit of its structure: above 1 the atom is outside of the domain.

        Args:
            numbers: atomic numbers of atoms, all of a structure or some.
            invariants: of their descriptors.
            n_atoms: of the whole structure.
        """
        scores = _distances(self.known, numbers, invariants) / self.limit(n_atoms)
        return np.minimum(scores, FARTHEST)

    def describe(self) -> str:
        """Return a line for a person."""
        points = ", ".join(
            f"{chemical_symbols[z]} {len(known.points)}" for z, known in sorted(self.known.items())
        )
        return (
            f"environments: {points}; told of {100 * FALSE_POSITIVES:g} % of structures like those of training, of "
            f"{self.n_atoms:.0f} atoms, by chance"
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a model store, by path."""
        arrays = {
            "domain/environments/left_out": self.left_out,
            "domain/environments/atoms": np.array([self.n_atoms]),
        }
        for number, known in self.known.items():
            for name in ("mean", "axes", "scale", "points"):
                values = getattr(known, name).astype(np.float32)
                arrays[f"domain/environments/{number}/{name}"] = values
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray] | Store) -> Environments | None:
        """Read what `to_arrays` gave; None where a model has none."""
        if "domain/environments/left_out" not in arrays:
            return None
        numbers = arrays["domain/elements/number"].tolist()
        known = {
            number: Known(
                *(
                    np.asarray(arrays[f"domain/environments/{number}/{name}"], np.float64)
                    for name in ("mean", "axes", "scale", "points")
                )
            )
            for number in numbers
            if f"domain/environments/{number}/mean" in arrays
        }
        left_out = np.asarray(arrays["domain/environments/left_out"], np.float64)
        return cls(known, left_out, float(arrays["domain/environments/atoms"][0]))


def _known(structures: Sequence[Described]) -> dict[int, Known]:
    """Learn the environments of each element."""
    numbers = np.concatenate([numbers for numbers, _ in structures])
    invariants = np.concatenate([found for _, found in structures]).astype(np.float64)
    present = np.unique(numbers).tolist()
    share = BYTES // len(present)
    return {z: Known.of(invariants[numbers == z], share) for z in present}


def _distances(
    known: Mapping[int, Known], numbers: np.ndarray, invariants: np.ndarray
) -> Float[np.ndarray, " atoms"]:
    """Return distances of atoms; infinite ones for elements that are not known."""
    found = np.full(len(numbers), np.inf)
    for z in np.unique(numbers).tolist():
        if z in known:
            found[numbers == z] = known[z].distances(invariants[numbers == z].astype(np.float64))
    return found
