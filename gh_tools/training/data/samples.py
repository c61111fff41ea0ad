"""Labels as scaled irreps, and predictions as blocks again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gh_tools.errors import DataError
from gh_tools.model.graph import Graph, graph_of_pairs
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.bond_frame import Frame, from_frame, to_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import Cutoffs, Neighbours
from gh_tools.scaleshift.onsite_energy import shifted
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.training.data.eigenvalue_rows import EigenvalueRows, make_eigenvalue_rows


@dataclass
class Sample:
    """One structure of the training set.

    Attributes:
        graph: unpadded; its pairs are those of the label within the pair cutoffs, grouped by species pair.
        onsite: reference scaled irreps of the atoms.
        onsite_weight: what errors count in the loss, zero where a species lacks the component.
        pairs: reference scaled irreps of the graph's pairs, in the frame of the scale-shift.
        pairs_weight: as for the atoms.
        dropped: largest matrix element beyond the pair cutoffs, in eV.
        eigenvalue_rows: how errors of irreps move eigenvalues; None where the loss does not count these.
    """

    graph: Graph
    onsite: Float[np.ndarray, "atoms Ko"]
    onsite_weight: Float[np.ndarray, "atoms Ko"]
    pairs: Float[np.ndarray, "pairs Kp"]
    pairs_weight: Float[np.ndarray, "pairs Kp"]
    dropped: Float[np.ndarray, ""]
    eigenvalue_rows: EigenvalueRows | None = None

    @property
    def size(self) -> Int[np.ndarray, "3"]:
        """Numbers of atoms, edges and pairs."""
        return np.array([len(self.graph.species), len(self.graph.center), len(self.graph.i)])


@dataclass(kw_only=True)
class LabelledSample(Sample):
    """One structure to compare predictions with.

    Attributes:
        label: reference H and S, all stored pairs.
        kept: for each species pair, which of the label's pairs are in the graph.
        onsite_terms: shift and scale of the atoms' irreps in eV.
        pairs_terms: shift and scale of the pairs' irreps in eV.
        onsite_energies: in eV, of the atoms, subtracted from the references; None if there is no model of them.
        onsite_draws: what draws from the posterior of that model differ by, eV; none where it is not known.
    """

    label: Hamiltonian
    kept: dict[SpeciesPair, Bool[np.ndarray, " _pairs"]]
    onsite_terms: tuple[Float[np.ndarray, "atoms Ko"], Float[np.ndarray, "atoms Ko"]]
    pairs_terms: tuple[Float[np.ndarray, "pairs Kp"], Float[np.ndarray, "pairs Kp"]]
    onsite_energies: Float[np.ndarray, " atoms"] | None = None
    onsite_draws: Float[np.ndarray, "draws atoms"] | None = None


class SampleMaker:
    """Makes samples of labels.

    Args:
        layout: irreps of the basis.
        scaleshift: fitted scale and shift.
        cutoffs: of the network; pairs beyond are left out.
        scale_power: weight of an error is the component's scale to this power.
        dtype: of what the model reads.
    """

    def __init__(
        self,
        layout: IrrepLayout,
        scaleshift: ScaleShift,
        cutoffs: Cutoffs,
        scale_power: float = 0.0,
        dtype: type = np.float32,
    ):
        self.layout, self.scaleshift = layout, scaleshift
        self.cutoffs = cutoffs
        self.scale_power, self.dtype = scale_power, dtype

    def settings(self) -> dict[str, Any]:
        """Return all but the data that decides samples, JSON-like."""
        return {
            "frame": self.scaleshift.frame,
            "cutoff": self.cutoffs.descriptor,
            "pair_cutoffs": [[*key, reach] for key, reach in self.cutoffs.pairs.items()],
            "scale_power": self.scale_power,
            "dtype": np.dtype(self.dtype).name,
        }

    def __call__(self, label: Hamiltonian, name: str, eigenvalues: bool = False) -> Sample:
        """Make a sample of one label.

        Args:
            label: reference H(R), with the layout's spin channels.
            name: of the structure, for errors.
            eigenvalues: whether the loss counts errors of eigenvalues.

        Raises:
            DataError: when the label has another number of spin channels, or is not finite.
        """
        if label.n_spins != self.layout.n_spins:
            raise DataError(
                f"structure {name}: its label has {label.n_spins} spin channels and others have "
                f"{self.layout.n_spins}; label all structures with one setting of spin"
            )
        for key, blocks in label.groups():
            assert blocks.hamiltonian is not None  # of labels
            if not np.isfinite(blocks.hamiltonian).all():
                raise DataError(
                    f"structure {name}: hamiltonian blocks of {key} are not all finite; label it again"
                )
        energies, rest = self._onsite_energies(label), label
        if energies is not None:
            rest = shifted(label, -energies)
        # Only the label's own pairs: what it does not store cannot be learned.
        kept = self._kept(label)
        graph = graph_of_pairs(
            label.atoms,
            self.layout.basis,
            self.cutoffs.descriptor,
            {
                key: (b.i[near], b.j[near], b.cell_offset[near])
                for key, near in kept.items()
                for b in [label.pairs[key]]
            },
        )
        onsite, pairs = _irreps(rest, graph, kept, self.layout, self.scaleshift.frame)
        dropped = 0.0
        for key, near in kept.items():
            stored = label.pairs[key].hamiltonian
            assert stored is not None
            far = stored[..., ~near, :, :]
            dropped = max(dropped, float(np.abs(far).max(initial=0.0)))

        onsite_terms, pairs_terms = self._terms(graph)
        moved = None
        if eigenvalues:
            scales = onsite_terms[1], pairs_terms[1]
            moved = make_eigenvalue_rows(
                label, name, graph, kept, scales, self.layout, self.scaleshift.frame
            )
        return Sample(
            Graph(*(_cast(field, self.dtype) for field in graph)),
            *self._scaled(onsite, onsite_terms),
            *self._scaled(pairs, pairs_terms),
            np.array(dropped),
            moved,
        )

    def labelled(self, sample: Sample, label: Hamiltonian) -> LabelledSample:
        """Put a sample and its label together, to compare predictions with."""
        onsite_terms, pairs_terms = self._terms(sample.graph)
        kept = self._kept(label)
        found = LabelledSample(
            **vars(sample),
            label=label,
            kept=kept,
            onsite_terms=onsite_terms,
            pairs_terms=pairs_terms,
        )
        model = self.scaleshift.onsite_energy
        if model is None:
            return found
        draws = 0 if model.draws is None else len(model.draws)
        everyone = np.arange(len(label.atoms))
        neighbours = Neighbours(label.atoms, model.reach)
        found.onsite_energies, found.onsite_draws = model.with_members(
            label.atoms, neighbours, everyone, draws
        )
        return found

    def _onsite_energies(self, label: Hamiltonian) -> Float[np.ndarray, " atoms"] | None:
        model = self.scaleshift.onsite_energy
        return None if model is None else model.of_structure(label.atoms)

    def _kept(self, label: Hamiltonian) -> dict[SpeciesPair, Bool[np.ndarray, " _pairs"]]:
        return {
            key: np.linalg.norm(label.vectors(key), axis=1) < self.cutoffs.pairs[key]
            for key in self.layout.basis.species_pairs()
            if key in label.pairs
        }

    def _terms(self, graph: Graph):
        distance = np.linalg.norm(graph.pair_vector.astype(float), axis=1)
        return self.scaleshift.onsite(graph.species), self.scaleshift.pairs(
            graph.pair_type, distance
        )

    def _scaled(self, irreps, terms) -> tuple[np.ndarray, np.ndarray]:
        shift, scale = terms
        exists = np.isfinite(irreps)
        reference = np.where(exists, (irreps - shift) / scale, 0.0)
        weight = np.where(exists, scale**self.scale_power, 0.0)
        return reference.astype(self.dtype), weight.astype(self.dtype)


def onsite_energy_deviations(
    sample: LabelledSample, layout: IrrepLayout, frame: Frame
) -> tuple[Float[np.ndarray, "atoms Ko"] | float, Float[np.ndarray, "pairs Kp"] | float]:
    """Find what the on-site energies of a structure are not known by, as its scaled irreps have it.

    Args:
        sample: the structure.
        layout: irreps of the basis.
        frame: that the pairs' irreps are in.

    Returns:
        Standard deviation of the scaled irreps of ½ (v_i + v_j) S_ij between the draws of v, of the atoms and of the graph's
        pairs; zero where there are no draws.
    """
    draws = sample.onsite_draws
    if draws is None or not len(draws):
        return 0.0, 0.0
    graph = sample.graph
    both = []
    for moved, irreps, (_, scale) in zip(
        (draws, 0.5 * (draws[:, graph.i] + draws[:, graph.j])),
        _irreps(_overlap_in_place(sample.label), graph, sample.kept, layout, frame),
        (sample.onsite_terms, sample.pairs_terms),
        strict=True,
    ):
        deviation = moved.std(axis=0, ddof=1)
        both.append(np.nan_to_num(deviation[:, None] * np.abs(irreps) / scale))
    return both[0], both[1]


def _irreps(
    ham: Hamiltonian, graph: Graph, kept: dict, layout: IrrepLayout, frame: Frame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the irreps of atoms and of the graph's pairs in eV; NaN where a species lacks the component."""
    onsite = np.full((len(ham.atoms), layout.onsite_size), np.nan)
    for number, blocks in ham.onsite.items():
        irreps = layout.onsite[number]
        assert blocks.hamiltonian is not None
        onsite[blocks.atom, : irreps.size] = irreps.to_irreps(blocks.hamiltonian.astype(float))
    pairs = np.full((len(graph.i), layout.pair_size), np.nan)
    start = 0
    for key, near in kept.items():
        irreps = layout.pair[key]
        rows = slice(start, start := start + int(near.sum()))
        wanted = ham.pairs[key].hamiltonian
        assert wanted is not None
        # Of the network's vectors, so that both mean the same frame.
        pairs[rows, : irreps.size] = to_frame(
            frame,
            irreps,
            irreps.to_irreps(wanted[..., near, :, :].astype(float)),
            graph.pair_vector[rows],
        )
    return onsite, pairs


def _overlap_in_place(ham: Hamiltonian) -> Hamiltonian:
    """Return a Hamiltonian whose H is S, for both spins."""

    def of(blocks):
        return replace(
            blocks, hamiltonian=np.broadcast_to(blocks.overlap, blocks.hamiltonian.shape)
        )

    return replace(
        ham,
        onsite={z: of(blocks) for z, blocks in ham.onsite.items()},
        pairs={key: of(blocks) for key, blocks in ham.pairs.items()},
    )


def _cast(field: np.ndarray, dtype: type) -> np.ndarray:
    return field.astype(dtype) if np.issubdtype(field.dtype, np.floating) else field


def predicted_hamiltonian(
    sample: LabelledSample,
    onsite: Float[np.ndarray, "atoms Ko"],
    pairs: Float[np.ndarray, "pairs Kp"],
    layout: IrrepLayout,
    frame: Frame = "global",
    differences: Float[np.ndarray, " atoms"] | None = None,
) -> Hamiltonian:
    """Compose blocks from predicted scaled irreps, for the pairs of the label.

    Args:
        sample: the structure.
        onsite: predictions for its atoms.
        pairs: predictions for its graph's pairs.
        layout: irreps of the basis.
        frame: that the pairs' irreps are in.
        differences: what the on-site energies of a member of an ensemble differ by, eV; not at all by default.

    Returns:
        H in eV in double precision; zero for pairs beyond the pair cutoffs; S is the label's.
    """
    shift, scale = sample.onsite_terms
    values = shift + scale * onsite
    atoms = {}
    for number, blocks in sample.label.onsite.items():
        irreps = layout.onsite[number]
        predicted = irreps.to_blocks(values[blocks.atom, : irreps.size])
        atoms[number] = OnsiteBlocks(blocks.atom, predicted, blocks.overlap)

    shift, scale = sample.pairs_terms
    values = shift + scale * pairs
    bonds, start = {}, 0
    for key, near in sample.kept.items():
        irreps, reference = layout.pair[key], sample.label.pairs[key]
        assert reference.hamiltonian is not None
        stop = start + int(near.sum())
        predicted = np.zeros(reference.hamiltonian.shape)
        components = from_frame(
            frame,
            irreps,
            values[start:stop, : irreps.size],
            sample.graph.pair_vector[start:stop],
        )
        predicted[..., near, :, :] = irreps.to_blocks(components)
        bonds[key] = PairBlocks(
            reference.i, reference.j, reference.cell_offset, predicted, reference.overlap
        )
        start = stop
    label = sample.label
    found = Hamiltonian(label.atoms, label.basis, atoms, bonds, label.scalars, label.bands)
    if sample.onsite_energies is None:
        return found
    energies = sample.onsite_energies
    found = shifted(found, energies if differences is None else energies + differences)
    for key, near in sample.kept.items():
        shown = found.pairs[key].hamiltonian
        assert shown is not None
        shown[..., ~near, :, :] = 0.0
    return found
