"""Which states are localised, and on which atoms.

With Löwdin's populations p_a of the atoms in a state, which are no smaller than 0 and add up to 1, the inverse
participation ratio is Σ_a p_a²: 1 of a state on one atom, 1/N of one that N atoms share equally (Bell and Dean, *Discuss.
Faraday Soc.* **50**, 55 (1970)). Its inverse is a number of atoms. Mulliken's populations would not do: some are negative,
and others above 1, so that the sum of squares means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from gh_tools.spectra.config import RESOLUTION
from gh_tools.spectra.eigen import Eigenvalues, groups_of_equals

# Atoms of which the weights are kept: those with the largest.
KEPT = 6


@dataclass(frozen=True)
class States:
    """States of one structure in a window of energies, by spin and band, ascending.

    Each is a mean over the k-points at which the band lies in the window.

    Attributes:
        spin: channel, from 0.
        band: its number, from 0.
        zone: part of the Brillouin zone in which it lies in the window.
        energy: mean of E - E_F, eV.
        lowest: eV.
        highest: eV.
        electrons: that are in it, of both spins where these are paired.
        sharing: number of atoms that share it, the inverse participation ratio's inverse.
        atom: atoms with the largest weights, the first the largest, counted from 0; -1 where there are fewer atoms.
        weight: their weights, by Löwdin.
    """

    spin: Int[np.ndarray, " states"]
    band: Int[np.ndarray, " states"]
    zone: Float[np.ndarray, " states"]
    energy: Float[np.ndarray, " states"]
    lowest: Float[np.ndarray, " states"]
    highest: Float[np.ndarray, " states"]
    electrons: Float[np.ndarray, " states"]
    sharing: Float[np.ndarray, " states"]
    atom: Int[np.ndarray, "states kept"]
    weight: Float[np.ndarray, "states kept"]

    def __len__(self) -> int:
        return len(self.spin)

    def records(self, names: list[str]) -> list[dict[str, Any]]:
        """Return each state as numbers, with atoms by name.

        Args:
            names: of all atoms.
        """
        single = [name for name in self.__dataclass_fields__ if name not in ("atom", "weight")]
        return [
            {
                **{name: getattr(self, name)[row].item() for name in single},
                "inverse_participation_ratio": 1 / self.sharing[row].item(),
                "atoms": [
                    {"atom": int(a), "name": names[a], "weight": float(w)}
                    for a, w in zip(self.atom[row], self.weight[row], strict=True)
                    if a >= 0
                ],
            }
            for row in range(len(self))
        ]


def list_states(
    eigenvalues: Eigenvalues,
    weights: Float[np.ndarray, "atoms spins kpoints bands"],
    fermi: float,
    window: tuple[float, float],
    smearing: float = 0.0,
) -> States:
    """Return the states in a window, with the number of atoms that share each and those with the largest weights.

    Of degenerate states any combinations are as good, so that their mean counts, which is the same for all.

    Args:
        eigenvalues: of the structure, absolute.
        weights: Löwdin's populations of the atoms.
        fermi: E_F, eV.
        window: eV from E_F, both ends included.
        smearing: Fermi-Dirac width, eV; below 1e-6 states are filled sharply, one at E_F by half.
    """
    low, high = window
    energies = eigenvalues.energies - fermi
    below = (
        np.zeros(energies.shape[:2], np.int64) if eigenvalues.below is None else eigenvalues.below
    )
    share = eigenvalues.kpoints.weights
    rows: dict[tuple[int, int], list[tuple[float, float, np.ndarray]]] = {}
    for s, k in np.ndindex(energies.shape[:2]):
        inside = np.flatnonzero((energies[s, k] >= low) & (energies[s, k] <= high))
        if not len(inside) or share[k] == 0:
            continue
        listed = np.isfinite(energies[s, k])
        group, _ = groups_of_equals(energies[s, k, listed])
        for band in inside:
            equal = np.flatnonzero(group == group[band])
            mean = np.clip(weights[:, s, k, equal].mean(axis=1), 0.0, None)
            key = s, int(band + below[s, k])
            rows.setdefault(key, []).append((float(share[k]), float(energies[s, k, band]), mean))
    found = [_mean(parts, eigenvalues.degeneracy, smearing) for _, parts in sorted(rows.items())]
    keys = np.array(sorted(rows), dtype=np.int64).reshape(-1, 2)
    columns: list[Any] = [np.array(c) for c in zip(*found, strict=True)] or [np.empty(0)] * 6
    kept = min(KEPT, len(weights))
    atom = np.array([row[6] for row in found], dtype=np.int64).reshape(-1, kept)
    weight = np.array([row[7] for row in found]).reshape(-1, kept)
    order = np.lexsort((keys[:, 0], columns[1]))
    parts = (*keys.T, *columns[:6], atom, weight)
    return States(*(part[order] for part in parts))


def _mean(
    parts: list[tuple[float, float, np.ndarray]], degeneracy: int, smearing: float
) -> tuple[float, float, float, float, float, float, np.ndarray, np.ndarray]:
    """Return zone, energy, lowest, highest, electrons, sharing, and atoms and weights, of one band."""
    share, energy = (np.array([part[n] for part in parts]) for n in (0, 1))
    zone = float(share.sum())
    share = share / zone
    population = np.tensordot(share, np.array([part[2] for part in parts]), axes=1)
    population /= population.sum()
    if smearing < RESOLUTION:
        filled = np.where(np.abs(energy) <= RESOLUTION, 0.5, energy < 0)
    else:
        filled = expit(-energy / smearing)
    largest = np.argsort(-population, kind="stable")[:KEPT]
    return (
        zone,
        float(share @ energy),
        float(energy.min()),
        float(energy.max()),
        float(degeneracy * share @ filled),
        float(1 / np.sum(population**2)),
        largest,
        population[largest],
    )
