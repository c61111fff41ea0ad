"""The network ``gears-h``: the paper's architecture, with local norms and ordered pairs."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.model.atom_centered import AtomCentered
from gh_tools.model.bond_centered import BondCentered
from gh_tools.model.config import GearsHConfig
from gh_tools.model.graph import Graph
from gh_tools.model.invariants import norms_by_degree
from gh_tools.model.last_layer import keep_grams
from gh_tools.model.prediction import Prediction
from gh_tools.model.radial import pair_envelope
from gh_tools.model.readout import Readout
from gh_tools.model.residual import ResidualDense
from gh_tools.orbitals.irreps import IrrepLayout, Irreps

Features = Float[Array, "atoms 2 lm features"]


class GearsH(nn.Module):
    """Scaled irreps of on-site and pair blocks.

    Attributes:
        config: the hyper-parameters.
        layout: irreps of the blocks to predict.
    """

    config: GearsHConfig
    layout: IrrepLayout

    def setup(self) -> None:
        """Make the layers."""
        config, basis = self.config, self.layout.basis
        self.atom_centered = AtomCentered(
            config.atom_centered,
            config.cutoffs(basis).descriptor,
            len(basis.numbers),
            config.norm_epsilon,
        )
        self.onsite_mlp = ResidualDense(config.mlp)
        self.onsite_readout = Readout(tuple(self.layout.onsite.values()))
        self.bond_centered = BondCentered(
            config.bond_centered, config.norm_epsilon, len(self.layout.pair)
        )
        self.pair_mlp = ResidualDense(config.mlp)
        self.pair_readout = Readout(tuple(self.layout.pair.values()))

    @property
    def n_message_steps(self) -> int:
        """How often descriptors pass between neighbours: 0 if an atom's needs only its own edges."""
        return 0 if self.config.atom_centered.attention is None else 1

    def __call__(self, graph: Graph) -> Prediction:
        """Predict the blocks of a graph."""
        atoms, onsite = self.predict_atoms(graph)
        return Prediction(onsite, self.predict_pairs(atoms, graph))

    # Accelerators round factors of matrix products to fewer bits unless told not to.
    @jax.default_matmul_precision("float32")
    def predict_atoms(self, graph: Graph) -> tuple[Features, Float[Array, "atoms components"]]:
        """Return the pair embedding of their atoms, and the irreps of on-site blocks."""
        atoms = self.atom_centered(graph)
        features = self.onsite_mlp(atoms)
        irreps = self.onsite_readout(features, graph.species)
        species = nn.one_hot(graph.species, len(self.layout.onsite), axis=0)
        keep_grams(
            self, "onsite_readout", self.onsite_readout.grams(features, species * graph.atom_mask)
        )
        return atoms, irreps * graph.atom_mask[:, None]

    @jax.default_matmul_precision("float32")
    def predict_pairs(self, atoms: Features, graph: Graph) -> Float[Array, "pairs components"]:
        """Predict the irreps of pair blocks from the atoms' descriptors."""
        cutoffs = self.config.cutoffs(self.layout.basis).pairs
        cutoff = jnp.array([cutoffs[pair] for pair in self.layout.pair], jnp.float32)[
            graph.pair_type
        ]

        # Each pair twice, the second time with its atoms exchanged: of like atoms none is the first, and the
        # block of the exchanged pair must be the transpose.
        both = jnp.concatenate([graph.pair_type, graph.pair_type])
        bonds = self.bond_centered(
            atoms,
            jnp.concatenate([graph.i, graph.j]),
            jnp.concatenate([graph.j, graph.i]),
            jnp.concatenate([graph.pair_vector, -graph.pair_vector]),
            jnp.concatenate([cutoff, cutoff]),
            both,
        )
        features = self.pair_mlp(bonds)
        irreps = self.pair_readout(features, both)
        forward, backward = jnp.split(irreps, 2)
        partner, sign, like = (table[graph.pair_type] for table in _transposes(self.layout))
        transposed = sign * jnp.take_along_axis(backward, partner, axis=1)
        irreps = jnp.where(like[:, None], (forward + transposed) / 2, forward)

        fade = pair_envelope(graph.pair_vector, cutoff) * graph.pair_mask
        types = nn.one_hot(both, len(self.layout.pair), axis=0)
        # Of like atoms, both ways are read, each with half of the weight; that what they are read with is the same is left out.
        weight = types * jnp.concatenate([fade, fade * like]) ** 2
        keep_grams(self, "pair_readout", self.pair_readout.grams(features, weight))
        return irreps * fade[:, None]

    @staticmethod
    def invariants(
        pair_embedding: Float[np.ndarray, "atoms *rest lm features"],
    ) -> Float[np.ndarray, "atoms invariants"]:
        """Return what of the pair embedding of atoms no rotation changes."""
        degree = np.floor(np.sqrt(np.arange(pair_embedding.shape[-2]))).astype(int)
        return norms_by_degree(pair_embedding, degree)


def _transposes(
    layout: IrrepLayout,
) -> tuple[Int[Array, "types components"], Float[Array, "types components"], Array]:
    """Return, by species pair, what transposing a block of like atoms does to its irreps.

    Component c of the transpose is ``sign[c]`` times component ``partner[c]``; ``like`` says which
    species pairs are of like atoms.
    """
    partner = np.zeros((len(layout.pair), layout.pair_size), dtype=np.int32)
    sign = np.zeros(partner.shape, dtype=np.float32)
    for row, ((zi, zj), irreps) in enumerate(layout.pair.items()):
        if zi == zj:
            matrix = _transpose_matrix(irreps)
            partner[row, : irreps.size] = np.abs(matrix).argmax(axis=1)
            sign[row, : irreps.size] = np.sign(matrix.sum(axis=1))
    like = np.array([zi == zj for zi, zj in layout.pair])
    return jnp.asarray(partner), jnp.asarray(sign), jnp.asarray(like)


def _transpose_matrix(irreps: Irreps) -> Float[np.ndarray, "components components"]:
    blocks = irreps.to_blocks(np.eye(irreps.size))
    return irreps.to_irreps(np.swapaxes(blocks, -1, -2)).T
