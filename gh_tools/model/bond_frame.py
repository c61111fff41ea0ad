"""The network ``bond-frame``: pairs are evaluated and learned in the frame of their bond."""

from __future__ import annotations

import e3x
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.bond_layers import BondLayers
from gh_tools.model.bond_readout import BondReadout
from gh_tools.model.config import BondFrameConfig, RadialBasisConfig
from gh_tools.model.density import Density
from gh_tools.model.gated_dense import GatedDense
from gh_tools.model.graph import Graph
from gh_tools.model.norm import SoftNorm
from gh_tools.model.prediction import Prediction
from gh_tools.model.product import Product
from gh_tools.model.readout import Readout
from gh_tools.orbitals.irreps import IrrepLayout

# Fraction of a pair's cutoff from where its irreps are led to zero.
_SWITCH_START = 0.8


class BondFrame(nn.Module):
    """Scaled irreps of on-site blocks, and of pair blocks in the frame of their bond.

    Attributes:
        config: the hyper-parameters.
        layout: irreps of the blocks to predict.
        n_message_steps: an atom's features need only its own edges.
    """

    config: BondFrameConfig
    layout: IrrepLayout
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
            config.descriptor_cutoff(basis),
            len(basis.numbers),
        )
        self.products = [Product(config.product_features) for _ in range(2)]
        self.norms = [SoftNorm(config.norm_epsilon) for _ in range(5)]
        self.atoms = GatedDense(config.atom_features, config.hidden)
        self.onsite = GatedDense(config.onsite_features, config.hidden)
        self.onsite_readout = Readout(tuple(self.layout.onsite.values()))
        ends = (config.bond_tensors, config.bond_pseudotensors)
        self.ends = [
            self.param(
                name,
                nn.initializers.variance_scaling(
                    1.0, "fan_in", "normal", in_axis=2, out_axis=3, batch_axis=(0, 1)
                ),
                (
                    len(basis.numbers),
                    self.density.config.max_degree + 1,
                    config.atom_features,
                    count,
                ),
            )
            for name, count in zip(("kernel_tensors", "kernel_pseudotensors"), ends, strict=True)
        ]
        self.bond_layers = BondLayers(config, self.layout.max_pair_degree)
        self.bond_readout = BondReadout(self.layout)

    def __call__(self, graph: Graph) -> Prediction:
        """Predict the blocks of a graph."""
        bond_ends, onsite = self.predict_atoms(graph)
        return Prediction(onsite, self.predict_pairs(bond_ends, graph))

    # Accelerators round factors of matrix products to fewer bits unless told not to.
    @jax.default_matmul_precision("float32")
    def predict_atoms(
        self, graph: Graph
    ) -> tuple[Float[Array, "atoms lm features"], Float[Array, "atoms components"]]:
        """Return what pairs need of their atoms, and the irreps of on-site blocks."""
        species = nn.one_hot(
            graph.species, len(self.layout.basis.numbers), dtype=graph.vector.dtype
        )
        density = self._normed(0, self.density(graph)[:, 0])
        tensors, pseudotensors = self.products[0](density)
        tensors = jnp.concatenate([density, self._normed(1, tensors)], axis=-1)
        tensors, pseudotensors = self.atoms(tensors, self._normed(2, pseudotensors), species)
        ends = jnp.concatenate(
            [
                jnp.concatenate(
                    [
                        jnp.einsum(
                            "as,amf,sfg->amg",
                            species,
                            features[:, degree**2 : (degree + 1) ** 2],
                            kernel[:, degree],
                        )
                        for degree in range(kernel.shape[1])
                    ],
                    axis=1,
                )
                for features, kernel in zip((tensors, pseudotensors), self.ends, strict=True)
            ],
            axis=-1,
        )

        more = self.products[1](tensors)
        tensors = jnp.concatenate([tensors, self._normed(3, more[0])], axis=-1)
        if any((irreps.parity == 1).any() for irreps in self.layout.onsite.values()):
            pseudotensors = jnp.concatenate([pseudotensors, self._normed(4, more[1])], axis=-1)
        else:
            pseudotensors = None
        tensors, pseudotensors = self.onsite(tensors, pseudotensors, species)
        onsite = self.onsite_readout(_by_parity(tensors, pseudotensors), graph.species)
        return ends, onsite * graph.atom_mask[:, None]

    @jax.default_matmul_precision("float32")
    def predict_pairs(
        self, ends: Float[Array, "atoms lm features"], graph: Graph
    ) -> Float[Array, "pairs components"]:
        """Predict the irreps of pair blocks in the frame of their bond."""
        cutoffs = self.config.pair_cutoffs(self.layout.basis)
        cutoff = jnp.array([cutoffs[pair] for pair in self.layout.pair], ends.dtype)[
            graph.pair_type
        ]
        kind = nn.one_hot(graph.pair_type, len(self.layout.pair), dtype=ends.dtype, axis=0)
        features, scalars = self.bond_layers(
            ends[graph.i], ends[graph.j], graph.pair_vector, cutoff, kind
        )
        irreps = self.bond_readout(features, scalars, kind)
        distance = jnp.linalg.norm(graph.pair_vector, axis=-1)
        fade = 1.0 - e3x.nn.smooth_switch(distance / cutoff, _SWITCH_START, 1.0)
        return (irreps * (fade * graph.pair_mask)).T

    def _normed(self, index: int, features: Array) -> Array:
        return self.norms[index](features[:, None])[:, 0]


def _by_parity(tensors: Array, pseudotensors: Array | None) -> Float[Array, "atoms 2 lm features"]:
    """Sort tensors and pseudotensors into those that are even under inversion, and those that are odd."""
    if pseudotensors is None:
        pseudotensors = jnp.zeros_like(tensors)
    n_degrees = round(tensors.shape[1] ** 0.5)
    degree = np.repeat(np.arange(n_degrees), 2 * np.arange(n_degrees) + 1)[:, None]
    is_even = degree % 2 == 0
    even = jnp.where(is_even, tensors, pseudotensors)
    return jnp.stack([even, jnp.where(is_even, pseudotensors, tensors)], axis=1)
