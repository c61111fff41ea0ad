"""What random errors of H do to spectra: noise of a model's size and correlation, added to reference matrices.

Errors of spectra that are as large as those of such noise come from random errors of matrix elements; smaller ones say that errors
of neighbouring elements cancel, larger ones that they add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gh_tools.evaluation.eigenvalue_errors import SMEARING, eigenvalue_errors
from gh_tools.evaluation.matrix_errors import mean_of_known
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.blocks import Hamiltonian, PairBlocks
from gh_tools.spectra.dos import share_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import band_edges, electrons_of, fermi_level
from gh_tools.spectra.perturbation import differences
from gh_tools.units import MEV

# Copies of each reference to which noise is added.
DRAWS = 4
# Å. Errors of pairs are collected in bins of the distance.
_BIN = 0.5
# eV above E_F between which states are counted as carriers.
CARRIERS = (0.0, 0.2)

Group = tuple[
    int | SpeciesPair, int
]  # species or species pair, and bin of the distance (0 on site)


@dataclass
class ErrorModel:
    """How errors of H are distributed: elements of each kind of block, and what a structure's have in common.

    A structure's error is ΔH = s S + ε: a shift s of the zero of energy, which all elements share, and what is left. That is described by
    the mean square of each element of the blocks of a species, or of a species pair in a bin of the distance.

    Attributes:
        squares: by group, sums over blocks of the squared errors of each element, eV².
        counts: by group, number of blocks.
        shifts: s of each structure, eV.
    """

    squares: dict[Group, Float[np.ndarray, "spins k k2"]] = field(default_factory=dict)
    counts: dict[Group, int] = field(default_factory=dict)
    shifts: list[float] = field(default_factory=list)

    def add(self, predicted: Hamiltonian, reference: Hamiltonian) -> None:
        """Count the errors of one structure; pairs that one of the two lacks are passed over.

        Args:
            predicted: H(R) and S(R).
            reference: of the same structure.
        """
        found = list(_errors(predicted, reference))
        onsite = [(e - r, s) for (key, _), _, e, r, s in found if isinstance(key, int)]
        norm = sum(float(np.sum(s**2)) * error.shape[0] for error, s in onsite)
        shift = sum(float(np.sum(error * s)) for error, s in onsite) / norm
        self.shifts.append(shift)
        for group, rows, mine, theirs, overlap in found:
            left = mine - theirs - shift * overlap
            squares = np.sum(left**2, axis=1)
            self.squares[group] = self.squares.get(group, 0) + squares
            self.counts[group] = self.counts.get(group, 0) + len(rows)

    def draw(self, reference: Hamiltonian, rng: np.random.Generator) -> Hamiltonian:
        """Return a reference with noise: normal elements of these mean squares, and one shift of all.

        Args:
            reference: H(R) and S(R).
            rng: of all random numbers.
        """
        shift = float(np.sqrt(np.mean(np.square(self.shifts)))) * rng.normal()

        def noise(group: Group, blocks: Any, rows: np.ndarray) -> np.ndarray:
            h = _with_spins(blocks.hamiltonian)[:, rows]
            if group not in self.counts:
                return np.zeros(h.shape)
            deviation = np.sqrt(self.squares[group] / self.counts[group])
            drawn = rng.normal(size=h.shape)
            if isinstance(group[0], int):  # symmetric blocks
                upper = np.triu(drawn)
                drawn = upper + np.swapaxes(np.triu(drawn, 1), -1, -2)
            return deviation[:, None] * drawn

        def changed(blocks: Any, groups: Mapping[Group, np.ndarray]) -> Any:
            h = _with_spins(blocks.hamiltonian).astype(np.float64)
            h = h + shift * blocks.overlap
            for group, rows in groups.items():
                h[:, rows] += noise(group, blocks, rows)
            return replace(blocks, hamiltonian=h.reshape(blocks.hamiltonian.shape))

        return replace(
            reference,
            onsite={
                z: changed(b, {(z, 0): np.arange(len(b.atom))}) for z, b in reference.onsite.items()
            },
            pairs={key: changed(b, _bins(reference, key)) for key, b in reference.pairs.items()},
            bands=None,
        )


def draw_of_members(
    predicted: Hamiltonian, reference: Hamiltonian, rng: np.random.Generator
) -> Hamiltonian:
    """Return a reference with noise of the covariance that the members of an ensemble have.

    The noise is Σ_m g_m d_m / (M - 1)^½ with what each of M members differs by, d_m, and normal numbers g_m, whose
    covariance is that of the members.

    Args:
        predicted: by an ensemble.
        reference: of the same structure; pairs that the prediction lacks get no noise.
        rng: of all random numbers.
    """
    members = differences(predicted)
    factors = rng.normal(size=len(members)) / np.sqrt(len(members) - 1)
    onsite, pairs = dict(reference.onsite), dict(reference.pairs)
    for number, b in reference.onsite.items():
        total = sum(f * m.onsite[number].hamiltonian for f, m in zip(factors, members, strict=True))
        onsite[number] = replace(b, hamiltonian=b.hamiltonian + total)
    for key, p in reference.pairs.items():
        if key not in predicted.pairs:
            continue
        mine, theirs = _common(predicted.pairs[key], p)
        h = np.array(p.hamiltonian, dtype=np.float64)
        for f, member in zip(factors, members, strict=True):
            h[..., theirs, :, :] += f * np.asarray(member.pairs[key].hamiltonian)[..., mine, :, :]
        pairs[key] = replace(p, hamiltonian=h)
    return replace(reference, onsite=onsite, pairs=pairs, bands=None)


@dataclass
class Noise:
    """Errors of spectra that were found, and those that follow from noise, averaged over structures.

    Attributes:
        found: absolute errors of the prediction by name, one value a structure, eV (carriers: number).
        follows: absolute errors of noisy references by name, one value a structure, the mean over draws.
        members: whether the noise is that of an ensemble's members.
    """

    found: dict[str, list[float]] = field(default_factory=dict)
    follows: dict[str, list[float]] = field(default_factory=dict)
    members: bool = False

    def add(
        self,
        found: Mapping[str, float],
        drawn: Sequence[Mapping[str, float]],
    ) -> None:
        """Take in one structure.

        Args:
            found: absolute errors of its prediction, see `spectral_errors`.
            drawn: those of each of its noisy copies.
        """
        for name, value in found.items():
            self.found.setdefault(name, []).append(value)
            self.follows.setdefault(name, []).append(mean_of_known([d[name] for d in drawn]))

    def to_json(self) -> dict[str, Any]:
        """Return mean absolute errors in meV (carriers: number), ``found`` and ``follows``; None of nothing."""

        def means(values: Mapping[str, list[float]]) -> dict[str, float | None]:
            result: dict[str, float | None] = {}
            for name, column in values.items():
                mean = mean_of_known(column) * (1.0 if name == "carriers" else MEV)
                result[name] = float(mean) if np.isfinite(mean) else None
            return result

        return {
            "of": "members" if self.members else "errors",
            "draws": DRAWS,
            "found": means(self.found),
            "follows": means(self.follows),
        }


def spectral_errors(
    hamiltonian: Hamiltonian, reference: Hamiltonian, theirs: Eigenvalues
) -> dict[str, float]:
    """Return absolute errors of eigenvalues, Fermi level, gap and carriers, all on the k-points of the reference.

    Args:
        hamiltonian: a prediction, or a noisy reference.
        reference: of the same structure.
        theirs: its eigenvalues.

    Returns:
        ``window`` and ``window_shifted`` as in `eigenvalue_errors`, ``fermi_level`` and ``band_gap`` in eV, ``carriers``, the
        number of states within 0.2 eV above E_F.
    """
    electrons = electrons_of(reference)
    mine = solve(hamiltonian, theirs.kpoints, projected=False)
    errors = eigenvalue_errors(mine, theirs, electrons)
    gaps = [band_edges(one, electrons).gap for one in (mine, theirs)]
    carriers = [_carriers(one, electrons) for one in (mine, theirs)]
    return {
        "window": errors.window,
        "window_shifted": errors.window_shifted,
        "fermi_level": abs(errors.fermi_level),
        "band_gap": abs(gaps[0] - gaps[1]) if any(gaps) else np.nan,
        "carriers": abs(carriers[0] - carriers[1]),
    }


def _carriers(eigenvalues: Eigenvalues, electrons: float) -> float:
    fermi = fermi_level(eigenvalues, electrons, SMEARING)
    low, high = CARRIERS
    share = share_in_window(eigenvalues.energies, (fermi + low, fermi + high))
    return float(np.sum(share * eigenvalues.states))


def _errors(
    predicted: Hamiltonian, reference: Hamiltonian
) -> Iterator[tuple[Group, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield groups of blocks that both have: their rows in the reference, H of both with an axis of spins, and S."""
    for z, onsite in reference.onsite.items():
        assert onsite.overlap is not None
        yield (
            (z, 0),
            np.arange(len(onsite.atom)),
            _with_spins(predicted.onsite[z].hamiltonian).astype(np.float64),
            _with_spins(onsite.hamiltonian).astype(np.float64),
            onsite.overlap.astype(np.float64),
        )
    for key, blocks in reference.pairs.items():
        if key not in predicted.pairs:
            continue
        here, there = _common(predicted.pairs[key], blocks)
        place = np.full(len(blocks.i), -1)
        place[there] = here
        assert blocks.overlap is not None
        for group, rows in _bins(reference, key).items():
            rows = rows[place[rows] >= 0]
            if len(rows):
                mine = _with_spins(predicted.pairs[key].hamiltonian)[:, place[rows]]
                yield (
                    group,
                    rows,
                    mine.astype(np.float64),
                    _with_spins(blocks.hamiltonian)[:, rows].astype(np.float64),
                    blocks.overlap[rows].astype(np.float64),
                )


def _bins(hamiltonian: Hamiltonian, key: SpeciesPair) -> dict[Group, Int[np.ndarray, " rows"]]:
    """Return the rows of the pairs of each bin of the distance."""
    distance = np.linalg.norm(hamiltonian.vectors(key), axis=1)
    number = 1 + (distance / _BIN).astype(int)
    return {(key, int(n)): np.flatnonzero(number == n) for n in np.unique(number)}


def _common(mine: PairBlocks, theirs: PairBlocks) -> tuple[np.ndarray, np.ndarray]:
    """Return where pairs that both have stand in each of the two."""
    place = {row: n for n, row in enumerate(_labels(mine))}
    both = [(place[row], n) for n, row in enumerate(_labels(theirs)) if row in place]
    found = np.array(both, dtype=int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _labels(blocks: PairBlocks) -> list[tuple[int, ...]]:
    return list(map(tuple, np.column_stack([blocks.i, blocks.j, blocks.cell_offset]).tolist()))


def _with_spins(hamiltonian: Any) -> np.ndarray:
    """Give blocks an axis of spins where they have none."""
    return hamiltonian if hamiltonian.ndim == 4 else hamiltonian[None]
