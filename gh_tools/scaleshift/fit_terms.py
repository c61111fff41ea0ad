"""Fitting scale, shift and on-site energy model to labelled structures, which are read one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gh_tools.console import log, track
from gh_tools.errors import DataError
from gh_tools.labels.labels import read_labels
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.scaleshift.onsite_energy import (
    MOST_ATOMS,
    OnsiteEnergyModel,
    fit_onsite_energies,
    mean_onsite_energies,
    shifted,
)
from gh_tools.scaleshift.scaleshift import OnsiteScaleShift, ScaleShift
from gh_tools.scaleshift.slater_koster import BondFit
from gh_tools.scaleshift.stretched_exponential import VANISHING, PairFit


def fit_scaleshift(
    readers: Sequence,
    indices: Int[np.ndarray, " n"],
    layout: IrrepLayout,
    frames: Sequence[Frame] = ("global",),
    onsite_energies: bool = False,
) -> dict[Frame, ScaleShift]:
    """Fit scale and shift to labelled structures.

    On-site: mean and standard deviation over all atoms of a species for scalars, root mean square over atoms
    and m for other irreps. Pairs: least squares of the stretched exponential over all pairs for the shift of
    scalars; then, for every irrep, least squares of the logarithm of the stretched exponential against that
    of the remainder's root mean square over m at each distance, because the scale has to fit in proportion
    at all distances. A channel that vanishes or has no data keeps shift 0 and scale 1. For pairs in the
    frame of the bond see `slater_koster`.

    The structures are read once, one at a time; the result does not depend on their order but for rounding.

    Args:
        readers: Label stores (`HamiltonianReader`), whose elements are in the basis.
        indices: Structures to fit to, counted over all readers in order.
        layout: Irreps of the basis.
        frames: Of the irreps of pairs, a scale-shift for each.
        onsite_energies: Whether to fit an on-site energy model first, and all else to what it leaves.

    Returns:
        The fitted scale-shifts.

    Raises:
        DataError: If there is no structure to fit to.
    """
    basis = layout.basis
    onsite = {number: _Moments(layout.onsite[number]) for number in basis.numbers}
    pairs = {
        (frame, key): _pair_fit(frame, layout, key)
        for frame in frames
        for key in basis.species_pairs()
    }
    fitted = _fit_onsite_energy_model(readers, np.sort(indices), basis) if onsite_energies else None
    for ham in track(read_labels(readers, np.sort(indices)), "fitting", len(indices)):
        if fitted is not None:
            ham = shifted(ham, -fitted.of_structure(ham.atoms))
        for number, blocks in ham.onsite.items():
            assert blocks.hamiltonian is not None  # of labels
            onsite[number].add(blocks.hamiltonian)
        for key, bonds in ham.pairs.items():
            irreps = layout.pair[key]
            components = irreps.to_irreps(np.asarray(bonds.hamiltonian, dtype=float))
            vectors = ham.vectors(key)
            for frame in frames:
                pairs[frame, key].add(vectors, components)
    onsite_terms = {number: moments.fit() for number, moments in onsite.items()}
    return {
        frame: ScaleShift(
            basis,
            onsite_terms,
            {key: pairs[frame, key].fit() for key in basis.species_pairs()},
            frame,
            fitted,
        )
        for frame in frames
    }


def _fit_onsite_energy_model(
    readers: Sequence, indices: Int[np.ndarray, " n"], basis: Basis
) -> OnsiteEnergyModel | None:
    """Fit an on-site energy model to an even choice of the structures given, with not many more atoms than `MOST_ATOMS`."""
    sizes = np.array([len(atoms) for reader in readers for atoms in reader.structures.atoms])
    stride = max(1, round(sizes[indices].sum() / MOST_ATOMS))
    structures, energies = [], []
    chosen = indices[::stride]
    for ham in track(read_labels(readers, chosen), "reading on-site energies", len(chosen)):
        if any(blocks.overlap is None for _, blocks in ham.groups()):
            raise DataError(
                "the labels hold no overlap S, through which on-site energies enter H; fit with "
                "--no-onsite-fit"
            )
        structures.append(ham.atoms)
        energies.append(mean_onsite_energies(ham))
    log.info("fitting on-site energies of %d atoms", sum(map(len, energies)))
    return fit_onsite_energies(basis, structures, energies)


def _pair_fit(frame: Frame, layout: IrrepLayout, key: tuple[int, int]) -> PairFit | BondFit:
    fit = PairFit if frame == "global" else BondFit
    return fit(layout.pair[key], key[0] == key[1], layout.basis.pair_range(*key))


class _Moments:
    """Collects the on-site irreps of one species; they are few."""

    def __init__(self, irreps: Irreps):
        self.irreps = irreps
        self.samples: list[np.ndarray] = []

    def add(self, blocks: Float[np.ndarray, "*spin atoms k k"]) -> None:
        self.samples.append(self.irreps.to_irreps(np.asarray(blocks, dtype=float)))

    def fit(self) -> OnsiteScaleShift:
        values = np.concatenate([*self.samples, np.zeros((0, self.irreps.size))])
        shift = np.zeros(self.irreps.size)
        scale = np.ones(self.irreps.size)
        if len(values):
            shift[self.irreps.scalar] = values[:, self.irreps.scalar].mean(axis=0)
            group = self.irreps.index
            square = np.bincount(group, np.mean((values - shift) ** 2, axis=0)) / np.bincount(group)
            rms = np.sqrt(square)[group]
            scale = np.where(rms > VANISHING, rms, 1.0)
        return OnsiteScaleShift(shift, scale)
