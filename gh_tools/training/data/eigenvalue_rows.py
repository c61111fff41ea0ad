"""How errors of irreps move the eigenvalues near the Fermi level, to first order.

S is exact, so that an error δH moves an eigenvalue by δε = c† δH(k) c with the reference's eigenvector c,
c† S(k) c = 1 (first-order perturbation theory of H c = ε S c). That is linear in the errors of the
predicted components: one row of numbers for each chosen eigenvalue. H(R) and S(R) are known, so that any k
serves, and random ones say more than the mesh of the label.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Complex, Float, Int

from gh_tools.evaluation.eigenvalue_errors import SMEARING, WINDOW
from gh_tools.model.graph import Graph
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.bloch import bloch_matrices
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.bond_frame import Frame, to_frame
from gh_tools.orbitals.irreps import IrrepLayout, Irreps
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import electrons_of, fermi_level
from gh_tools.spectra.kpoints import KPoints

N_KPOINTS = 8
PER_KPOINT = 4  # eigenvalues of each k-point and spin channel


class EigenvalueRows(NamedTuple):
    """Shifts of eigenvalues in eV for errors of one in the components that networks predict.

    Attributes:
        onsite: for the atoms' scaled irreps.
        pairs: for the scaled irreps of the graph's pairs, in the frame of the scale-shift.
        structure: first atom of the structure that each atom belongs to.
    """

    onsite: Float[np.ndarray, "atoms rows Ko"]
    pairs: Float[np.ndarray, "pairs rows Kp"]
    structure: Int[np.ndarray, " atoms"]


class _States(NamedTuple):
    """Chosen states of one structure."""

    vectors: Complex[np.ndarray, "orbitals rows"]
    kpoints: Float[np.ndarray, "rows 3"]
    spins: Int[np.ndarray, " rows"]


def make_eigenvalue_rows(
    label: Hamiltonian,
    name: str,
    graph: Graph,
    kept: Mapping[SpeciesPair, Bool[np.ndarray, " _pairs"]],
    scales: tuple[Float[np.ndarray, "atoms Ko"], Float[np.ndarray, "pairs Kp"]],
    layout: IrrepLayout,
    frame: Frame,
) -> EigenvalueRows:
    """Choose eigenvalues within ±5 eV of the Fermi level, and say what moves them.

    Args:
        label: reference H(R) and S(R).
        name: of the structure, which seeds the choice.
        graph: of the structure, without padding.
        kept: for each species pair, which of the label's pairs are in the graph.
        scales: of the irreps of the graph's atoms and pairs, in eV.
        layout: irreps of the basis.
        frame: that the pairs' irreps are in.

    Returns:
        The rows, the same for the same label and name.
    """
    states = _choose(label, np.random.default_rng(zlib.crc32(name.encode())))
    start = layout.basis.orbital_ptr(label.atoms.numbers)[:-1]
    n_rows = len(states.spins)

    def of(atom: Int[np.ndarray, " n"], count: int) -> Complex[np.ndarray, "n orbitals rows"]:
        return states.vectors[start[atom][:, None] + np.arange(count)]

    onsite = np.zeros((len(label.atoms), n_rows, layout.onsite_size))
    for number, blocks in label.onsite.items():
        irreps = layout.onsite[number]
        coefficients = of(blocks.atom, irreps.shape[0])
        density = np.einsum("amr,anr->armn", coefficients.conj(), coefficients).real
        onsite[blocks.atom, :, : irreps.size] = _components(irreps, density, states.spins)
    pairs = np.zeros((len(graph.i), n_rows, layout.pair_size))
    first = 0
    for key, near in kept.items():
        irreps, bonds = layout.pair[key], label.pairs[key]
        i, j, cell_offset = bonds.i[near], bonds.j[near], bonds.cell_offset[near]
        rows = slice(first, first := first + len(i))
        phase = np.exp(2j * np.pi * (cell_offset @ states.kpoints.T))
        first_atom, second_atom = (
            of(i, irreps.shape[0]).conj(),
            of(j, irreps.shape[1]) * phase[:, None],
        )
        # Twice the real part: the pair seen from its other end gives the complex conjugate.
        density = 2 * np.einsum("amr,anr->armn", first_atom, second_atom).real
        rotated = to_frame(
            frame,
            irreps,
            _components(irreps, density, states.spins).reshape(-1, irreps.size),
            np.repeat(graph.pair_vector[rows], n_rows, axis=0),
        )
        pairs[rows, :, : irreps.size] = rotated.reshape(len(i), n_rows, -1)
    return EigenvalueRows(
        (onsite * scales[0][:, None]).astype(np.float32),
        (pairs * scales[1][:, None]).astype(np.float32),
        np.zeros(len(label.atoms), dtype=np.int32),
    )


def _choose(label: Hamiltonian, random: np.random.Generator) -> _States:
    """Draw k-points, and at each some of the eigenvalues in the window, or those nearest to it."""
    kpoints = random.uniform(-0.5, 0.5, (N_KPOINTS, 3)) * label.atoms.pbc
    overlaps = bloch_matrices(label, kpoints, "overlap")
    solved = [
        [scipy.linalg.eigh(*both) for both in zip(matrices, overlaps, strict=True)]
        for matrices in (
            bloch_matrices(label, kpoints, "hamiltonian", spin) for spin in range(label.n_spins)
        )
    ]
    energies = np.array([[values for values, _ in channel] for channel in solved])
    eigenvalues = Eigenvalues(
        energies,
        KPoints(kpoints, np.full(N_KPOINTS, 1 / N_KPOINTS)),
        np.unique(label.atoms.numbers),
    )
    # Of these k-points: labels that were imported may not say where it is.
    fermi = fermi_level(eigenvalues, electrons_of(label), SMEARING)
    vectors, points, spins = [], [], []
    for spin, channel in enumerate(solved):
        for k, (values, states) in zip(kpoints, channel, strict=True):
            distance = abs(values - fermi)
            inside = max(int(np.sum(distance <= WINDOW)), 1)
            chosen = random.choice(
                np.argsort(distance)[:inside], PER_KPOINT, replace=inside < PER_KPOINT
            )
            vectors.append(states[:, chosen])
            points += [k] * PER_KPOINT
            spins += [spin] * PER_KPOINT
    return _States(np.concatenate(vectors, axis=1), np.array(points), np.array(spins))


def _components(
    irreps: Irreps,
    density: Float[np.ndarray, "blocks rows ka kb"],
    spins: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, "blocks rows components"]:
    """Take what blocks of a state's own spin are contracted with to the irreps of both spins.

    A channel is mean ± half difference, so that the state's own has the weight of both.
    """
    if irreps.n_spins == 1:
        return irreps.to_irreps(density)
    own = (np.arange(2)[:, None] == spins)[:, None, :, None, None]
    return irreps.to_irreps(2 * own * density)


def stack_eigenvalue_rows(
    parts: Sequence[EigenvalueRows], n_atoms: int, n_pairs: int
) -> EigenvalueRows:
    """Put the rows of structures behind each other, and zeros behind them.

    Args:
        parts: of the structures of a batch.
        n_atoms: after padding.
        n_pairs: after padding.
    """
    starts = np.cumsum([0, *(len(part.structure) for part in parts[:-1])])
    counted = [part.structure + start for part, start in zip(parts, starts, strict=True)]
    return EigenvalueRows(
        _padded([part.onsite for part in parts], n_atoms),
        _padded([part.pairs for part in parts], n_pairs),
        _padded([rows.astype(np.int32) for rows in counted], n_atoms),
    )


def _padded(parts: Sequence[np.ndarray], count: int) -> np.ndarray:
    whole = np.concatenate(parts)
    return np.concatenate([whole, np.zeros((count - len(whole), *whole.shape[1:]), whole.dtype)])
