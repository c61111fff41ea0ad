"""The scale-shift layers: what a network's output of order one is multiplied with and added to.

`physical irreps = shift + scale * prediction`. On-site blocks have one shift and scale per species and irrep.
Those of pairs depend on the distance as stretched exponentials `a exp(-(r / λ)^p)` with parameters of their
own for each species pair (ordered as stored) and irrep (GEARS H, arXiv 2506.10298, section 2.1.3). Only true
scalars (degree 0) can be shifted without breaking equivariance; every irrep is scaled.

Networks that work in the frame of the bond have other terms of pairs, see `slater_koster`. A store holds both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import Arrays, Basis
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.bond_frame import Frame, from_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.scaleshift.onsite_energy import (
    OnsiteEnergyModel,
    shifted,
)
from gh_tools.scaleshift.slater_koster import BondTerms
from gh_tools.scaleshift.stretched_exponential import PairScaleShift


@dataclass(frozen=True)
class OnsiteScaleShift:
    """Scale and shift of the on-site irreps of one species.

    Args:
        shift: in eV, of each irrep component; zero unless it is a scalar.
        scale: in eV, of each irrep component.
    """

    shift: Float[np.ndarray, " components"]
    scale: Float[np.ndarray, " components"]


# Group of a store and class of the terms of pairs, by their frame.
_PAIR_TERMS: dict[str, tuple[str, type[PairScaleShift] | type[BondTerms]]] = {
    "global": ("pairs", PairScaleShift),
    "bond": ("bond_pairs", BondTerms),
}


@dataclass(frozen=True)
class ScaleShift:
    """Scale and shift of all on-site and pair irreps of a basis.

    Args:
        basis: The basis that the irreps belong to.
        onsite_terms: Per atomic number.
        pair_terms: Per species pair, as in `basis.species_pairs()`.
        frame: That the irreps of pairs are in.
        onsite_energy: Model whose on-site energies are subtracted from labels and added to predictions; all
            else is of what remains. None if there is none.
    """

    basis: Basis
    onsite_terms: Mapping[int, OnsiteScaleShift]
    pair_terms: Mapping[tuple[int, int], PairScaleShift | BondTerms]
    frame: Frame = "global"
    onsite_energy: OnsiteEnergyModel | None = None

    def onsite(
        self, species: Int[np.ndarray, " atoms"]
    ) -> tuple[Float[np.ndarray, "atoms Ko"], Float[np.ndarray, "atoms Ko"]]:
        """Give shift and scale of on-site irreps.

        Args:
            species: Index of each atom's species in `basis.numbers`.

        Returns:
            Shift and scale in eV in the order of `IrrepLayout.onsite[Z]`, padded with 0 and 1 to the largest
            number of components of any species.
        """
        terms = [self.onsite_terms[number] for number in self.basis.numbers]
        width = max(term.shift.size for term in terms)
        shift = np.zeros((len(terms), width))
        scale = np.ones((len(terms), width))
        for row, term in enumerate(terms):
            shift[row, : term.shift.size] = term.shift
            scale[row, : term.shift.size] = term.scale
        return shift[species], scale[species]

    def pairs(
        self, pair_type: Int[np.ndarray, " pairs"], distance: Float[np.ndarray, " pairs"]
    ) -> tuple[Float[np.ndarray, "pairs Kp"], Float[np.ndarray, "pairs Kp"]]:
        """Give shift and scale of pair irreps.

        Args:
            pair_type: Index of each pair's species pair in `basis.species_pairs()`.
            distance: Distances in Å.

        Returns:
            Shift and scale in eV in the order of `IrrepLayout.pair[Zi, Zj]`, padded with 0 and 1 to the
            largest number of components of any species pair.
        """
        keys = self.basis.species_pairs()
        pair_type = np.asarray(pair_type)
        width = max(term.size for term in self.pair_terms.values())
        shift = np.zeros((pair_type.size, width))
        scale = np.ones((pair_type.size, width))
        for index in np.unique(pair_type):
            rows = np.flatnonzero(pair_type == index)
            term = self.pair_terms[keys[index]]
            shift[rows, : term.size], scale[rows, : term.size] = term(np.asarray(distance)[rows])
        return shift, scale

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give everything but the basis as arrays for a store.

        Returns:
            Array paths and float64 arrays.
        """
        arrays = {} if self.onsite_energy is None else self.onsite_energy.to_arrays()
        for number, term in self.onsite_terms.items():
            arrays[f"onsite/{number}/shift"] = term.shift
            arrays[f"onsite/{number}/scale"] = term.scale
        group, _ = _PAIR_TERMS[self.frame]
        for (zi, zj), terms in self.pair_terms.items():
            for name, array in terms.to_arrays().items():
                arrays[f"{group}/{zi}-{zj}/{name}"] = array
        return arrays

    @classmethod
    def from_arrays(
        cls,
        arrays: Arrays,
        basis: Basis,
        prefix: str = "",
        frame: Frame = "global",
    ) -> ScaleShift:
        """Build it from the arrays of a store.

        Args:
            arrays: Anything indexed by array path, such as an open store.
            basis: The basis of the same store.
            prefix: Path of the group that holds the arrays, such as "scaleshift/".
            frame: That the irreps of pairs are in.

        Returns:
            The scale-shift.
        """
        onsite = {
            number: OnsiteScaleShift(
                *(
                    np.asarray(arrays[f"{prefix}onsite/{number}/{name}"])
                    for name in ("shift", "scale")
                )
            )
            for number in basis.numbers
        }
        group, terms = _PAIR_TERMS[frame]
        pairs = {
            (zi, zj): terms.from_arrays(
                {
                    name: np.asarray(arrays[f"{prefix}{group}/{zi}-{zj}/{name}"])
                    for name in terms.names
                }
            )
            for zi, zj in basis.species_pairs()
        }
        onsite_energy = None
        if f"{prefix}onsite_energy/local" in arrays:
            onsite_energy = OnsiteEnergyModel.from_arrays(arrays, basis, prefix)
        return cls(basis, onsite, pairs, frame, onsite_energy)


def shift_only(ham: Hamiltonian, layout: IrrepLayout, scaleshift: ScaleShift) -> Hamiltonian:
    """Predict a Hamiltonian by the shift alone: what a network that answers zero would give.

    Args:
        ham: Gives the atoms and the pairs.
        layout: Irreps of the basis.
        scaleshift: The fitted scale-shift.

    Returns:
        The Hamiltonian, with the overlap of what was given.
    """
    onsite, pairs = {}, {}
    for number, blocks in ham.onsite.items():
        onsite_shift = scaleshift.onsite_terms[number].shift
        values = layout.onsite[number].to_blocks(np.tile(onsite_shift, (len(blocks.atom), 1)))
        onsite[number] = OnsiteBlocks(blocks.atom, values, blocks.overlap)
    for key, bonds in ham.pairs.items():
        irreps, vectors = layout.pair[key], ham.vectors(key)
        shift, _ = scaleshift.pair_terms[key](np.linalg.norm(vectors, axis=1))
        shift = from_frame(scaleshift.frame, irreps, shift, vectors)
        values = irreps.to_blocks(shift)
        pairs[key] = PairBlocks(bonds.i, bonds.j, bonds.cell_offset, values, bonds.overlap)
    explained = Hamiltonian(ham.atoms, ham.basis, onsite, pairs, dict(ham.scalars))
    if scaleshift.onsite_energy is None:
        return explained
    return shifted(explained, scaleshift.onsite_energy.of_structure(ham.atoms))
