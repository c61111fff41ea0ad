"""The bond-centred descriptor (section 2.1.2 of the paper)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gh_tools.model.config import BondCenteredConfig
from gh_tools.model.dense import DegreeDense
from gh_tools.model.perceptron import NonlinearBlock
from gh_tools.model.radial import degree_matrix, harmonics, radial_basis_functions
from gh_tools.model.tensor_dense import tensor_product


class BondCentered(nn.Module):
    """Descriptors of both atoms, coupled with the vector between them.

    The atoms enter through linear maps of their own, so that i→j and j→i are told apart.

    Attributes:
        config: of the descriptor.
        epsilon: of the normalisation.
        n_types: number of species pairs.
    """

    config: BondCenteredConfig
    epsilon: float
    n_types: int

    @nn.compact
    def __call__(
        self,
        atoms: Float[Array, "atoms 2 lm features"],
        i: Int[Array, " pairs"],
        j: Int[Array, " pairs"],
        vector: Float[Array, "pairs 3"],
        cutoff: Float[Array, " pairs"],
        pair_type: Int[Array, " pairs"],
    ) -> Float[Array, "pairs 2 LM bond"]:
        """Return the features of pairs.

        Args:
            atoms: atom-centred descriptors.
            i: first atom.
            j: second atom.
            vector: from the first to the second, in Å.
            cutoff: in Å, up to which the radial functions are to resolve.
            pair_type: index of the species pair.
        """
        config = self.config
        width = config.features or atoms.shape[-1]
        # Both maps act on atoms, of which there are fewer than pairs.
        pooled = DegreeDense(width, name="first")(atoms)[i]
        pooled += DegreeDense(width, use_bias=False, name="second")(atoms)[j]
        pooled = NonlinearBlock(self.epsilon)(pooled)

        # Targets are scaled to order one at all distances: so are these functions, without a cutoff.
        distance = jnp.linalg.norm(vector, axis=-1)
        radial = radial_basis_functions(config.radial_function, distance, cutoff, config.n_radial)
        n_degrees = config.max_degree + 1
        weights = nn.Dense(n_degrees * width, use_bias=False, name="radial")(radial)
        gates = nn.Embed(
            self.n_types, n_degrees * width, embedding_init=nn.initializers.ones, name="gates"
        )(pair_type)
        per_degree = (weights * gates).reshape(-1, n_degrees, width)
        bond = jnp.einsum("ml,plf->pmf", degree_matrix(config.max_degree), per_degree)
        bond *= harmonics(vector, config.max_degree)[:, :, None]

        return tensor_product(config.tensor_product, config.max_degree)(bond[:, None], pooled)
