"""The two-body descriptor: what surrounds an atom, summed over its neighbours."""

from __future__ import annotations

import e3x
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gh_tools.model.atom_dense import broadcast
from gh_tools.model.config import RadialBasisConfig
from gh_tools.model.graph import Graph
from gh_tools.model.initial import matrices, normal
from gh_tools.model.radial import harmonics, radial_basis_functions


class Density(nn.Module):
    """Species-aware radial basis, summed over the neighbours of each atom.

    x_i,f,lm = sum_j sum_k W[Z_i, Z_j]_l,k,f g_k(r_ij) Y_lm(r_ij)

    The weights are W[Z_i, Z_j] = sum_c a[Z_i]_c b[Z_j]_c V_c with learned embeddings a and b of the
    central and of the neighbouring element, so that their number grows with that of elements, not
    with its square. As the sum is linear in g_k, neighbours of one element are summed first, and
    weights are applied to atoms, which are fewer than edges.

    Attributes:
        config: of the radial basis.
        cutoff: in Å.
        n_species: number of elements.
    """

    config: RadialBasisConfig
    cutoff: float
    n_species: int

    @nn.compact
    def __call__(self, graph: Graph) -> Float[Array, "lm radial atoms"]:
        """Return tensors up to the degree of the config, without pseudotensors."""
        config = self.config
        n_atoms, n_degrees = len(graph.species), config.max_degree + 1
        central = self.param("central", normal(1.0), (self.n_species, config.n_embedding))
        neighbour = self.param("neighbour", normal(1.0), (self.n_species, config.n_embedding))
        mixing = self.param(
            "mixing",
            matrices(config.n_embedding * config.n_radial),
            (n_degrees, config.n_radial, config.n_embedding, config.n_radial),
        )

        distance = jnp.linalg.norm(graph.vector, axis=-1)
        radial = radial_basis_functions(
            config.radial_function, distance, self.cutoff, config.n_radial
        )
        envelope = getattr(e3x.nn, config.cutoff_function)(distance, self.cutoff)
        radial *= (envelope * graph.edge_mask)[:, None]
        # To concatenate is a fusion barrier: else radial functions are evaluated anew for each harmonic.
        factors = jnp.concatenate([harmonics(graph.vector, config.max_degree), radial], axis=1)
        edges = factors[:, : -config.n_radial, None] * factors[:, None, -config.n_radial :]
        # Sorted, because a graph's edges are: a sorted sum is several times as fast.
        density = jax.ops.segment_sum(
            edges,
            graph.center * self.n_species + graph.species[graph.neighbour],
            num_segments=n_atoms * self.n_species,
            indices_are_sorted=True,
        ).reshape(n_atoms, self.n_species, -1, config.n_radial)

        species = nn.one_hot(graph.species, self.n_species, dtype=density.dtype)
        density = jnp.einsum("abmk,bc,ac->mcka", density, neighbour, species @ central)
        mixing = mixing.reshape(n_degrees, config.n_radial, -1)
        return broadcast(mixing) @ density.reshape(len(density), -1, n_atoms)
