"""The environments of a training set, as the trained network describes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ase
import jax
import numpy as np

from gh_tools.model.build import build_model
from gh_tools.model.config import ModelConfig
from gh_tools.model.ensemble import vectorised_over_members
from gh_tools.model.graph import Graph, concatenate, graph_of_pairs, pad
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import wrapped
from gh_tools.trained_model.environments import Described, Environments
from gh_tools.trained_model.runtime import compiler_options
from gh_tools.training.data.batches import make_buckets


def learn_environments(
    config: ModelConfig,
    layout: IrrepLayout,
    params: Any,
    train: Sequence[ase.Atoms],
    validation: Sequence[ase.Atoms],
    members: int = 1,
    dtype: type = np.float32,
) -> Environments | None:
    """Describe the atoms of a training set with a trained network, and learn their environments.

    Args:
        config: of the network.
        layout: irreps of its blocks.
        params: its weights; of an ensemble with a leading axis of members.
        train: what it was trained on.
        validation: what it was not.
        members: number of networks.
        dtype: of what the network reads.

    Returns:
        The environments; None of too few structures.
    """
    module = build_model(config, layout.basis, layout.n_spins, n_pair_types=1)

    def predict(params: Any, graph: Graph) -> Any:
        return module.apply(params, graph, method="predict_atoms")[0]

    predict_all = jax.jit(
        vectorised_over_members(predict, members), compiler_options=compiler_options()
    )
    cutoff = config.cutoffs(layout.basis).descriptor
    found: list[Described | None] = [None] * (len(train) + len(validation))
    for index, numbers, embedding in _embeddings(
        predict_all, params, [*train, *validation], layout, cutoff, members, dtype
    ):
        found[index] = numbers, module.invariants(embedding)
    described = [one for one in found if one is not None]
    return Environments.of(described[: len(train)], described[len(train) :])


def _embeddings(
    predict: Any,
    params: Any,
    structures: Sequence[ase.Atoms],
    layout: IrrepLayout,
    cutoff: float,
    members: int,
    dtype: type,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each structure with its atomic numbers and the pair embedding of its atoms."""

    def graph_of(atoms: ase.Atoms) -> Graph:
        graph = graph_of_pairs(wrapped(atoms), layout.basis, cutoff, {})
        return graph._replace(vector=graph.vector.astype(dtype))

    graphs = [graph_of(atoms) for atoms in structures]
    sizes = np.array([[len(g.species), len(g.center), 0] for g in graphs])
    for bucket in make_buckets(sizes, batch_size=1, count=3):
        n_atoms, n_edges, _ = bucket.size
        for index in bucket.members:
            graph = pad(concatenate([graphs[index]]), n_atoms, n_edges, 0)
            embedding = np.asarray(predict(params, graph))
            if members > 1:  # outside of the network, atoms come first
                embedding = np.moveaxis(embedding, 0, 1)
            numbers = np.asarray(structures[index].numbers)
            yield index, numbers, embedding[: len(numbers)]
