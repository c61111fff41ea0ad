"""What the deviation of an ensemble's members is multiplied with to be an uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.fermi import fermi_level
from gh_tools.spectra.members import NEAR, shared_part
from gh_tools.training.objective.metrics import Reference


def with_members(members: Sequence[Hamiltonian], factors: Mapping[str, float]) -> Hamiltonian:
    """Return the mean of an ensemble's members, with what each differs by.

    Args:
        members: of one structure, two at least.
        factors: ``onsite`` and ``pairs``: what their differences are multiplied with.
    """
    first = members[0]

    def joined(kind: str) -> dict:
        found = {}
        for key, blocks in getattr(first, kind).items():
            every = np.stack([getattr(member, kind)[key].hamiltonian for member in members])
            mean = every.mean(axis=0)
            differences = factors[kind] * (every - mean)
            shape = (len(members), first.n_spins, *mean.shape[-3:])
            found[key] = replace(blocks, hamiltonian=mean, members=differences.reshape(shape))
        return found

    return replace(first, onsite=joined("onsite"), pairs=joined("pairs"))


def eigenvalue_calibration(ensembles: Iterable[tuple[Hamiltonian, Reference]]) -> dict[str, float]:
    """Compare errors of eigenvalues with what the members of an ensemble move them by.

    Args:
        ensembles: predictions of `with_members`, each with the eigenvalues of its label.

    Returns:
        ``shift``: of the part that all eigenvalues within 5 eV of E_F share, the root mean square error over the root mean
        square deviation of members; ``eigenvalues``: the same of what is left. 1 where members do not deviate.
    """
    squares = {"shift": np.zeros(2), "eigenvalues": np.zeros(2)}
    for ensemble, reference in ensembles:
        kpoints = reference.eigenvalues.kpoints
        found = solve(ensemble, kpoints, projected=False, with_members=True)
        assert found.members is not None  # it is an ensemble
        fermi = fermi_level(reference.eigenvalues, reference.n_electrons)
        near = np.abs(reference.eigenvalues.energies - fermi) < NEAR
        weights = near * reference.eigenvalues.states
        error = found.energies - reference.eigenvalues.energies
        shared = shared_part(error, weights)
        of_members = np.array([shared_part(moved, weights) for moved in found.members])
        left = found.members - of_members[:, None, None, None]
        squares["shift"] += shared**2, of_members.var(ddof=1)
        squares["eigenvalues"] += (
            np.sum(weights * (error - shared) ** 2),
            np.sum(weights * left.var(axis=0, ddof=1)),
        )
    return {
        name: float(np.sqrt(error / variance)) if variance > 0 and error > 0 else 1.0
        for name, (error, variance) in squares.items()
    }
