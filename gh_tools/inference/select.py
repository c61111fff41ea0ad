"""Which structures of a pool a model would learn most from.

Where members of an ensemble differ, the model is unsure; where the environments of atoms are far from those of training and
of the structures that are chosen already, it has not been. Structures are chosen one after the other, so that what one of them
would teach is not counted again for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from gh_tools.console import track
from gh_tools.inference.predict import Predictor
from gh_tools.inference.structure import StructureWork
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.structures import Structures
from gh_tools.trained_model.environments import Environments

# Of a pool with members, so many times as many structures as are wanted, those of the largest uncertainty, are chosen from.
CANDIDATES = 3

# Coordinates of atoms by element.
Described = dict[int, Float[np.ndarray, "_atoms coordinates"]]


@dataclass(frozen=True)
class Selection:
    """Structures that were chosen.

    Attributes:
        indices: of them in the pool, in the order of choice.
        novelty: mean over a structure's atoms of the distance to the nearest atom of the training set, or of a structure that
            was chosen before; in units of standard deviations.
        uncertainty: root mean square of H's uncertainties in eV; NaN without members.
    """

    indices: Int[np.ndarray, " n"]
    novelty: Float[np.ndarray, " n"]
    uncertainty: Float[np.ndarray, " n"]


def select_structures(
    predictor: Predictor,
    environments: Environments,
    structures: Structures,
    count: int,
    uncertainty: Float[np.ndarray, " structures"] | None = None,
) -> Selection:
    """Choose the structures of a pool whose atoms are farthest from those known, one after the other.

    Distances are those of `Environments`, between whitened invariants of the model's descriptors.

    Args:
        predictor: the model that is to learn.
        environments: of its training set.
        structures: the pool.
        count: how many.
        uncertainty: of each structure in eV, see `uncertainties`; without it diversity alone decides.
    """
    unsure = np.full(len(structures), np.nan) if uncertainty is None else uncertainty
    if uncertainty is None:
        candidates = np.arange(len(structures))
    else:
        candidates = np.argsort(-uncertainty, kind="stable")[: CANDIDATES * count]
    described = []
    for index in track(candidates.tolist(), "describing structures", len(candidates)):
        atoms = structures.atoms[index]
        invariants = StructureWork(predictor, None, atoms, np.inf).invariants()
        described.append(
            {
                z: environments.known[z].coordinates(invariants[atoms.numbers == z])
                for z in np.unique(atoms.numbers).tolist()
                if z in environments.known
            }
        )
    start = {z: known.points for z, known in environments.known.items()}
    chosen, novelty = most_novel(described, start, count)
    indices = candidates[chosen]
    return Selection(indices, novelty, unsure[indices])


def most_novel(
    described: Sequence[Described], start: Described, count: int
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Choose structures one after the other, each the one whose atoms are on average farthest from all before.

    Args:
        described: coordinates of the atoms of each structure.
        start: what counts as chosen already.
        count: how many.

    Returns:
        Their indices, and that average when each was chosen.
    """
    nearest = [
        {z: cKDTree(start[z]).query(points)[0] for z, points in one.items()} for one in described
    ]
    means = np.array([_mean(one) for one in nearest])
    chosen: list[int] = []
    novelty = []
    for _ in range(min(count, len(described))):
        best = int(np.argmax(means))
        chosen.append(best)
        novelty.append(float(means[best]))
        trees = {z: cKDTree(points) for z, points in described[best].items()}
        for row, one in enumerate(described):
            for z in one.keys() & trees.keys():
                nearest[row][z] = np.minimum(nearest[row][z], trees[z].query(one[z])[0])
            means[row] = _mean(nearest[row])
        means[chosen] = -1.0
    return np.array(chosen, dtype=int), np.array(novelty)


def _mean(distances: dict[int, np.ndarray]) -> float:
    every = [values for values in distances.values() if len(values)]
    return float(np.concatenate(every).mean()) if every else 0.0


def uncertainties(reader: HamiltonianReader) -> Float[np.ndarray, " structures"] | None:
    """Return the root mean square uncertainty of the matrix elements of each structure, in eV.

    Args:
        reader: of predictions.

    Returns:
        One number a structure; None where no ensemble predicted them.
    """
    if not any(key.endswith("/uncertainty") for key in reader.store.keys()):
        return None
    return np.array([_rms_uncertainty(reader.read(index)) for index in range(len(reader))])


def _rms_uncertainty(hamiltonian: Hamiltonian) -> float:
    total = count = 0.0
    for key, blocks in hamiltonian.groups():
        if blocks.uncertainty is None:
            continue
        weight = 1.0 if isinstance(key, int) else 2.0  # of the opposite pair's block, too
        total += weight * float(np.sum(blocks.uncertainty.astype(np.float64) ** 2))
        count += weight * blocks.uncertainty.size
    return float(np.sqrt(total / count)) if count else 0.0
