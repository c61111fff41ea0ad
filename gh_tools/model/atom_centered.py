"""The atom-centred descriptor (section 2.1.1 of the paper)."""

from __future__ import annotations

import e3x
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.attention import NeighbourAttention
from gh_tools.model.config import AtomCenteredConfig
from gh_tools.model.density import Density
from gh_tools.model.graph import Graph
from gh_tools.model.perceptron import NonlinearBlock
from gh_tools.model.tensor_dense import TensorDense


class AtomCentered(nn.Module):
    """Descriptors of growing body order, refined one by one and joined at the end.

    Attributes:
        config: of the descriptor.
        cutoff: in Å.
        n_species: number of elements.
        epsilon: of normalisations.
    """

    config: AtomCenteredConfig
    cutoff: float
    n_species: int
    epsilon: float

    @nn.compact
    def __call__(self, graph: Graph) -> Float[Array, "atoms 2 lm features"]:
        """Return tensors and pseudotensors up to the config's degree."""
        config = self.config
        density = Density(config.radial_basis, self.cutoff, self.n_species)(graph)
        descriptors = [density.transpose(2, 0, 1)[:, None]]
        for _ in range(config.n_tensor_dense):
            descriptors.append(
                TensorDense(
                    config.tensor_features, config.radial_basis.max_degree, config.tensor_product
                )(descriptors[-1])
            )
        if config.attention is not None:
            descriptors = [
                NeighbourAttention(config.attention, config.radial_basis, self.cutoff)(x, graph)
                for x in descriptors
            ]
        refined = [NonlinearBlock(self.epsilon)(x) for x in descriptors]
        return jnp.concatenate(
            [
                e3x.nn.change_max_degree_or_type(x, config.max_degree, include_pseudotensors=True)
                for x in refined
            ],
            axis=-1,
        )
