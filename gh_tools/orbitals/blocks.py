"""H(R) and S(R) of one structure as dense blocks, grouped by species and by species pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import ase
import numpy as np
from jaxtyping import Bool, Float, Inexact, Int

from gh_tools.orbitals.basis import Basis, SpeciesPair

MATRICES = ("hamiltonian", "overlap", "uncertainty", "members")


@dataclass
class OnsiteBlocks:
    """The blocks of all atoms of one species. Arrays may be absent (None).

    Attributes:
        atom: the atoms, ascending.
        hamiltonian: H_ii(0) in eV; Hermitian; a leading spin axis where the labels are spin-polarised.
        overlap: S_ii(0).
        uncertainty: of the hamiltonian, in eV, shaped like it.
        members: what the members of an ensemble differ by from the hamiltonian, in eV, scaled so that ``uncertainty``
            is their standard deviation.
        out_of_domain: how far the atom's environment is from those that a model was trained on: above 1 it is outside.
    """

    atom: Int[np.ndarray, " atoms"]
    hamiltonian: Inexact[np.ndarray, "*spin atoms k k"] | None = None
    overlap: Float[np.ndarray, "atoms k k"] | None = None
    uncertainty: Float[np.ndarray, "*spin atoms k k"] | None = None
    members: Float[np.ndarray, "members spins atoms k k"] | None = None
    out_of_domain: Float[np.ndarray, " atoms"] | None = None


@dataclass
class PairBlocks:
    """The blocks of all canonical pairs (see `canonical`) of one species pair.

    Attributes:
        i: atom in cell 0.
        j: atom in cell ``cell_offset``.
        cell_offset: lattice vector R that belongs to j, in units of the cell's vectors, counted from
            wrapped positions.
        hamiltonian: H_ij(R) = ⟨i,0|H|j,R⟩ in eV; a leading spin axis where spin-polarised.
        overlap: S_ij(R).
        uncertainty: of the hamiltonian, in eV, shaped like it.
        members: see `OnsiteBlocks`.
    """

    i: Int[np.ndarray, " pairs"]
    j: Int[np.ndarray, " pairs"]
    cell_offset: Int[np.ndarray, "pairs 3"]
    hamiltonian: Inexact[np.ndarray, "*spin pairs ki kj"] | None = None
    overlap: Float[np.ndarray, "pairs ki kj"] | None = None
    uncertainty: Float[np.ndarray, "*spin pairs ki kj"] | None = None
    members: Float[np.ndarray, "members spins pairs ki kj"] | None = None


@dataclass
class Hamiltonian:
    """H(R) and S(R) of one structure.

    Attributes:
        atoms: the structure, positions wrapped into the cell.
        basis: the basis table; covers at least the species of ``atoms``.
        onsite: blocks H_ii(0) by atomic number.
        pairs: blocks H_ij(R) by (Zi, Zj), Zi <= Zj. Only one of (i,j,R) and (j,i,-R) is there:
            H_ji(-R) = H_ij(R)† gives the other.
        scalars: fermi_level (eV), n_electrons, energy (eV) and the like.
        bands: eigenvalues at the k-points of the self-consistent run, if known.
        calibration: of an ensemble, factors of the members' differences that spectra need, see `spectra.members`.
        spinor: orbitals have two components: blocks are complex, and their rows and columns are the orbitals of an
            atom with spin up, then the same with spin down. Else blocks are real.
        paw_coupling: all that acts on the spins of a spinor Hamiltonian is the spin–orbit coupling of the basis table's PAW
            setups, so that its bounds are known.
    """

    atoms: ase.Atoms
    basis: Basis
    onsite: dict[int, OnsiteBlocks]
    pairs: dict[SpeciesPair, PairBlocks]
    scalars: dict[str, float] = field(default_factory=dict)
    bands: Bands | None = None
    spinor: bool = False
    paw_coupling: bool = False
    calibration: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_spins(self) -> int:
        """Number of spin channels: 2 where the Hamiltonian has a leading spin axis, else 1."""
        for blocks in self.onsite.values():
            if blocks.hamiltonian is not None and blocks.hamiltonian.ndim == 4:
                return blocks.hamiltonian.shape[0]
        return 1

    @property
    def degeneracy(self) -> int:
        """Electrons that one eigenvalue holds: 2 where spins are paired, else 1."""
        return 1 if self.spinor else 2 // self.n_spins

    @property
    def orbitals_of_atoms(self) -> Int[np.ndarray, " atoms"]:
        """Rows of H(k) that belong to each atom."""
        return self.basis.n_orbitals(self.atoms.numbers) * (2 if self.spinor else 1)

    @property
    def orbital_ptr(self) -> Int[np.ndarray, " pointers"]:
        """First row of each atom in H(k), and the end."""
        return np.concatenate([[0], np.cumsum(self.orbitals_of_atoms)])

    @property
    def n_orbitals(self) -> int:
        """Size of H(k)."""
        return int(self.orbital_ptr[-1])

    def vectors(self, pair: SpeciesPair) -> Float[np.ndarray, "pairs 3"]:
        """Vectors in Å from atom i to atom j in cell R."""
        blocks, position = self.pairs[pair], self.atoms.positions
        return position[blocks.j] + blocks.cell_offset @ self.atoms.cell.array - position[blocks.i]

    @property
    def n_members(self) -> int:
        """Number of members of an ensemble whose differences are known; 0 where none are."""
        sizes = {0 if b.members is None else len(b.members) for _, b in self.groups()}
        return sizes.pop() if len(sizes) == 1 else 0

    @property
    def out_of_domain(self) -> Float[np.ndarray, " atoms"] | None:
        """How far the environment of each atom is from those of the model's training set; None where that is not known."""
        found = np.zeros(len(self.atoms))
        for blocks in self.onsite.values():
            if blocks.out_of_domain is None:
                return None
            found[blocks.atom] = blocks.out_of_domain
        return found

    def groups(self) -> Iterator[tuple[int | SpeciesPair, OnsiteBlocks | PairBlocks]]:
        """All groups of blocks, those on-site first."""
        yield from self.onsite.items()
        yield from self.pairs.items()


@dataclass
class Bands:
    """Eigenvalues of a self-consistent run.

    Attributes:
        kpoint: k-points in units of the reciprocal cell's vectors.
        weight: their weights, summing to one.
        eigenvalue: in eV, ascending.
    """

    kpoint: Float[np.ndarray, "kpoints 3"]
    weight: Float[np.ndarray, " kpoints"]
    eigenvalue: Float[np.ndarray, "spins kpoints bands"]


def canonical(
    i: Int[np.ndarray, " pairs"],
    j: Int[np.ndarray, " pairs"],
    cell_offset: Int[np.ndarray, "pairs 3"],
    numbers: Int[np.ndarray, " atoms"],
) -> Bool[np.ndarray, " pairs"]:
    """Return which directed pairs are the stored ones.

    Of (i,j,R) and (j,i,-R), whose blocks are transposes of each other, that is the one with Zi < Zj, or for Zi = Zj the
    lexicographically smaller. An atom with itself in the same cell is no pair.

    Args:
        i: first atom of each pair, in cell 0.
        j: second atom, in cell R.
        cell_offset: R.
        numbers: atomic numbers of all atoms.
    """
    zi, zj = numbers[i], numbers[j]
    first = np.where(
        cell_offset[:, 0] != 0,
        cell_offset[:, 0],
        np.where(cell_offset[:, 1] != 0, cell_offset[:, 1], cell_offset[:, 2]),
    )
    smaller = (i < j) | ((i == j) & (first < 0))
    return (zi < zj) | ((zi == zj) & smaller)
