"""Predict H(R) of one structure of any size."""

from __future__ import annotations

import ase
import jax
import numpy as np
from jaxtyping import Float

from gh_tools.inference.chunks import atom_chunks, pair_chunks
from gh_tools.model.build import build_model
from gh_tools.model.graph import Graph, graph_of_pairs
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.bond_frame import from_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import stored_pairs, wrapped
from gh_tools.training.model_store import LoadedModel
from gh_tools.training.step import configure_jax

# Atoms (stand-ins and padding included) and edges of a chunk of descriptors, and pairs of a chunk of bonds: small ones for structures that
# fit, large ones for all else. Each is compiled once. A large chunk takes about 0.5 GB with the paper's
# defaults.
SMALL_ATOMS = (32, 4096)
LARGE_ATOMS = (256, 32768)
PAIR_SIZES = (4096, 512)
# Pairs whose irreps become blocks at once, in double precision.
BLOCK_ROWS = 65536


class Predictor:
    """A trained model, ready to predict.

    Descriptors are computed once for each atom, then pairs in chunks that hold the descriptors of their
    own atoms only: time is linear in the number of atoms, and so is memory, with the chunks on top.

    Args:
        model: what `load_model` gives.

    Attributes:
        basis: the basis table of all predictions.
        pair_cutoffs: distance in Å up to which each species pair gets blocks.
    """

    def __init__(self, model: LoadedModel):
        configure_jax(model.config.precision)
        self.basis = model.basis
        self.layout = IrrepLayout(model.basis, model.n_spins)
        self.scaleshift = model.scaleshift
        self.cutoff = model.config.model.descriptor_cutoff(model.basis)
        # Beyond the reach of the labels nothing was learned.
        labelled = model.attributes.get("cutoffs", {})
        self.pair_cutoffs = {
            (zi, zj): min(cutoff, labelled.get(f"{zi}-{zj}", cutoff))
            for (zi, zj), cutoff in model.config.model.pair_cutoffs(model.basis).items()
        }
        self._dtype = np.dtype(model.config.precision)
        self._params = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, self._dtype), model.params)
        self._module = build_model(model.config.model, model.basis, model.n_spins)
        self._atoms = jax.jit(
            lambda params, graph: self._module.apply(params, graph, method="predict_atoms")
        )
        self._pairs = jax.jit(
            lambda params, atoms, graph: self._module.apply(
                params, atoms, graph, method="predict_pairs"
            )
        )

    def predict(self, atoms: ase.Atoms) -> Hamiltonian:
        """Predict a structure.

        Args:
            atoms: any number of atoms; they are wrapped into the cell.

        Returns:
            H(R) in eV in single precision, exactly Hermitian, without overlap; scalar ``n_electrons``
            of neutral atoms.

        Raises:
            DataError: the model does not know an element.
        """
        atoms = wrapped(atoms)
        self.basis.check_covers(atoms.numbers, atoms.get_chemical_formula())
        found = stored_pairs(atoms, self.pair_cutoffs)
        pairs = {key: (i, j, shift) for key, (i, j, shift, _) in found.items()}
        graph = graph_of_pairs(atoms, self.basis, self.cutoff, pairs)
        graph = Graph(*(_cast(array, self._dtype) for array in graph))

        descriptors, onsite_irreps = self._describe(graph)
        shift, scale = self.scaleshift.onsite(graph.species)
        onsite_irreps = shift + scale * onsite_irreps
        onsite = {}
        for number in np.unique(atoms.numbers).tolist():
            irreps, atom = self.layout.onsite[number], np.flatnonzero(atoms.numbers == number)
            blocks = irreps.to_blocks(onsite_irreps[atom, : irreps.size])
            onsite[number] = OnsiteBlocks(atom, blocks.astype(np.float32))

        pair_irreps = self._bonds(graph, descriptors)
        bonds, start = {}, 0
        for key, (i, j, cells, _) in found.items():
            rows = slice(start, start := start + len(i))
            blocks = self._pair_blocks(key, pair_irreps[rows], graph.pair_vector[rows])
            bonds[key] = PairBlocks(i, j, cells, blocks)
        scalars = {"n_electrons": self.basis.n_electrons(atoms.numbers)}
        return Hamiltonian(atoms, self.basis, onsite, bonds, scalars)

    def _describe(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Compute descriptors and scaled on-site irreps of all atoms."""
        n_atoms, n_species = len(graph.species), len(self.basis.numbers)
        room = n_atoms + n_species + 1, len(graph.center)
        small = all(need <= size for need, size in zip(room, SMALL_ATOMS, strict=True))
        chunks = atom_chunks(
            graph, n_species, self._module.n_message_steps, SMALL_ATOMS if small else LARGE_ATOMS
        )
        descriptors, onsite = None, np.zeros((n_atoms, self.layout.onsite_size), self._dtype)
        for chunk in chunks:
            features, irreps = jax.device_get(self._atoms(self._params, chunk.graph))
            if descriptors is None:
                descriptors = np.zeros((n_atoms, *features.shape[1:]), features.dtype)
            descriptors[chunk.atoms] = features[chunk.rows]
            onsite[chunk.atoms] = irreps[chunk.rows]
        return descriptors, onsite

    def _bonds(
        self, graph: Graph, descriptors: Float[np.ndarray, "atoms ..."]
    ) -> Float[np.ndarray, "pairs components"]:
        """Compute the scaled irreps of all pairs."""
        irreps = np.zeros((len(graph.i), self.layout.pair_size), self._dtype)
        for chunk in pair_chunks(graph, descriptors, PAIR_SIZES):
            count = chunk.pairs.stop - chunk.pairs.start
            predicted = self._pairs(self._params, chunk.descriptors, chunk.graph)
            irreps[chunk.pairs] = np.asarray(predicted)[:count]
        return irreps

    def _pair_blocks(
        self,
        key: tuple[int, int],
        scaled: Float[np.ndarray, "pairs components"],
        vectors: Float[np.ndarray, "pairs 3"],
    ) -> Float[np.ndarray, "*spin pairs ki kj"]:
        irreps = self.layout.pair[key]
        blocks = np.empty(irreps.blocks_shape(len(scaled)), np.float32)
        for start in range(0, len(scaled), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            distance = np.linalg.norm(vectors[rows].astype(float), axis=1)
            shift, scale = self.scaleshift.pair_terms[key](distance)
            components = shift + scale * scaled[rows, : irreps.size]
            turned = from_frame(self.scaleshift.frame, irreps, components, vectors[rows])
            blocks[..., rows, :, :] = irreps.to_blocks(turned)
        return blocks


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array
