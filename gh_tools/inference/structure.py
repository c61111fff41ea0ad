"""H(R) and S(R) of one structure, domain by domain."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ase
import numpy as np
from jaxtyping import Float, Int

from gh_tools.dft.overlap import OnsiteMatrices, OverlapSource, PairMatrices
from gh_tools.inference.predict import Descriptors, Predictor
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.pairs import Neighbours, wrapped
from gh_tools.orbitals.partition import divide
from gh_tools.overlap.source import overlap_source
from gh_tools.scaleshift.onsite_energy import shifted


def predict_structure(
    predictor: Predictor,
    atoms: ase.Atoms,
    charge: float = 0.0,
    overlap: OverlapSource | None = None,
) -> Hamiltonian:
    """Predict a structure in one piece.

    Args:
        predictor: the model.
        atoms: any number of atoms; they are wrapped into the cell.
        charge: of the structure, in |e|; decides on nothing but the electron count.
        overlap: computes S; without it there is none, but where the on-site energy model needs it.

    Returns:
        H(R) in eV in single precision, exactly Hermitian; of an ensemble with the uncertainty of each element and what
        members differ by; scalars ``n_electrons`` and, where the model tells what it was trained on, ``out_of_domain``,
        the largest of the atoms' scores.

    Raises:
        DataError: the model does not know an element.
    """
    predictor.basis.check_covers(atoms.numbers, atoms.get_chemical_formula())
    if overlap is None and predictor.onsite_energy is not None:
        overlap = overlap_source(predictor.basis, atoms.numbers)
    work = StructureWork(predictor, overlap, atoms, np.inf, charge)
    head = work.head()
    blocks = work.blocks(0, [0])
    scalars = dict(head.scalars)
    if (scores := blocks.out_of_domain) is not None:
        scalars["out_of_domain"] = float(scores.max())
    return replace(blocks, scalars=scalars, calibration=head.calibration)


class StructureWork:
    """Prediction and overlap of one structure in domains that need nothing of each other.

    A domain's blocks are the on-site ones of its atoms, and those of the stored pairs whose first atom is
    one of them. The second atoms may be of other domains: their descriptors are computed, too.

    Args:
        predictor: the model.
        overlap: computes S; None for H alone, where there is no on-site energy model.
        atoms: the structure; it is wrapped into the cell.
        domain_bytes: of H and S of a domain, at most (but one atom is the least).
        charge: of the structure, in |e|.

    Attributes:
        atoms: the structure, wrapped.
        domains: atoms of each domain, ascending; the same on every machine.
    """

    def __init__(
        self,
        predictor: Predictor,
        overlap: OverlapSource | None,
        atoms: ase.Atoms,
        domain_bytes: float,
        charge: float = 0.0,
    ):
        self.atoms, self._charge = wrapped(atoms), charge
        self._predictor, self._overlap = predictor, overlap
        cutoff = max(predictor.cutoffs.pairs.values())
        self._neighbours = Neighbours(
            self.atoms,
            predictor.reach
            if overlap is None
            else max(predictor.reach, overlap.reach(self.atoms.numbers)),
        )
        self._energies = np.zeros(len(self.atoms))
        self._differences = np.zeros((predictor.n_members, len(self.atoms)))
        # All in single precision; half of all pairs are stored
        block = 4 * (1 + predictor.n_matrices) * predictor.basis.n_orbitals(atoms.numbers) ** 2
        weight = self._neighbours.count(cutoff) / 2 * block.max()
        self.domains = divide(self.atoms.positions, weight, domain_bytes)
        self._descriptors: tuple[Sequence[int], Descriptors] | None = None
        self._lock = threading.Lock()

    def blocks(self, number: int, todo: Sequence[int]) -> Hamiltonian:
        """Compute a domain's blocks of H and S, both in single precision.

        Args:
            number: of the domain.
            todo: all domains that will be asked for; the first call with them describes their atoms.
        """
        with self._lock:
            if self._descriptors is None or self._descriptors[0] != todo:
                self._descriptors = todo, self._describe(todo)
            descriptors = self._descriptors[1]
        domain = self.domains[number]
        pairs = self._predictor.pairs(self.atoms, self._neighbours, domain)
        if self._overlap is None:
            return self._predictor.blocks(self.atoms, descriptors, domain, pairs)
        # S needs the processor, the network the device.
        with ThreadPoolExecutor(1) as aside:
            overlap = aside.submit(self.overlap, number)
            predicted = self._predictor.blocks(self.atoms, descriptors, domain, pairs)
            onsite, bonds = overlap.result()
        groups: Any = ((onsite, predicted.onsite), (bonds, predicted.pairs))
        for found, blocks in groups:
            for key in blocks:
                blocks[key] = replace(blocks[key], overlap=found.pop(key).astype(np.float32))
        if self._predictor.onsite_energy is None:
            return predicted
        differences = self._differences if self._predictor.n_members else None
        return shifted(predicted, self._energies, differences)

    def overlap(self, number: int) -> tuple[OnsiteMatrices, PairMatrices]:
        """Compute a domain's blocks of S in double precision: on-site, and pairs."""
        domain = self.domains[number]
        pairs = self._predictor.pairs(self.atoms, self._neighbours, domain)
        assert self._overlap is not None  # it is asked for only then
        return self._overlap(self.atoms, pairs, domain, self._neighbours)

    def scores(self) -> Float[np.ndarray, " atoms"] | None:
        """Return how far the environment of each atom is from those of training; None where these are not known."""
        every = np.arange(len(self.atoms))
        return self._predictor.scores(self.atoms, self._describe(range(len(self.domains))), every)

    def invariants(self) -> Float[np.ndarray, "atoms features"]:
        """Return the rotational invariants of the descriptor of each atom."""
        every = np.arange(len(self.atoms))
        return self._predictor.invariants(self._describe(range(len(self.domains))), every)

    def head(self) -> Hamiltonian:
        """Return the structure without blocks, with scalars."""
        basis = self._predictor.basis
        scalars = {"n_electrons": basis.n_electrons(self.atoms.numbers, self._charge)}
        calibration = self._predictor.calibration
        factors = {} if calibration is None else calibration.spectra
        return Hamiltonian(self.atoms, basis, {}, {}, scalars, calibration=factors)

    def _describe(self, numbers: Sequence[int]) -> Descriptors:
        """Compute the descriptors that some domains need; once for all of them."""
        if len(numbers) == len(self.domains):
            needed = np.arange(len(self.atoms))
        else:
            needed = np.unique(np.concatenate([self._halo(self.domains[n]) for n in numbers]))
        onsite_energy = self._predictor.onsite_energy
        if onsite_energy is not None:
            self._energies[needed], self._differences[:, needed] = onsite_energy.with_members(
                self.atoms, self._neighbours, needed, self._predictor.n_members
            )
        return self._predictor.describe(self.atoms, self._neighbours, needed)

    def _halo(self, domain: Int[np.ndarray, " some"]) -> Int[np.ndarray, " more"]:
        """A domain's atoms and the second atoms of its pairs."""
        pairs = self._predictor.pairs(self.atoms, self._neighbours, domain)
        return np.unique(np.concatenate([domain, *(j for _, j, *_ in pairs.values())]))
