"""The screened electrostatic potential at atoms of Gaussian charges about them, summed over waves.

    V_i = e²/(4π ε₀) (4π/Ω) Σ_{G≠0} exp(-G²σ²/2)/(G² + κ²) exp(iG·r_i) Σ_j q_j exp(-iG·r_j)

Screening ends the potential of a charge after some 1/κ, so that what charges model does not grow with the size of a structure. The
mean over the cell of a crystal is zero, as GPAW's, with a background of what charges it holds. Other structures stand in a box whose
faces are at zero: it is half of a cell in which mirror images of the opposite charge stand beside it; of layers and wires, which have
no end either, the mean over the atoms is zero. Both sums over atoms are non-uniform Fourier transforms, whose work goes with the
number of atoms.
"""

from __future__ import annotations

from itertools import product

import ase
import numpy as np
from ase.units import Bohr, Hartree
from jaxtyping import Float

from gh_tools.dft.run_cell import boxed, with_reduced_cell
from gh_tools.errors import DataError
from gh_tools.resources import free_memory

# σ in Å: from 0.4 to 1 Å it hardly matters to what a model of charges explains. κ in 1/Å: of 0 to 1.4 the one with which cells of
# oxides larger than those that charges were fitted to are most exact.
WIDTH, SCREENING = 0.7, 0.65
# Å about molecules, wires and slabs: twice as far away, the potential of an image is 5e-4 eV of a charge of e.
_VACUUM = 6.0
# Waves count up to this over σ: the rest is 1e-5 eV of a charge of e.
_LARGEST_WAVE = 5.0
# Of weights and amplitudes, and of the grids of both transforms, which are finer by 1.25 along each axis.
_BYTES_A_WAVE = 48 + 2 * 16 * 1.25**3
# Relative accuracy of the Fourier transforms.
_ACCURACY = 1e-8


def electrostatic_potential(
    atoms: ase.Atoms,
    charges: Float[np.ndarray, "sets atoms"],
    width: float = WIDTH,
    screening: float = SCREENING,
) -> Float[np.ndarray, "sets atoms"]:
    """Compute the potential of charges at the atoms.

    Args:
        atoms: the structure.
        charges: of the atoms in e, any number of sets.
        width: standard deviation σ of the charges in Å.
        screening: κ in 1/Å.

    Returns:
        The potential times e, in eV, of each set at each atom, that of its own charge included.

    Raises:
        DataError: the waves of its cell do not fit into memory.
    """
    from finufft import Plan  # is loaded where it is needed: it takes a moment

    atoms = with_reduced_cell(atoms)
    if not atoms.pbc.all():
        atoms.cell[~atoms.pbc] = 0.0  # a larger box changes nothing, but for what it costs
        atoms = boxed(atoms, _VACUUM)
    cell = atoms.cell.array.copy()
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    mirrored = np.flatnonzero(~atoms.pbc)
    cell[mirrored] *= 2
    fractions[:, mirrored] /= 2
    images, signs = [], []
    for signs_of_axes in product((1.0, -1.0), repeat=len(mirrored)):
        image = fractions.copy()
        image[:, mirrored] *= signs_of_axes
        images.append(image)
        signs.append(np.prod(signs_of_axes))

    largest = _LARGEST_WAVE / width
    counts = [2 * int(np.ceil(largest * length / (2 * np.pi))) + 1 for length in _lengths(cell)]
    _check_memory(atoms, float(np.prod(counts, dtype=float)))
    weights = _weights(cell, counts, largest, width, screening)
    # One thread, because several add up in another order each time.
    options = {"eps": _ACCURACY, "upsampfac": 1.25, "dtype": "complex128", "nthreads": 1}
    of_charges, at_atoms = (
        Plan(kind, tuple(counts), isign=sign, **options) for kind, sign in ((1, -1), (2, 1))
    )
    of_charges.setpts(*_angles(np.concatenate(images)))
    at_atoms.setpts(*_angles(fractions))
    potential = np.empty(charges.shape)
    for found, own in zip(potential, charges, strict=True):
        sources = np.concatenate([sign * own for sign in signs]).astype(complex)
        found[:] = at_atoms.execute(weights * of_charges.execute(sources)).real
    if 0 < len(mirrored) < 3:
        potential -= potential.mean(axis=1, keepdims=True)
    return potential


def _check_memory(atoms: ase.Atoms, waves: float) -> None:
    needed, free = waves * _BYTES_A_WAVE, free_memory()
    if needed > free:
        box = " x ".join(f"{length:.4g}" for length in atoms.cell.lengths())
        raise DataError(
            f"the electrostatic potential in a cell of {box} Å takes {needed / 2**30:.3g} GiB, where {free / 2**30:.3g} GiB are "
            "free; leave out empty space, or make structures of their own of atoms that are far apart"
        )


def _lengths(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    return np.linalg.norm(cell, axis=1)


def _angles(fractions: Float[np.ndarray, "n 3"]) -> list[Float[np.ndarray, " n"]]:
    """Return the phases of the three shortest waves, from -π to π."""
    return list(np.ascontiguousarray(2 * np.pi * (fractions - np.rint(fractions)).T))


def _weights(
    cell: Float[np.ndarray, "3 3"],
    counts: list[int],
    largest: float,
    width: float,
    screening: float,
) -> Float[np.ndarray, "n1 n2 n3"]:
    """Return the potential in eV of each wave of a charge of e; zero for the mean and beyond the largest wave."""
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    axes = [np.arange(count) - count // 2 for count in counts]
    squares = np.zeros(counts)
    # (Σ_a n_a b_a)² from the products of the vectors, so that no list of vectors is held.
    metric = reciprocal @ reciprocal.T
    for a, b in product(range(3), repeat=2):
        shape_a, shape_b = ([-1 if axis == c else 1 for axis in range(3)] for c in (a, b))
        squares += metric[a, b] * axes[a].reshape(shape_a) * axes[b].reshape(shape_b)
    counted = (squares > 0) & (squares <= largest**2)
    squares[~counted] = 1.0
    factor = 4 * np.pi * Hartree * Bohr / abs(np.linalg.det(cell))
    found = factor * np.exp(-0.5 * width**2 * squares) / (squares + screening**2)
    return np.where(counted, found, 0.0)
