"""Predict H(R) of structures of any size, whole or domain by domain."""

from __future__ import annotations

from typing import Any, NamedTuple

import ase
import jax
import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import UsageError
from gh_tools.inference.chunks import atom_chunks, local_graph, pair_chunks
from gh_tools.inference.programs import Programs
from gh_tools.model.build import build_model
from gh_tools.model.graph import Graph, build_graph, pad
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import Neighbours, PairsBySpecies, canonical_pairs
from gh_tools.orbitals.partition import divide
from gh_tools.trained_model.calibration import of_ensemble
from gh_tools.trained_model.environments import Environments
from gh_tools.trained_model.runtime import configure_jax
from gh_tools.trained_model.store import LoadedModel

# Atoms (stand-ins and padding included) and edges of a chunk of descriptors, and pairs of a chunk of
# bonds: small ones for structures that fit, large ones for all else. Each is compiled once. A large
# chunk takes about 0.5 GB with the paper's defaults.
SMALL_ATOMS = (32, 4096)
LARGE_ATOMS = (256, 32768)
PAIR_SIZES = (4096, 512)
# Atoms whose edges are listed at once.
LISTED_ATOMS = 1024
# What is predicted; all but the first by ensembles.
_FIELDS = ("hamiltonian", "uncertainty", "members")


class Descriptors(NamedTuple):
    """What the first stage of a network says of some atoms of a structure.

    Attributes:
        row: where each atom of the structure stands in the other arrays; -1 if it is not there.
        pair_embedding: the pair embedding of an atom; of an ensemble, by member.
        onsite: scaled irreps of the on-site block; likewise.
    """

    row: Int[np.ndarray, " atoms"]
    pair_embedding: Float[np.ndarray, "some ..."]
    onsite: Float[np.ndarray, "some components"]


class Predictor:
    """A trained model, ready to predict.

    Descriptors of atoms come first, then blocks of pairs, which need the descriptors of their two atoms
    and no more. Both are made in chunks of fixed size, so that time and memory are linear in what is
    asked for, and a structure of any size is predicted by the same few compiled programs.

    Args:
        model: what `load_model` gives.
        error_bars: whether to predict what members of an ensemble differ by, too; None for those of an ensemble of whole networks
            alone, whose members are evaluated anyway.

    Raises:
        UsageError: error bars are asked for, and the model has no members.

    Attributes:
        basis: the basis table of all predictions.
        layout: irreps of the blocks.
        cutoffs: of descriptors and of pairs, none beyond what the labels hold.
        reach: distance in Å up to which neighbours of an atom are looked for.
        onsite_energy: the on-site energy model of its scale-shift; None if there is none.
        calibration: of the members' differences; None without error bars.
        environments: of its training set; None where the model does not tell.
        atom_bytes: memory for the descriptors of an atom.
        n_members: of an ensemble, that are predicted; 0 without error bars.
        n_matrices: how many are predicted: H of each spin, and of an ensemble its uncertainty and its members.
    """

    def __init__(self, model: LoadedModel, error_bars: bool | None = None):
        configure_jax(model.config.precision)
        self.basis = model.basis
        self.layout = IrrepLayout(model.basis, model.n_spins)
        # Beyond the reach of the labels nothing was learned.
        labelled = model.attributes.get("cutoffs", {})
        self.cutoffs = model.config.model.cutoffs(model.basis).within(labelled)
        self.onsite_energy = model.scaleshift.onsite_energy
        self.reach = self.cutoffs.reach
        if self.onsite_energy is not None:
            self.reach = max(self.reach, self.onsite_energy.reach)
        self._dtype = np.dtype(model.config.precision)
        self._scaleshift = model.scaleshift
        params = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, self._dtype), model.params)
        # A chunk has pairs of one type.
        module = build_model(model.config.model, model.basis, model.n_spins, n_pair_types=1)
        self._n_message_steps = module.n_message_steps
        self.environments = Environments.from_arrays(model.store)
        self._invariants = module.invariants
        whole = model.config.ensemble
        last_layers = None
        if whole == 1 and error_bars:
            if not model.last_layers:
                raise UsageError(
                    f"{model.where} has no members that error bars could come from; train it anew, or predict without them"
                )
            last_layers = jax.tree.map(
                lambda leaf: jax.numpy.asarray(leaf, self._dtype), model.last_layers
            )
            self._members = len(jax.tree.leaves(last_layers)[0])
        else:
            self._members = whole
        factors = model.calibration if self._members > 1 else None
        # An ensemble's members are evaluated for their mean alone, too.
        self.calibration = None if error_bars is False else factors
        self._fields = _FIELDS[:1] if self.calibration is None else _FIELDS
        self.n_members = 0 if self.calibration is None else self._members
        of_spin = 1 if self.calibration is None else 2 + self._members
        self.n_matrices = self.layout.n_spins * of_spin
        self._programs = Programs(
            module, params, self.layout, model.scaleshift, whole, last_layers, factors
        )
        self.atom_bytes = self._programs.atom_bytes(self._alone())

    def pairs(
        self, atoms: ase.Atoms, neighbours: Neighbours, domain: Int[np.ndarray, " some"]
    ) -> PairsBySpecies:
        """Return the pairs to predict whose first atom is in a domain, by species pair.

        Args:
            atoms: the whole structure, wrapped.
            neighbours: of the structure, up to at least `reach`.
            domain: indices of the domain's atoms.
        """
        near = neighbours.of(domain, max(self.cutoffs.pairs.values()))
        return canonical_pairs(atoms, near, self.cutoffs.pairs)

    def describe(
        self, atoms: ase.Atoms, neighbours: Neighbours, chosen: Int[np.ndarray, " some"]
    ) -> Descriptors:
        """Compute the descriptors of some atoms.

        Args:
            atoms: the whole structure, wrapped.
            neighbours: of the structure, up to at least `reach`.
            chosen: the atoms.
        """
        n_species, steps = len(self.basis.numbers), self._n_message_steps
        species = np.searchsorted(self.basis.numbers, atoms.numbers)
        # Neighbours next to each other: the surroundings of a chunk are then few.
        near = divide(atoms.positions[chosen], np.ones(len(chosen)), LARGE_ATOMS[0])
        order = chosen[np.concatenate(near)]
        row = np.full(len(atoms), -1)
        row[order] = np.arange(len(order))
        pair_embedding: Any = None
        onsite: Any = None

        def chunks():
            for start in range(0, len(order), LISTED_ATOMS):
                targets = order[start : start + LISTED_ATOMS]
                graph = local_graph(species, neighbours, targets, self.cutoffs.descriptor, steps)
                graph = graph._replace(vector=graph.vector.astype(self._dtype))
                room = len(graph.species) + n_species + 1, len(graph.center)
                fits = all(need <= size for need, size in zip(room, SMALL_ATOMS, strict=True))
                size = SMALL_ATOMS if fits and len(order) == len(targets) else LARGE_ATOMS
                for chunk in atom_chunks(graph, len(targets), n_species, steps, size):
                    yield chunk._replace(atoms=start + chunk.atoms)

        for chunk, features, irreps in self._programs.atoms(chunks()):
            if pair_embedding is None:
                pair_embedding, onsite = (
                    np.zeros((len(order), *part.shape[1:]), part.dtype)
                    for part in (features, irreps)
                )
            pair_embedding[chunk.atoms] = features
            onsite[chunk.atoms] = irreps
        return Descriptors(row, pair_embedding, onsite)

    def blocks(
        self,
        atoms: ase.Atoms,
        descriptors: Descriptors,
        domain: Int[np.ndarray, " some"],
        pairs: PairsBySpecies,
    ) -> Hamiltonian:
        """Predict the blocks of a domain: on-site ones of its atoms, and those of pairs.

        Args:
            atoms: the whole structure, wrapped.
            descriptors: of all these atoms.
            domain: atoms, ascending.
            pairs: of the domain, from `pairs`.

        Returns:
            These blocks of H(R) in eV in single precision.
        """
        onsite = {}
        for number in np.unique(atoms.numbers[domain]).tolist():
            atom = domain[atoms.numbers[domain] == number]
            found = self._onsite(descriptors, number, atom)
            blocks = dict(zip(self._fields, found, strict=False))
            onsite[number] = OnsiteBlocks(
                atom, **blocks, out_of_domain=self.scores(atoms, descriptors, atom)
            )
        bonds = {}
        for pair_type, key in enumerate(self.basis.species_pairs()):
            if key not in pairs:
                continue
            i, j, cell_offset, vector = pairs[key]
            shape = self.layout.pair[key].blocks_shape(len(i))
            shapes: tuple[tuple[int, ...], ...] = (shape,)
            if self.calibration is not None:
                spins = self.layout.n_spins
                shapes = (shape, shape, (self._members, spins, *shape[-3:]))
            blocks = {
                field: np.empty(size, np.float32)
                for field, size in zip(self._fields, shapes, strict=True)
            }
            chunks = pair_chunks(
                descriptors.pair_embedding,
                *(descriptors.row[i], descriptors.row[j]),
                vector.astype(np.float32).astype(self._dtype),
                pair_type,
                PAIR_SIZES,
            )
            for chunk, found in self._programs.pairs(key, chunks):
                for field, part in zip(self._fields, found, strict=False):
                    blocks[field][..., chunk.pairs, :, :] = part
            bonds[key] = PairBlocks(i, j, cell_offset, **blocks)
        return Hamiltonian(atoms, self.basis, onsite, bonds)

    def scores(
        self, atoms: ase.Atoms, descriptors: Descriptors, chosen: Int[np.ndarray, " some"]
    ) -> Float[np.ndarray, " some"] | None:
        """Return how far environments are from those of training, see `Environments.scores`; None where these are not known.

        Args:
            atoms: the whole structure.
            descriptors: of the chosen atoms at least.
            chosen: the atoms.
        """
        if self.environments is None:
            return None
        invariants = self.invariants(descriptors, chosen)
        scores = self.environments.scores(atoms.numbers[chosen], invariants, len(atoms))
        return scores.astype(np.float32)

    def invariants(
        self, descriptors: Descriptors, chosen: Int[np.ndarray, " some"]
    ) -> Float[np.ndarray, "some features"]:
        """Return what of the descriptors of atoms no rotation changes."""
        return self._invariants(descriptors.pair_embedding[descriptors.row[chosen]])

    def _onsite(
        self, descriptors: Descriptors, number: int, atom: Int[np.ndarray, " some"]
    ) -> list[Float[np.ndarray, "*spin _some _k _k"]]:
        irreps, terms = self.layout.onsite[number], self._scaleshift.onsite_terms[number]
        scaled = descriptors.onsite[descriptors.row[atom], ..., : irreps.size]
        if self._members == 1:
            values = terms.shift + terms.scale * scaled
            return [irreps.to_blocks(values).astype(np.float32)]
        members = scaled.swapaxes(0, 1)
        if self.calibration is not None:
            members = self.calibration.calibrated_onsite(number, members)
        values = terms.shift + terms.scale * members
        blocks = np.stack([irreps.to_blocks(own) for own in values])
        return [part.astype(np.float32) for part in of_ensemble(blocks)[: len(self._fields)]]

    def _alone(self) -> Graph:
        """A graph of one atom, padded."""
        atom = ase.Atoms(numbers=self.basis.numbers[:1], positions=[(0, 0, 0)])
        graph = build_graph(atom, self.basis, self.cutoffs)
        return pad(graph._replace(vector=graph.vector.astype(self._dtype)), 2, 1, 0)
