"""H and S of one structure, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Shaped

if TYPE_CHECKING:
    import xarray

    from gh_tools.orbitals.blocks import Hamiltonian
    from gh_tools.spectra.bands import BandStructure
    from gh_tools.spectra.optics.spectrum import OpticalSpectrum
    from gh_tools.spectra.spectrum import Spectrum

KPoint = Sequence[float] | Shaped[np.ndarray, "3"]


class Matrices:
    """H(R) and S(R) of one structure, and what follows from them.

    Attributes:
        atoms: the structure, wrapped into its cell.
        name: of the structure.
        blocks: H and S by species and species pair.
        scalars: numbers that came with it, such as ``fermi_level`` (eV) of labels.
    """

    def __init__(self, blocks: Hamiltonian, name: str = ""):
        self.blocks, self.name = blocks, name
        self.atoms, self.scalars = blocks.atoms, dict(blocks.scalars)

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals: rows of H(k)."""
        return self.blocks.n_orbitals

    def H(
        self, k: KPoint = (0, 0, 0), spin: int = 0, sparse: bool = False
    ) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array:
        """Return the Hamiltonian matrix at a k-point, in eV.

        It is the Bloch sum H(k) = Σ_R exp(2πi k·R) H(R).

        Args:
            k: in units of the reciprocal lattice vectors.
            spin: which spin channel.
            sparse: return a CSR array in place of a dense one.
        """
        from gh_tools.orbitals.bloch import bloch_matrix

        return bloch_matrix(
            self.blocks, np.asarray(k, dtype=float), "hamiltonian", spin, sparse=sparse
        )

    def S(
        self, k: KPoint = (0, 0, 0), sparse: bool = False
    ) -> Shaped[np.ndarray, "orbitals orbitals"] | scipy.sparse.csr_array:
        """Return the overlap at a k-point, a Bloch sum as that of `H`."""
        from gh_tools.orbitals.bloch import bloch_matrix

        return bloch_matrix(self.blocks, np.asarray(k, dtype=float), "overlap", sparse=sparse)

    def orthogonal(
        self, k: Sequence[float] = (0, 0, 0), spin: int = 0
    ) -> Shaped[np.ndarray, "orbitals orbitals"]:
        """Return S(k)^(-1/2) H(k) S(k)^(-1/2), for libraries that know no overlap, in eV.

        Its eigenvalues are those of H and S; it is periodic in k.

        Args:
            k: in units of the reciprocal lattice vectors.
            spin: which spin channel.

        Raises:
            DataError: S(k) is not positive definite.
        """
        from gh_tools.formats.lowdin import orthogonal_at

        return orthogonal_at(self.blocks, np.asarray(k, dtype=float), spin)

    def optics(self, **settings: Any) -> OpticalSpectrum:
        """Return the dielectric function, or the polarisability of layers, wires and molecules.

        Args:
            **settings: keys of the configuration of `gh-optics`, such as ``kpts=(24, 24, 1), soc=True``.
        """
        from gh_tools.spectra.optics.config import OpticsConfig
        from gh_tools.spectra.optics.spectrum import optical_spectrum

        return optical_spectrum(self.blocks, OpticsConfig(**settings))

    def eigenvalues(
        self, kpoints: Sequence[KPoint] | Shaped[np.ndarray, "kpoints 3"] = ((0, 0, 0),)
    ) -> Float[np.ndarray, "spins kpoints bands"]:
        """Return all solutions ε of H(k) c = ε S(k) c, in eV, ascending.

        Args:
            kpoints: in units of the reciprocal lattice vectors.

        Raises:
            DataError: S(k) is not positive definite.
        """
        from gh_tools.spectra.eigen import solve
        from gh_tools.spectra.kpoints import KPoints

        points = np.asarray(kpoints, dtype=float).reshape(-1, 3)
        weights = np.full(len(points), 1 / len(points))
        return solve(self.blocks, KPoints(points, weights), projected=False).energies

    def with_spin_orbit(self) -> Matrices:
        """Return H with spin–orbit coupling and S, for spinors: 2 n_orbitals rows, and one electron in each state.

        The coupling is that of the PAW setups of the basis. Rows of each atom are its orbitals with spin up, then those
        with spin down.

        Raises:
            DataError: the basis has no PAW setups, or not those of this machine.
        """
        from gh_tools.dft.spin_orbit import with_spin_orbit

        return Matrices(with_spin_orbit(self.blocks), self.name)

    def bands(self, path: str | None = None, points: int = 200, **settings: Any) -> BandStructure:
        """Return the bands along a path.

        Args:
            path: names of points of high symmetry, such as "GMKG"; None for the lattice's own path.
            points: number of k-points on the path.
            **settings: keys of the configuration of `gh-bands`, such as ``kpts=(6, 6, 1)`` for the Fermi level.
        """
        from gh_tools.spectra.band_path import band_path
        from gh_tools.spectra.bands import band_structure
        from gh_tools.spectra.config import ProjectedConfig

        config, named = ProjectedConfig(**settings), band_path(self.atoms, path, points)
        return band_structure(self.blocks, named, config, velocities=True)

    def spectrum(self, **settings: Any) -> Spectrum:
        """Return all that `gh-dos` computes: eigenvalues, densities, scalars, and what was asked for beside.

        Args:
            **settings: keys of the configuration of `gh-dos`. With ``project`` or ``along`` the result's ``local`` holds densities and
                band edges of ``groups`` and ``positions``; with ``states`` its ``states`` tell how localised those are.
        """
        from gh_tools.spectra.config import DosConfig
        from gh_tools.spectra.spectrum import compute_spectrum

        return compute_spectrum(self.blocks, DosConfig(**settings))

    def dos(self, **settings: Any) -> xarray.DataArray:
        """Return the density of states by species, in states/eV against E - E_F in eV.

        Args:
            **settings: keys of the configuration of `gh-dos`, such as ``kpts=(6, 6, 1), width=0.1``.

        Returns:
            Dimensions (species, energy); ``attrs`` hold the scalars, such as ``fermi_level`` and ``band_gap`` in eV.
        """
        import xarray
        from ase.data import chemical_symbols

        from gh_tools.spectra.config import DosConfig
        from gh_tools.spectra.dos import energy_grid
        from gh_tools.spectra.spectrum import compute_spectrum
        from gh_tools.spectra.window import whole_window

        config = whole_window(DosConfig(**settings), [self.blocks])
        assert config.window is not None
        spectrum = compute_spectrum(self.blocks, config)
        return xarray.DataArray(
            spectrum.density,
            {
                "species": [chemical_symbols[z] for z in spectrum.eigenvalues.species],
                "energy": energy_grid(config.window, config.points),
            },
            ("species", "energy"),
            "dos",
            {"units": "states/eV", **spectrum.scalars},
        )

    def __repr__(self) -> str:
        spins = " of two spins" if self.blocks.n_spins == 2 else ""
        spins = " of spinors" if self.blocks.spinor else spins
        called = f"{self.name}: " if self.name else ""
        return f"<{called}H and S{spins} of {self.atoms.get_chemical_formula()}, {self.n_orbitals} orbitals>"
