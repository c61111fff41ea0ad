"""Eigenvalues of H(k) c = ε S(k) c and the weights of species in them, densely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from ase.data import chemical_symbols
from jaxtyping import Float, Int, Shaped

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import BlochSum, bloch_matrices
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.groups import Groups
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.perturbation import differences, first_order
from gh_tools.spectra.projection import (
    Projection,
    dense_root,
    lowdin,
    mulliken,
    species_members,
    spin_expectation,
)

# Bytes of H(k) and S(k) that are held at once.
BATCH_BYTES = 2**27
# Below this smallest eigenvalue of S an error of H is magnified a thousandfold in the worst
# direction: 1 meV in a predicted block becomes 1 eV in an eigenvalue. Sound bases of PAW
# calculations stay near 0.1 and unconfined ones near 1e-3.
POOR_OVERLAP = 1e-3
# eV. Eigenvectors of nearer energies are any combination of each other: the grid of the labels breaks the symmetry
# between them by about as much.
_SAME = 1e-4


@dataclass(frozen=True)
class Eigenvalues:
    """Eigenvalues of one structure on its k-points.

    Attributes:
        energies: ε in eV, ascending along the last axis, on the scale of the Hamiltonian.
        kpoints: where they were computed, with weights.
        species: atomic numbers present, ascending.
        projections: weight of each species in each eigenvalue; sums to 1 over species. None if it was
            not asked for.
        below: number of eigenvalues below those listed; None for none.
        above: number of eigenvalues above those listed; None for none.
        window: energies between which the list is complete, eV.
        spinor: eigenvectors have two spin components, so that an eigenvalue holds one electron.
        spin: expectation values of the Pauli matrices in each eigenvector of a spinor Hamiltonian; the mean over
            those within 1e-4 eV of each other, which alone is defined. None if it was not asked for.
        members: by how much each member of an ensemble moves each eigenvalue, eV, to first order. None where no
            ensemble predicted H, or eigenvectors were not computed.
        weights: of other groups of orbitals in each eigenvalue, by what they were asked for as.
        slopes: derivatives of eigenvalues along a direction of each k-point, eV Å. None if they were not asked for.

    Where k-points or spins have different numbers of eigenvalues in the window, the list is filled up
    with eigenvalues at infinity, which stand for no states.
    """

    energies: Float[np.ndarray, "spins kpoints bands"]
    kpoints: KPoints
    species: Int[np.ndarray, " species"]
    projections: Float[np.ndarray, "species spins kpoints bands"] | None = None
    below: Int[np.ndarray, "spins kpoints"] | None = None
    above: Int[np.ndarray, "spins kpoints"] | None = None
    window: tuple[float, float] = (-np.inf, np.inf)
    spinor: bool = False
    spin: Float[np.ndarray, "3 kpoints bands"] | None = None
    members: Float[np.ndarray, "members spins kpoints bands"] | None = None
    weights: Mapping[str, Float[np.ndarray, "_groups spins kpoints bands"]] = field(
        default_factory=dict
    )
    slopes: Float[np.ndarray, "spins kpoints bands"] | None = None

    @property
    def degeneracy(self) -> int:
        """Electrons that one eigenvalue holds: 2 when spins are paired, 1 for a spin channel or a spinor."""
        return 1 if self.spinor else 2 // self.energies.shape[0]

    @cached_property
    def states(self) -> Float[np.ndarray, "spins kpoints bands"]:
        """States per cell that each eigenvalue stands for: spin degeneracy times k-point weight."""
        weight = self.degeneracy * self.kpoints.weights[None, :, None]
        if self.below is not None:
            return weight * np.isfinite(self.energies)
        return np.broadcast_to(weight, self.energies.shape)

    @property
    def states_below(self) -> float:
        """States per cell in eigenvalues below those listed."""
        return self.states_of(self.below)

    @property
    def states_above(self) -> float:
        """States per cell in eigenvalues above those listed."""
        return self.states_of(self.above)

    def states_of(self, counts: Int[np.ndarray, "spins kpoints"] | None) -> float:
        """Return the states per cell of so many eigenvalues of each spin and k-point; 0 for None."""
        if counts is None:
            return 0.0
        return float(np.sum(self.degeneracy * self.kpoints.weights * counts))


def solve(
    hamiltonian: Hamiltonian,
    kpoints: KPoints,
    *,
    projected: bool = True,
    projection: Projection = "mulliken",
    with_spin: bool = False,
    with_members: bool = False,
    groups: Mapping[str, Groups] | None = None,
    directions: Float[np.ndarray, "kpoints 3"] | None = None,
    advance: Callable[[], None] | None = None,
) -> Eigenvalues:
    """Solve the generalised eigenproblem of a structure at each k-point, densely.

    Args:
        hamiltonian: H(R) and S(R).
        kpoints: where to solve.
        projected: compute weights of species (needs eigenvectors, about twice the time).
        projection: which weights, see `projection`.
        with_spin: compute the spin of each eigenvector of a spinor Hamiltonian.
        with_members: compute by how much the members of an ensemble move each eigenvalue (needs eigenvectors).
        groups: of orbitals, whose weights are computed, too.
        directions: along which eigenvalues are differentiated, the change of each k-point (in reciprocal vectors) by
            1/Å; where it is zero, slopes are NaN.
        advance: is called for each k-point that is done.

    Returns:
        All eigenvalues, for each spin channel of the Hamiltonian.

    Raises:
        DataError: if H or S is not finite, or S is not positive definite.
    """
    species, members = species_members(hamiltonian)
    shape = (hamiltonian.n_spins, len(kpoints), hamiltonian.n_orbitals)
    energies = np.empty(shape)
    projections: Any = np.empty((len(species), *shape)) if projected else None
    groups = groups or {}
    of_groups = {name: np.empty((len(one), *shape)) for name, one in groups.items()}
    spins: Any = np.empty((3, *shape[1:])) if with_spin else None
    perturbations = differences(hamiltonian) if with_members else []
    moved: Any = np.empty((len(perturbations), *shape)) if perturbations else None

    slopes: Any = None if directions is None else np.full(shape, np.nan)
    sums: list[BlochSum] = []
    if directions is not None:
        sums = [BlochSum(hamiltonian, "overlap")]
        sums += [BlochSum(hamiltonian, spin=spin) for spin in range(hamiltonian.n_spins)]

    batch = max(1, BATCH_BYTES // (16 * (2 + len(perturbations)) * hamiltonian.n_orbitals**2))
    smallest = np.inf, 0
    for first in range(0, len(kpoints), batch):
        part = slice(first, first + batch)
        overlaps = bloch_matrices(hamiltonian, kpoints.points[part], "overlap")
        for offset, overlap in enumerate(overlaps):
            _check_finite(overlap, "S", kpoints.points[first + offset])
            bound = _smallest_eigenvalue_bound(overlap)
            smallest = min(smallest, (bound, first + offset))
            if bound <= 0:
                raise DataError(_describe_overlap(hamiltonian, kpoints, first + offset))
        for spin in range(hamiltonian.n_spins):
            matrices, *of_members = (
                bloch_matrices(one, kpoints.points[part], "hamiltonian", spin)
                for one in (hamiltonian, *perturbations)
            )
            for offset, (matrix, overlap) in enumerate(zip(matrices, overlaps, strict=True)):
                k = first + offset
                if advance is not None and spin == hamiltonian.n_spins - 1:
                    advance()
                _check_finite(matrix, "H", kpoints.points[k])
                moving = directions is not None and bool(directions[k].any())
                if not (projected or with_spin or perturbations or groups or moving):
                    energies[spin, k] = scipy.linalg.eigh(
                        matrix, overlap, eigvals_only=True, check_finite=False
                    )
                    continue
                energies[spin, k], vectors = scipy.linalg.eigh(
                    matrix, overlap, driver="gvd", check_finite=False
                )
                for member, perturbation in enumerate(of_members):
                    moved[member, spin, k] = first_order(
                        perturbation[offset], energies[spin, k], vectors
                    )
                if moving:
                    assert directions is not None
                    change, of_overlap = (
                        one.derivative(kpoints.points[k], directions[k])
                        for one in (sums[1 + spin], sums[0])
                    )
                    slopes[spin, k] = first_order(change, energies[spin, k], vectors, of_overlap)
                if with_spin:
                    moments = spin_expectation(hamiltonian, vectors, overlap @ vectors)
                    spins[:, k] = mean_of_degenerate(energies[spin, k], moments)
                methods = {one.method for one in groups.values()}
                if projected:
                    methods.add(projection)
                of_orbitals = {
                    method: lowdin(dense_root(overlap) @ vectors)
                    if method == "lowdin"
                    else mulliken(vectors, overlap @ vectors)
                    for method in methods
                }
                if projected:
                    projections[:, spin, k] = members @ of_orbitals[projection]
                for name, one in groups.items():
                    of_groups[name][:, spin, k] = one.of(of_orbitals[one.method], spin)
    if smallest[0] < POOR_OVERLAP:
        formula = hamiltonian.atoms.get_chemical_formula()
        log.warning("%s: %s", formula, _describe_overlap(hamiltonian, kpoints, smallest[1]))
    return Eigenvalues(
        energies,
        kpoints,
        species,
        projections,
        spinor=hamiltonian.spinor,
        spin=spins,
        members=moved,
        weights=of_groups,
        slopes=slopes,
    )


def mean_of_degenerate(
    energies: Float[np.ndarray, " bands"], values: Float[np.ndarray, "rows bands"]
) -> Float[np.ndarray, "rows bands"]:
    """Return values averaged over eigenvectors of the same energy, of which any combination would do."""
    group, counts = groups_of_equals(energies)
    sums = np.stack([np.bincount(group, weights=row) for row in values])
    return (sums / counts)[:, group]


def groups_of_equals(
    energies: Float[np.ndarray, " bands"],
) -> tuple[Int[np.ndarray, " bands"], Int[np.ndarray, " groups"]]:
    """Return the number, from 0, of the multiplet that each eigenvalue belongs to, and how many each has.

    Args:
        energies: eigenvalues at one k-point, eV, ascending; of one multiplet each is within 1e-4 of the one before.
    """
    group = np.cumsum(np.diff(energies, prepend=energies[:1]) > _SAME)
    return group, np.bincount(group)


def _check_finite(
    matrix: Shaped[np.ndarray, "orbitals orbitals"], name: str, k: Float[np.ndarray, "3"]
) -> None:
    if not np.isfinite(matrix).all():
        raise DataError(f"{name}(k) at k = {k} is not finite: the blocks hold NaN or infinity")


def _smallest_eigenvalue_bound(overlap: Shaped[np.ndarray, "orbitals orbitals"]) -> float:
    """Return a cheap estimate from below of the smallest eigenvalue of S; 0 if not positive.

    1/||S⁻¹||₁, which is at most the eigenvalue since ||S⁻¹||₂ <= ||S⁻¹||₁ for Hermitian S. LAPACK
    estimates the norm from the Cholesky factor, a small part of the cost of the eigenproblem.
    """
    potrf, pocon = scipy.linalg.get_lapack_funcs(("potrf", "pocon"), (overlap,))
    factor, info = potrf(overlap)
    if info != 0:
        return 0.0
    norm = np.linalg.norm(overlap, 1)
    reciprocal_condition, _ = pocon(factor, norm)
    return float(reciprocal_condition * norm)


def _describe_overlap(hamiltonian: Hamiltonian, kpoints: KPoints, index: int) -> str:
    """Say how poor S is at a k-point and which species' basis makes it so."""
    k = kpoints.points[index]
    overlap = bloch_matrices(hamiltonian, k[None], "overlap")[0]
    value, vector = scipy.linalg.eigh(overlap, subset_by_index=[0, 0])
    numbers = hamiltonian.atoms.numbers
    owner = np.repeat(numbers, hamiltonian.orbitals_of_atoms)
    share = np.bincount(owner, weights=np.abs(vector[:, 0]) ** 2)
    culprit = int(np.argmax(share))
    name = hamiltonian.basis[culprit].basis_name
    described = (
        f"the overlap matrix at k = {tuple(k.round(4).tolist())} has the eigenvalue {value[0]:.1e}, "
        f"mostly on {chemical_symbols[culprit]} (basis {name!r})"
    )
    mend = "label with a more confined or smaller basis for it"
    if value[0] <= 0:
        return f"{described}: it is not positive definite, so there are no eigenvalues; {mend}"
    return (
        f"{described}: errors of H grow up to {1 / value[0]:.0e} times in the eigenvalues; {mend}"
    )
