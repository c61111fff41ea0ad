"""The network ``bond-frame``: pairs are evaluated and learned in the frame of their bond."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.atom_dense import AtomDense, soft_norm
from gh_tools.model.atom_readout import AtomReadout
from gh_tools.model.bond_layers import BondLayers
from gh_tools.model.bond_readout import BondReadout
from gh_tools.model.bond_rotation import components
from gh_tools.model.config import BondFrameConfig, RadialBasisConfig
from gh_tools.model.density import Density
from gh_tools.model.gated_dense import GatedDense
from gh_tools.model.graph import Graph
from gh_tools.model.invariants import norms_by_degree
from gh_tools.model.last_layer import keep_grams
from gh_tools.model.prediction import Prediction
from gh_tools.model.product import Product
from gh_tools.model.radial import pair_envelope
from gh_tools.orbitals.irreps import IrrepLayout


class BondFrame(nn.Module):
    """Scaled irreps of on-site blocks, and of pair blocks in the frame of their bond.

    Attributes:
        config: the hyper-parameters.
        layout: irreps of the blocks to predict.
        n_pair_types: most species pairs in a graph.
        n_message_steps: an atom's features need only its own edges.
    """

    config: BondFrameConfig
    layout: IrrepLayout
    n_pair_types: int
    n_message_steps: int = 0

    def setup(self) -> None:
        """Make the layers."""
        config, basis = self.config, self.layout.basis
        self.density = Density(
            RadialBasisConfig(
                n_radial=config.n_radial,
                max_degree=config.degree(self.layout.max_degree),
                n_embedding=config.n_embedding,
            ),
            config.cutoffs(basis).descriptor,
            len(basis.numbers),
        )
        self.products = [Product(config.product_features) for _ in range(2)]
        self.atoms = GatedDense(config.atom_features, config.hidden)
        self.onsite = GatedDense(config.onsite_features, config.hidden)
        self.onsite_readout = AtomReadout(tuple(self.layout.onsite.values()))
        self.embed_pairs = [
            AtomDense(len(basis.numbers) * count)
            for count in (config.bond_tensors, config.bond_pseudotensors)
        ]
        self.bond_layers = BondLayers(config, self.layout.max_pair_degree)
        self.bond_readout = BondReadout(self.layout, self.n_pair_types)

    def __call__(self, graph: Graph) -> Prediction:
        """Return the scaled irreps of the on-site blocks and pair blocks of a graph."""
        pair_embedding, onsite = self.predict_atoms(graph)
        return Prediction(onsite, self.predict_pairs(pair_embedding, graph))

    # Accelerators round factors of matrix products to fewer bits unless told not to.
    @jax.default_matmul_precision("float32")
    def predict_atoms(
        self, graph: Graph
    ) -> tuple[Float[Array, "atoms lm features"], Float[Array, "atoms components"]]:
        """Return what pairs need to know of their atoms, and what is predicted of atoms alone.

        Args:
            graph: a structure; edges up to the descriptor's cutoff.

        Returns:
            The pair embedding of each atom, with components in the order of `bond_rotation.components` and tensors
            before pseudotensors; and the scaled irreps of its on-site block, in the order of the layout.
        """
        numbers = self.layout.basis.numbers
        species = nn.one_hot(graph.species, len(numbers), dtype=graph.vector.dtype, axis=0)
        density = self._normed(self.density(graph))
        size, _, n_atoms = density.shape
        product = self._normed(self.products[0](density))
        tensors = jnp.concatenate([density, product[:size]], axis=1)
        tensors, pseudotensors = self.atoms(tensors, product[size:], species)
        assert pseudotensors is not None  # because pseudotensors went in
        pair_embedding = jnp.concatenate(
            [
                (dense(features).reshape(size, len(numbers), -1, n_atoms) * species[:, None]).sum(1)
                for dense, features in zip(self.embed_pairs, (tensors, pseudotensors), strict=True)
            ],
            axis=1,
        )
        order = components(round(size**0.5) - 1).orbital_order

        update = self._normed(self.products[1](tensors))
        tensors = jnp.concatenate([tensors, update[:size]], axis=1)
        if any((irreps.parity == 1).any() for irreps in self.layout.onsite.values()):
            pseudotensors = jnp.concatenate([pseudotensors, update[size:]], axis=1)
        else:
            pseudotensors = None
        tensors, pseudotensors = self.onsite(tensors, pseudotensors, species)
        onsite = self.onsite_readout(tensors, pseudotensors, species)
        weight = species * graph.atom_mask
        keep_grams(
            self, "onsite_readout", self.onsite_readout.grams(tensors, pseudotensors, weight)
        )
        return pair_embedding[order].transpose(2, 0, 1), (onsite * graph.atom_mask).T

    @jax.default_matmul_precision("float32")
    def predict_pairs(
        self, pair_embedding: Float[Array, "atoms lm features"], graph: Graph
    ) -> Float[Array, "pairs components"]:
        """Return the scaled irreps of pair blocks in the frame of their bond, in the order of the layout.

        They are led to zero smoothly between 0.8 and 1 of the pair's cutoff.

        Args:
            pair_embedding: of all atoms, as of `predict_atoms`.
            graph: a structure with the pairs.
        """
        cutoffs = self.config.cutoffs(self.layout.basis).pairs
        cutoff = jnp.array([cutoffs[pair] for pair in self.layout.pair], pair_embedding.dtype)[
            graph.pair_type
        ]
        pair_type = nn.one_hot(
            graph.pair_type, len(self.layout.pair), dtype=pair_embedding.dtype, axis=0
        )
        features, scalars = self.bond_layers(
            pair_embedding,
            jnp.asarray(graph.i),
            jnp.asarray(graph.j),
            jnp.asarray(graph.pair_vector),
            cutoff,
            pair_type,
        )
        irreps = self.bond_readout(features, scalars, pair_type)
        fade = pair_envelope(graph.pair_vector, cutoff) * graph.pair_mask
        keep_grams(
            self, "bond_readout", self.bond_readout.grams(features, scalars, pair_type * fade**2)
        )
        return (irreps * fade).T

    @staticmethod
    def invariants(
        pair_embedding: Float[np.ndarray, "atoms *rest lm features"],
    ) -> Float[np.ndarray, "atoms invariants"]:
        """Return what of the pair embedding of atoms no rotation changes."""
        degree = components(round(pair_embedding.shape[-2] ** 0.5) - 1).degree
        return norms_by_degree(pair_embedding, degree)

    def _normed(self, features: Float[Array, "rows features atoms"]) -> Array:
        return soft_norm(features, self.density.config.max_degree, self.config.norm_epsilon)
