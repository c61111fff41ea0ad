"""How well a basis spans its space: eigenvalues of S of the densest environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import chemical_symbols

from gh_tools.console import log
from gh_tools.dft.overlap import OverlapSource
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import Neighbours, stored_pairs, wrapped

# Errors of H grow by the inverse of an eigenvalue of S in its direction: by a hundred below this.
POOR = 0.01
_RADIUS = 6.0  # Å around an atom whose orbitals are looked at: some 60 atoms
_NEIGHBOURS = 8  # neighbours that tell how dense the environment of an atom is


@dataclass(frozen=True)
class Conditioning:
    """Eigenvalues of S among the orbitals around one atom.

    Those of S(k) of the whole structure reach at least as far on both sides, for some k: the matrix is
    a principal submatrix of S (Cauchy's interlacing theorem).

    Attributes:
        lowest: eigenvalue.
        highest: eigenvalue.
        element: atomic number of the element that holds most of the lowest one's vector.
    """

    lowest: float
    highest: float
    element: int


def warn_if_poor(
    overlap: OverlapSource,
    basis: Basis,
    cutoffs: Mapping[SpeciesPair, float],
    structures: Iterable[ase.Atoms],
) -> dict[int, Conditioning]:
    """Warn where orbitals are nearly dependent, and return the conditioning by atomic number.

    Of each element the densest environment is looked at.

    Args:
        overlap: computes S.
        basis: the basis table.
        cutoffs: distance in Å up to which each species pair has blocks.
        structures: to look at.
    """
    all_found = {
        number: conditioning(overlap, basis, cutoffs, atoms, atom)
        for number, (atoms, atom) in densest_environments(structures).items()
    }
    poor: dict[int, Conditioning] = {}
    for found in all_found.values():
        if found.lowest < POOR:
            worst = min(found, poor.get(found.element, found), key=lambda c: c.lowest)
            poor[found.element] = worst
    for number, found in sorted(poor.items()):
        what = "is not positive definite" if found.lowest <= 0 else "is nearly singular"
        symbol, code = chemical_symbols[number], basis[number].code
        name = basis[number].basis_name or (f"of {code}" if code else "unnamed")
        how = f"in {code}" if code else f"(gh-label --set energy_shift.{symbol}=0.2)"
        log.warning(
            "S %s: eigenvalues from %.1g to %.1f, the lowest of %s (basis %s); spectra would magnify "
            "errors of H: label and train with a smaller or a confined basis %s, or a longer pair cutoff",
            *(what, found.lowest, found.highest, symbol, name, how),
        )
    return all_found


def densest_environments(structures: Iterable[ase.Atoms]) -> dict[int, tuple[ase.Atoms, int]]:
    """Find the atom of each element whose nearest neighbours are closest: structure and index."""
    best: dict[int, tuple[float, ase.Atoms, int]] = {}
    for atoms in structures:
        distance = Neighbours(atoms, _RADIUS).nearest(_NEIGHBOURS)
        # An atom with few neighbours has no dense environment.
        mean = np.where(np.isfinite(distance), distance, _RADIUS).mean(axis=1)
        for number in np.unique(atoms.numbers).tolist():
            mine = np.flatnonzero(atoms.numbers == number)
            atom = int(mine[mean[mine].argmin()])
            if number not in best or mean[atom] < best[number][0]:
                best[number] = mean[atom], atoms, atom
    return {number: (atoms, atom) for number, (_, atoms, atom) in best.items()}


def conditioning(
    overlap: OverlapSource,
    basis: Basis,
    cutoffs: Mapping[SpeciesPair, float],
    atoms: ase.Atoms,
    atom: int,
) -> Conditioning:
    """Diagonalise S among the orbitals within 6 Å of an atom, periodic images included.

    Args:
        overlap: computes S.
        basis: the basis table.
        cutoffs: distance in Å up to which each species pair has blocks.
        atoms: the structure.
        atom: the atom.
    """
    cluster, n_inner = _cluster(wrapped(atoms), atom, _RADIUS, overlap.reach(atoms.numbers))
    inner = cluster[:n_inner]
    pairs = stored_pairs(inner, cutoffs)
    onsite, bonds = overlap(cluster, pairs, np.arange(n_inner))
    places = {z: np.flatnonzero(inner.numbers == z) for z in onsite}
    matrix = bloch_matrix(
        Hamiltonian(
            inner,
            basis,
            {z: OnsiteBlocks(places[z], None, blocks) for z, blocks in onsite.items()},
            {key: PairBlocks(*pairs[key][:3], None, blocks) for key, blocks in bonds.items()},
        ),
        np.zeros(3),
        "overlap",
    )
    values, vectors = np.linalg.eigh(matrix)
    owner = np.repeat(inner.numbers, basis.n_orbitals(inner.numbers))
    weight = np.bincount(owner, vectors[:, 0] ** 2)
    return Conditioning(float(values[0]), float(values[-1]), int(weight.argmax()))


def _cluster(atoms: ase.Atoms, atom: int, radius: float, more: float) -> tuple[ase.Atoms, int]:
    """Cut out the surroundings of an atom: those within ``radius`` first, then the others."""
    _, j, _, vector = Neighbours(atoms, radius + more).of(np.array([atom]), radius + more)
    numbers = np.concatenate([[atoms.numbers[atom]], atoms.numbers[j]])
    positions = np.concatenate([np.zeros((1, 3)), vector])
    distance = np.linalg.norm(positions, axis=1)
    order = np.argsort(distance, kind="stable")
    return ase.Atoms(numbers[order], positions[order]), int((distance < radius).sum())
