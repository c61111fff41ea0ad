"""The part of the electrostatic potential that is the same for all orbitals of an atom.

A potential that is smooth on the scale of an atom enters H as ½ (v_i + v_j) S_ij. In a slab its in-plane
average does not decay with distance: what all atoms contribute to the mean inner potential, the second
moment of their charge over the area, shifts the on-site energies of all of them. A network whose atoms see their
neighbours' places, but not what their neighbours see, learns such shifts of whole structures by heart.
So v is fitted beforehand, by a linear model that a few structures suffice for:

    v_i = a_Zi · x_i + Σ_j w(r_ij) b_Zj · x_j + Σ_j Φ_ij c_Zj · x_j,    w(r) = (1 - (r/R)²)²

with descriptors x of an atom's surroundings (sums over neighbours and over pairs of neighbours), and
coefficients a, b and c by ridge regression on each atom's mean on-site energy tr H_ii / tr S_ii. The last sum is the
electrostatic potential of charges c_Zj · x_j, which depend on what surrounds an atom; it is there if it makes
structures left out of the fit more exact.

The fit is linear, so the posterior of all coefficients is Gaussian and known exactly. What draws from it differ by gives the
members of an ensemble, of which each has a v of its own, the shift of whole structures that no network of theirs knows of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import ase
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from gh_tools.console import log, track
from gh_tools.orbitals.basis import Arrays, Basis
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.pairs import Neighbours
from gh_tools.scaleshift.atomic_descriptors import (
    RANGE,
    THREE_BODY,
    TWO_BODY,
    descriptors,
    in_parts,
    range_weights,
)
from gh_tools.scaleshift.electrostatics import electrostatic_potential

# Weight of sums over pairs of neighbours, against those over neighbours, and the ridge's square root. On
# WSe2 (37 cells, 20 or 30 of them fitted to, chosen at random) half and twice of each give larger errors of
# the mean over a structure, or the same.
THREE_BODY_WEIGHT, NOISE = 0.5, 0.1
# Width in e of what is thought of charges before the fit. Half as much explains the same of SiO2, HfO2 and SiC, to a tenth.
CHARGE_WEIGHT = 0.2
# Part of the variance that it has to explain of structures that it was not fitted to. With less it only
# keeps the network from learning: seven cells of hfo2-wse2 (0.13) lose by it, seven of sio2 (0.65) gain.
LEAST_EXPLAINED = 0.5
# The fit uses structures with about so many atoms: its time goes with the cube of their number.
MOST_ATOMS = 4000
# Draws from the posterior: as many as last layers are drawn. Their random numbers are the same in each fit.
DRAWS, _SEED = 8, 0
# Draws leave descriptors alone whose width is a smaller part of the median.
HARDLY = 1e-3
_TINY = 1e-9


@dataclass(frozen=True)
class OnsiteEnergyModel:
    """A fitted model of the on-site energies v_i of atoms.

    Args:
        basis: The elements that it knows.
        r_min: Shortest distance in Å of the data: closer neighbours count as that far.
        local: a in eV by element and descriptor; the first descriptor is one.
        neighbour: b in eV, likewise.
        charge: c in e, likewise; None where there are no charges.
        draws: what a, b and, if there is one, c of draws from their posterior differ by; None in models of earlier versions.
    """

    basis: Basis
    r_min: float
    local: Float[np.ndarray, "elements descriptors"]
    neighbour: Float[np.ndarray, "elements descriptors"]
    charge: Float[np.ndarray, "elements descriptors"] | None = None
    draws: Float[np.ndarray, "draws kinds elements descriptors"] | None = None

    @property
    def reach(self) -> float:
        """Distance in Å up to which neighbours are looked for."""
        return max(RANGE, TWO_BODY[0], THREE_BODY[0])

    def __call__(
        self, atoms: ase.Atoms, neighbours: Neighbours, chosen: Int[np.ndarray, " some"]
    ) -> Float[np.ndarray, " some"]:
        """Evaluate the on-site energies of some atoms.

        Args:
            atoms: The structure, wrapped.
            neighbours: Of the structure, up to at least `reach`.
            chosen: The atoms.

        Returns:
            v in eV.
        """
        return self.with_members(atoms, neighbours, chosen, 0)[0]

    def of_structure(self, atoms: ase.Atoms) -> Float[np.ndarray, " atoms"]:
        """Return the on-site energies v in eV of all atoms of a structure, wrapped."""
        return self(atoms, Neighbours(atoms, self.reach), np.arange(len(atoms)))

    def with_members(
        self,
        atoms: ase.Atoms,
        neighbours: Neighbours,
        chosen: Int[np.ndarray, " some"],
        members: int,
    ) -> tuple[Float[np.ndarray, " some"], Float[np.ndarray, "members some"]]:
        """Evaluate the on-site energies of some atoms, and those of the members of an ensemble.

        Args:
            atoms: The structure, wrapped.
            neighbours: Of the structure, up to at least `reach`.
            chosen: The atoms.
            members: How many.

        Returns:
            v in eV, and what the v of each member differs by: zero on average, and zero where the posterior is not known.
        """
        species = np.searchsorted(self.basis.numbers, atoms.numbers)
        kinds = [self.local, self.neighbour, *([] if self.charge is None else [self.charge])]
        coefficients = np.stack(kinds)[None]
        if members and self.draws is not None:
            coefficients = np.concatenate([coefficients, differences_of(self.draws, members)])
        # The charges of all atoms count, however far they are.
        near = np.full(len(atoms), self.charge is not None)
        near[chosen] = True
        for part in in_parts(chosen):
            near[neighbours.of(part, RANGE)[1]] = True
        energy, contribution, *charges = np.zeros((len(kinds), len(coefficients), len(atoms)))
        for part in in_parts(np.flatnonzero(near)):
            x = descriptors(species, len(self.basis.numbers), neighbours, part, self.r_min)
            for element in np.unique(species[part]):
                own = species[part] == element
                found = coefficients[:, :, element] @ x[own].T
                for values, of_kind in zip(
                    (energy, contribution, *charges), np.moveaxis(found, 1, 0), strict=True
                ):
                    values[:, part[own]] = of_kind
        for part in in_parts(chosen):
            i, j, weight = range_weights(neighbours, part)
            window = csr_array((weight, (i, j)), shape=(len(atoms), len(atoms)))
            energy[:, part] += (contribution + (window @ contribution.T).T)[:, part]
        for found in charges:
            energy += electrostatic_potential(atoms, found)
        energy = energy[:, chosen]
        differences = np.zeros((members, len(chosen)))
        if len(energy) > 1:
            differences[:] = energy[1:]
        return energy[0], differences

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give all parameters but the elements as arrays for a store."""
        arrays = {
            "onsite_energy/r_min": np.array([self.r_min]),
            "onsite_energy/local": self.local,
            "onsite_energy/neighbour": self.neighbour,
        }
        if self.charge is not None:
            arrays["onsite_energy/charge"] = self.charge
        if self.draws is not None:
            arrays["onsite_energy/draws"] = self.draws
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, basis: Basis, prefix: str) -> OnsiteEnergyModel:
        """Build it from what `to_arrays` gave.

        Args:
            arrays: of a store or in memory, by key.
            basis: whose elements and shells are the model's.
            prefix: what keys of the arrays begin with.
        """
        r_min, local, neighbour = (
            np.asarray(arrays[f"{prefix}onsite_energy/{name}"])
            for name in ("r_min", "local", "neighbour")
        )
        charge, draws = (
            np.asarray(arrays[key]) if (key := f"{prefix}onsite_energy/{name}") in arrays else None
            for name in ("charge", "draws")
        )
        return cls(basis, float(r_min[0]), local, neighbour, charge, draws)


def differences_of(
    draws: Float[np.ndarray, " draws *rest"], members: int
) -> Float[np.ndarray, " members *rest"]:
    """Return what members differ by, zero on average: a draw each, in turns where there are more of them."""
    chosen = draws[np.arange(members) % len(draws)]
    return chosen - chosen.mean(axis=0)


def mean_onsite_energies(hamiltonian: Hamiltonian) -> Float[np.ndarray, " atoms"]:
    """Return each atom's mean on-site energy in eV, tr H_ii / tr S_ii, over both spins."""
    mean = np.zeros(len(hamiltonian.atoms))
    for blocks in hamiltonian.onsite.values():
        assert blocks.hamiltonian is not None and blocks.overlap is not None  # of labels
        of_spins = np.einsum("...aii->...a", blocks.hamiltonian.astype(float))
        trace = np.einsum("aii->a", blocks.overlap.astype(float))
        mean[blocks.atom] = of_spins.reshape(-1, len(trace)).mean(axis=0) / trace
    return mean


def shifted(
    hamiltonian: Hamiltonian,
    energies: Float[np.ndarray, " atoms"],
    differences: Float[np.ndarray, "members atoms"] | None = None,
) -> Hamiltonian:
    """Return H + ½ (v_i + v_j) S_ij.

    Args:
        hamiltonian: H and S; of an ensemble with its members.
        energies: v in eV of each atom.
        differences: what the v of each member of the ensemble differs by, eV, zero on average. With them the members differ
            by more, and the uncertainty of each element follows.
    """

    def moved(blocks, energy, difference):
        by = energy[:, None, None] * blocks.overlap
        dtype = blocks.hamiltonian.dtype
        found = replace(blocks, hamiltonian=(blocks.hamiltonian + by).astype(dtype))
        if difference is None:
            return found
        members = blocks.members.copy()
        for of_spins, own in zip(members, difference, strict=True):
            of_spins += (own[:, None, None] * blocks.overlap).astype(dtype)
        uncertainty = members.std(axis=0, ddof=1).reshape(blocks.uncertainty.shape)
        return replace(found, members=members, uncertainty=uncertainty)

    def of(values, i, j):
        return None if values is None else 0.5 * (values[..., i] + values[..., j])

    onsite = {
        z: moved(
            blocks, *(of(values, blocks.atom, blocks.atom) for values in (energies, differences))
        )
        for z, blocks in hamiltonian.onsite.items()
    }
    pairs = {
        key: moved(blocks, *(of(values, blocks.i, blocks.j) for values in (energies, differences)))
        for key, blocks in hamiltonian.pairs.items()
    }
    return replace(hamiltonian, onsite=onsite, pairs=pairs)


def fit_onsite_energies(
    basis: Basis, structures: Sequence[ase.Atoms], energies: Sequence[Float[np.ndarray, " _atoms"]]
) -> OnsiteEnergyModel | None:
    """Fit the model to atoms' mean on-site energies, by ridge regression.

    Args:
        basis: The elements.
        structures: Labelled structures, wrapped.
        energies: `mean_onsite_energies` of each.

    Returns:
        The model; None where the energies of one element do not differ, or where it would explain less than
        `LEAST_EXPLAINED` of their variance in structures left out of the fit.
    """
    n_species = len(basis.numbers)
    surroundings = [Neighbours(atoms, max(RANGE, TWO_BODY[0])) for atoms in structures]
    shortest = [neighbours.nearest(1).min(initial=np.inf) for neighbours in surroundings]
    r_min = min(*shortest, THREE_BODY[0] / 2)
    species, rows, windows = [], [], []
    for atoms, neighbours in zip(structures, surroundings, strict=True):
        everyone = np.arange(len(atoms))
        species.append(np.searchsorted(basis.numbers, atoms.numbers))
        rows.append(descriptors(species[-1], n_species, neighbours, everyone, r_min))
        i, j, weight = range_weights(neighbours, everyone)
        windows.append(np.eye(len(atoms)))
        np.add.at(windows[-1], (i, j), weight)
    of_species, x, v = np.concatenate(species), np.concatenate(rows), np.concatenate(energies)
    count = np.bincount(of_species, minlength=n_species)
    mean = np.bincount(of_species, v, n_species) / np.maximum(count, 1)
    if np.std(v - mean[of_species]) < _TINY:
        return None

    centre, scale = _standard(x, n_species)
    local_columns = _by_species((x - centre) / scale, of_species, n_species)
    norm = np.mean(np.concatenate([window.sum(axis=1) for window in windows]))
    stops = np.cumsum([len(window) for window in windows])[:-1]
    split = np.split(local_columns, stops)

    def summed(matrices: Iterable[np.ndarray]) -> Float[np.ndarray, "atoms columns"]:
        return np.concatenate([m @ part for m, part in zip(matrices, split, strict=True)])

    # Columns of each kind of coefficients, and what these are multiplied with.
    kinds = [(local_columns, 1.0), (summed(windows) / norm, 1 / norm)]
    wanted = v - mean[of_species]
    fit = _Fit(np.concatenate([columns for columns, _ in kinds], axis=1), wanted, stops)
    shown = track(structures, "electrostatic potentials", len(structures))
    potentials = (electrostatic_potential(atoms, np.eye(len(atoms))).T for atoms in shown)
    kinds.append((CHARGE_WEIGHT * summed(potentials), CHARGE_WEIGHT))
    with_charges = _Fit(np.concatenate([columns for columns, _ in kinds], axis=1), wanted, stops)
    if with_charges.better_than(fit):
        fit = with_charges
    else:
        kinds.pop()
    explained = 1.0 - np.mean(fit.left_out**2) / np.mean(wanted**2)
    log.info(
        "the on-site energy model, %s charges, explains %.0f%% of the variance of atoms' mean on-site energies in structures "
        "left out",
        "with" if fit is with_charges else "without",
        100 * max(explained, 0.0),
    )
    if explained < LEAST_EXPLAINED:
        log.info("less than %.0f%%: the model does without", 100 * LEAST_EXPLAINED)
        return None
    # The prior's width is such that residuals of structures left out are as large as they are said to be.
    width = np.sqrt(np.mean(fit.left_out**2) / np.mean(fit.variances))
    draws = width * _posterior_draws(fit.columns, fit.inverse)
    fitted = np.concatenate([(fit.columns.T @ fit.dual)[None], draws])
    found = fitted.reshape(1 + DRAWS, len(kinds), n_species, -1) / scale
    # What hardly varies was not learned: unlike structures are for scores of environments to tell, not for draws.
    found[1:, ..., scale < HARDLY * np.median(scale[np.isfinite(scale)])] = 0.0
    found[..., 0] -= found[..., 1:] @ centre[1:]
    found *= np.array([factor for _, factor in kinds])[:, None, None]
    (local, neighbour, *charges), draws = found[0], found[1:]
    local[:, 0] += mean
    charge = charges[0] if charges else None
    return OnsiteEnergyModel(basis, r_min, local, neighbour, charge, draws)


class _Fit:
    """Ridge regression, and what it leaves of structures left out of it.

    Args:
        columns: what coefficients of a prior of width one are multiplied with.
        wanted: what is fitted, in eV.
        stops: where structures end, but the last.

    Attributes:
        inverse: of the kernel with its ridge; no unit.
        dual: the inverse times what is fitted, in eV.
        left_out: what is fitted, less what the other structures say of it, in eV.
        variances: of what is left out, of a prior of width one.
    """

    def __init__(
        self,
        columns: Float[np.ndarray, "atoms coefficients"],
        wanted: Float[np.ndarray, " atoms"],
        stops: Int[np.ndarray, " structures_less_one"],
    ):
        self.columns, self._stops = columns, stops
        self.inverse = np.linalg.inv(columns @ columns.T + NOISE**2 * np.eye(len(columns)))
        self.dual = self.inverse @ wanted
        self.left_out, self.variances = left_out_residuals(self.inverse, self.dual, stops.tolist())

    def better_than(self, other: _Fit) -> bool:
        """Tell whether it leaves less of atoms and of the means of structures, by which all eigenvalues are off."""
        mine, others = (
            [np.mean(fit.left_out**2), np.mean([m.mean() ** 2 for m in fit.of_structures()])]
            for fit in (self, other)
        )
        return all(a < b for a, b in zip(mine, others, strict=True))

    def of_structures(self) -> list[Float[np.ndarray, " _atoms"]]:
        """Return what is left out of each structure, in eV."""
        return np.split(self.left_out, self._stops)


def _posterior_draws(
    columns: Float[np.ndarray, "atoms coefficients"], inverse: Float[np.ndarray, "atoms atoms"]
) -> Float[np.ndarray, "draws coefficients"]:
    """Draw what coefficients of a prior of width one differ by, given what was fitted: prior draws, less their own fits."""
    random = np.random.default_rng(_SEED)
    prior = random.standard_normal((columns.shape[1], DRAWS))
    noise = NOISE * random.standard_normal((len(columns), DRAWS))
    return (prior - columns.T @ (inverse @ (columns @ prior + noise))).T


def left_out_residuals(
    inverse: Float[np.ndarray, "atoms atoms"],
    dual: Float[np.ndarray, " atoms"],
    stops: Sequence[int],
) -> tuple[Float[np.ndarray, " atoms"], Float[np.ndarray, " atoms"]]:
    """Return what ridge regression leaves of each structure if fitted to all others, in closed form.

    Args:
        inverse: Of the kernel with its ridge; no unit.
        dual: The inverse times what is fitted, in eV.
        stops: Where structures end, but the last.

    Returns:
        What is fitted, less what the others say of it, in eV; and its variance with the noise, of a prior of width one.
    """
    structures = list(map(slice, [0, *stops], [*stops, len(dual)]))
    covariances = [np.linalg.inv(inverse[part, part]) for part in structures]
    residuals = [
        covariance @ dual[part] for covariance, part in zip(covariances, structures, strict=True)
    ]
    return np.concatenate(residuals), np.concatenate([np.diag(c) for c in covariances])


def _standard(x: Float[np.ndarray, "atoms descriptors"], n_species: int):
    """Centre and width of descriptors, so that sums over neighbours have unit variance together.

    The constant stands for the elements' mean, which is all but free.
    """
    centre, width = x.mean(axis=0), x.std(axis=0)
    n_two = n_species * TWO_BODY[1]
    weight = np.full(x.shape[1], THREE_BODY_WEIGHT / np.sqrt(x.shape[1] - 1 - n_two))
    weight[1 : 1 + n_two] = 1 / np.sqrt(n_two)
    # What does not vary has no say.
    scale = np.where(width > _TINY, np.maximum(width, _TINY) / weight, np.inf)
    centre[0], scale[0] = 0.0, 1 / 3
    return centre, scale


def _by_species(x, of_species, n_species):
    """Put the descriptors of each element into columns of their own."""
    columns = np.zeros((len(x), n_species, x.shape[1]))
    columns[np.arange(len(x)), of_species] = x
    return columns.reshape(len(x), -1)
