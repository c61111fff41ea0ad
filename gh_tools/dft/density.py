"""The pseudo-density of all k-points at once: GPAW's sum over pairs of orbitals, done once instead of at each."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int

# Bytes of density matrices; where they would take more, k-points are few and are added one by one.
_LARGEST = 2**30


def add_kpoints_at_once() -> None:
    """Make GPAW add the densities of all k-points to its grid in one step.

    Version 25.7.0 sums ρ_μν(k) φ_μ,k(r)* φ_ν,k(r) over pairs of orbitals and points of the grid for each k-point anew,
    which takes 95 % of the time of a bulk crystal's labels. The sum is done once, by the same function of GPAW, with
    the orbitals' images in all cells as orbitals of their own, the density matrix of which is

        ρ_μν(R, R') = Σ_k Re[ρ_μν(k) exp(2πi k·(R - R'))].

    Nothing changes for one k-point a spin, where that matrix is too large, and where processes of MPI share the
    orbitals or the grid of a k-point.
    """
    from gpaw.new.lcao.ibzwfs import LCAOIBZWaveFunctions

    methods: Any = LCAOIBZWaveFunctions  # types have no word for a method that is replaced
    methods.add_to_density = _add_to_density


def _add_to_density(waves, pseudo_density, atomic_density_matrices) -> None:
    """Add to the densities on the grid and at the atoms, as the method that this one takes the place of."""
    from gpaw.new.ibzwfs import IBZWaveFunctions

    basis = next(iter(waves)).basis
    divided = waves.band_comm.size > 1 or waves.domain_comm.size > 1
    one_by_one = len(waves.ibz) == 1 or divided
    images = None if one_by_one else Images.of(basis)
    if images is None:
        IBZWaveFunctions.add_to_density(waves, pseudo_density, atomic_density_matrices)
        return
    for spin, density in enumerate(pseudo_density.data):
        own = [state for state in waves if state.spin == spin]
        if own:
            matrix = np.array([state.calculate_density_matrix() for state in own])
            images.add_density(matrix, np.array([state.kpt_c for state in own]), density)
    for state in waves:
        occupations = state.weight * state.spin_degeneracy * state.myocc_n
        state.add_to_atomic_density_matrices(occupations, atomic_density_matrices)
    waves.kpt_comm.sum(pseudo_density.data)
    waves.kpt_comm.sum(atomic_density_matrices.data)


class Images:
    """The orbitals of all cells that reach into this one, each as an orbital of its own.

    Attributes:
        orbital: of each, the orbital that it is an image of.
        cell: of each, the number of its cell.
        between: of two cells, the number of the translation from the second to the first.
        translation: of these numbers, in cells.
    """

    orbital: Int[np.ndarray, " images"]
    cell: Int[np.ndarray, " images"]
    between: Int[np.ndarray, "cells cells"]
    translation: Int[np.ndarray, "translations 3"]

    def __init__(self, basis):
        """Collect the images.

        Args:
            basis: GPAW's basis functions, with positions.
        """
        from gpaw.cgpaw import LFC

        # The functions of a shell of an atom in a cell come together.
        sizes = [values.shape[1] for values in basis.A_Wgm]
        ends = np.cumsum(sizes)
        self.orbital = np.concatenate(
            [first + np.arange(size) for first, size in zip(basis.M_W, sizes, strict=True)]
        )
        moved = np.concatenate([basis.sphere_a[a].sdisp_wc for a in basis.atom_indices])
        cells, number = np.unique(moved, axis=0, return_inverse=True)
        self.cell = np.repeat(number.ravel(), sizes)
        self.translation, between = np.unique(
            (cells[:, None] - cells).reshape(-1, 3), axis=0, return_inverse=True
        )
        self.between = between.reshape(len(cells), len(cells))
        # GPAW's object points to these arrays.
        self._arrays = basis.A_Wgm, (ends - sizes).astype(np.intc), basis.G_B, basis.W_B
        no_phases = np.empty((0, len(sizes)), complex)
        self._functions = LFC(*self._arrays, basis.gd.dv, no_phases, False)

    @classmethod
    def of(cls, basis) -> Images | None:
        """Return those of GPAW's basis functions, made once for their positions; None if they would take too much memory."""
        known = vars(basis).get("_gh_tools_images")
        if known is None or known[0] is not basis.lfc:
            images = cls(basis)
            # That of the images, and twice that of the orbitals for each translation.
            numbers = len(images.orbital) ** 2 + 2 * len(images.translation) * basis.Mmax**2
            known = basis.lfc, images if 8 * numbers <= _LARGEST else None
            basis._gh_tools_images = known
        return known[1]

    def add_density(
        self,
        matrix: Complex[np.ndarray, "kpoints orbitals orbitals"],
        kpoint: Float[np.ndarray, "kpoints 3"],
        density: Float[np.ndarray, "x y z"],
    ) -> None:
        """Add the density of density matrices ρ(k) to a grid.

        Args:
            matrix: ρ(k), k-points' weights included.
            kpoint: k, in units of the reciprocal lattice vectors.
            density: what is added to (1/bohr³).
        """
        phase = np.exp(2j * np.pi * self.translation @ kpoint.T)
        by_translation = np.tensordot(phase.real, matrix.real, 1)
        by_translation -= np.tensordot(phase.imag, matrix.imag, 1)
        whole = np.empty((len(self.orbital),) * 2)
        for number, between in enumerate(self.between):
            (rows,) = np.nonzero(self.cell == number)
            whole[rows] = by_translation[between[self.cell], self.orbital[rows, None], self.orbital]
        self._functions.construct_density(whole, density, -1, 0, len(whole))
