"""Labels as scaled irreps, and batches of few padded sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int

from gh_tools.model.graph import Graph, concatenate, pad
from gh_tools.training.data.eigenvalue_rows import EigenvalueRows, stack_eigenvalue_rows
from gh_tools.training.data.samples import Sample

# What one more padded size must save of the padded rows, because it is compiled anew.
_WORTH_A_PROGRAM = 0.1


class Batch(NamedTuple):
    """Structures, concatenated and padded, with their references.

    Attributes:
        graph: of all structures.
        onsite: scaled irreps of the labels' on-site blocks.
        onsite_weight: of each component in the loss; zero in the padding and where there is no component.
        pairs: scaled irreps of the labels' pair blocks, in the frame of the scale-shift.
        pairs_weight: likewise.
        eigenvalue_rows: what first-order errors of eigenvalues are computed from; None where the loss does not count them.
    """

    graph: Graph
    onsite: Float[np.ndarray, "atoms Ko"]
    onsite_weight: Float[np.ndarray, "atoms Ko"]
    pairs: Float[np.ndarray, "pairs Kp"]
    pairs_weight: Float[np.ndarray, "pairs Kp"]
    eigenvalue_rows: EigenvalueRows | None = None


@dataclass(frozen=True)
class Bucket:
    """Samples of similar size and the padded size of a batch of them.

    Attributes:
        size: atoms, edges and pairs of a padded batch.
        members: indices of the samples.
    """

    size: tuple[int, int, int]
    members: tuple[int, ...]


def sizes_of(samples: Sequence[Sample]) -> Int[np.ndarray, "n 3"]:
    """Return numbers of atoms, edges and pairs of each sample; where they are known, nothing is read."""
    known = getattr(samples, "sizes", None)
    return np.array([sample.size for sample in samples]) if known is None else known


def n_pair_types_of(samples: Sequence[Sample]) -> int:
    """Return how many species pairs a sample has at most."""
    return max((len(np.unique(sample.graph.pair_type)) for sample in samples), default=0)


def make_buckets(sizes: Int[np.ndarray, "n 3"], batch_size: int, count: int) -> list[Bucket]:
    """Divide samples by their size so that little work is wasted on padding.

    Args:
        sizes: atoms, edges and pairs of all that will be batched.
        batch_size: structures in a batch.
        count: at most so many buckets. As each is compiled once, one more must save a tenth of the
            padded edges and pairs.

    Returns:
        The buckets, smaller structures first. Each has room for any batch of its members, and for one
        atom more that padding can point at, and for one edge and one pair at least.
    """
    rows = sizes[:, 1] + sizes[:, 2]
    buckets: list[Bucket] = []
    bounds = _best_bounds(rows, count)
    for below, above in zip([-1, *bounds], bounds, strict=False):
        members = np.flatnonzero((rows > below) & (rows <= above))
        largest = sizes[members].max(axis=0) * batch_size
        # At least one edge and one pair: of isolated atoms' none, compiled programs could not take a maximum.
        size = (int(largest[0]) + 1, max(int(largest[1]), 1), max(int(largest[2]), 1))
        buckets.append(Bucket(size, tuple(members.tolist())))
    return buckets


def _best_bounds(rows: Int[np.ndarray, " n"], count: int) -> list[int]:
    """Return the upper bounds of the intervals that need the fewest rows when each is padded to its own.

    The best division of the smallest sizes into k intervals ends with one interval behind the best
    division of fewer of them into k - 1.
    """
    values, counts = np.unique(rows, return_counts=True)
    held = np.concatenate([[0], np.cumsum(counts)])
    # padded[k][j]: least rows of the j smallest values in k + 1 intervals; before: where the last begins
    padded, before = [held[1:] * values], [np.zeros(len(values), dtype=int)]
    for _ in range(1, min(count, len(values))):
        fewer = np.concatenate([[0], padded[-1]])
        cost, start = np.empty_like(padded[-1]), np.empty_like(before[-1])
        for last, value in enumerate(values):
            options = fewer[: last + 1] + (held[last + 1] - held[: last + 1]) * value
            start[last] = options.argmin()
            cost[last] = options[start[last]]
        if cost[-1] > (1 - _WORTH_A_PROGRAM) * padded[-1][-1]:
            break
        padded.append(cost)
        before.append(start)
    bounds, last = [], len(values) - 1
    for start in reversed(before):
        if last < 0:
            break
        bounds.append(int(values[last]))
        last = int(start[last]) - 1
    return bounds[::-1]


def plan_epoch(
    buckets: Sequence[Bucket], batch_size: int, seed: int, epoch: int
) -> list[tuple[tuple[int, int, int], list[int]]]:
    """Return the batches of an epoch: samples are shuffled within their buckets, and then the batches of all buckets.

    Args:
        buckets: samples of similar size.
        batch_size: samples a batch, at most.
        seed: of the run.
        epoch: number, which gives each epoch an order of its own.

    Returns:
        Padded size and sample indices of each batch; a function of the arguments alone.
    """
    random = np.random.default_rng([seed, epoch])
    plan = []
    for bucket in buckets:
        members = random.permutation(bucket.members)
        for start in range(0, len(members), batch_size):
            plan.append((bucket.size, members[start : start + batch_size].tolist()))
    return [plan[index] for index in random.permutation(len(plan))]


def collate(samples: Iterable[Sample], size: tuple[int, int, int]) -> Batch:
    """Concatenate samples and pad them.

    Args:
        samples: what goes into the batch.
        size: atoms, edges and pairs after padding.
    """
    samples = list(samples)
    atoms, edges, pairs = size
    # All samples have them, or none has.
    rows = cast(list[EigenvalueRows], [sample.eigenvalue_rows for sample in samples])
    return Batch(
        pad(concatenate([sample.graph for sample in samples]), atoms, edges, pairs),
        _stack([sample.onsite for sample in samples], atoms),
        _stack([sample.onsite_weight for sample in samples], atoms),
        _stack([sample.pairs for sample in samples], pairs),
        _stack([sample.pairs_weight for sample in samples], pairs),
        None if samples[0].eigenvalue_rows is None else stack_eigenvalue_rows(rows, atoms, pairs),
    )


def _stack(parts: list[np.ndarray], rows: int) -> np.ndarray:
    whole = np.zeros((rows, parts[0].shape[1]), dtype=parts[0].dtype)
    start = 0
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    return whole
