"""Eigenvalues of a large structure in a window about its Fermi level, over spins and k-points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import OutsideWindow, fermi_level
from gh_tools.spectra.groups import Groups
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.perturbation import differences, first_order
from gh_tools.spectra.projection import (
    Projection,
    apply_root,
    lowdin,
    mulliken,
    species_members,
)
from gh_tools.spectra.sparse.count_model import CountModel
from gh_tools.spectra.sparse.factor import make_engine
from gh_tools.spectra.sparse.overlap_check import check_overlap
from gh_tools.spectra.sparse.pencil import Pencil, make_pencil, model_eigenvalues
from gh_tools.spectra.sparse.shift_invert import MORE_VECTORS, VECTORS, NotConverged, Slice
from gh_tools.spectra.sparse.slices import Slicer, slice_size
from gh_tools.spectra.sparse.spin_orbit import SpinOrbitSlicer, most_states
from gh_tools.spectra.sparse.spinors import SpinorPencil, bounding_pencils, make_spinor_pencil
from gh_tools.store.parts import Pieces

# Eigenvalues per channel that the count may be off when the eigenvalues around the shift are looked at:
# these cost less than another factorisation.
CLOSE = 24
_SEARCHES = 40
# A guess after a count that was off by so many times as much is expected to be close.
_NEARLY = 10
# Part of the memory that a Lanczos basis may take.
_BASIS_SHARE = 0.25
# Orbitals of both spins up to which matrices of spinors are factorised themselves, in seconds, however strong the coupling is.
SPINORS_FACTORISED = 6000
# Pieces for the steps of one channel.
_MOST_STEPS = 10**5


@dataclass(frozen=True)
class Certificate:
    """How eigenvalues were found, and what vouches for them.

    Attributes:
        solver: ``dense`` or ``slices``.
        engine: library of the factorisation.
        window: absolute energies between which all eigenvalues are listed, eV.
        eigenvalues: number of eigenvalues listed, over spins and k-points.
        residual: largest ‖Hx - εSx‖ of an eigenvalue, eV, for xᴴSx = 1.
        error: bound of the error of an eigenvalue that follows, eV: residual / √(smallest eigenvalue of S).
    """

    solver: str
    engine: str
    window: tuple[float, float]
    eigenvalues: int
    residual: float
    error: float


class Channel(NamedTuple):
    """One spin and k-point."""

    spin: int
    kpoint: int


class SlicedSolver:
    """Counts and finds eigenvalues of all channels, holding the matrices of one at a time.

    Attributes:
        hamiltonian: H(R) and S(R).
        kpoints: where.
        channels: all spins and k-points.
        degeneracy: electrons that an eigenvalue holds.
        belongs: 1 where an orbital belongs to a species, else 0.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        kpoints: KPoints,
        *,
        engine: str | None = None,
        memory: int,
        projection: Projection = "mulliken",
        groups: Mapping[str, Groups] | None = None,
        kept: Pieces | None = None,
        weigh: Callable[..., Float[np.ndarray, "rows states"]] | None = None,
        rows: int = 1,
    ):
        """Begin; nothing is computed yet.

        Args:
            hamiltonian: H(R) and S(R).
            kpoints: where to find eigenvalues.
            engine: library of the factorisation; None for the best installed.
            memory: bytes that may be used.
            projection: weights of species.
            groups: of orbitals, whose weights are computed, too.
            kept: where finished slices are put, and found after an interruption.
            weigh: gives weights of eigenvectors from the number of the k-point, the eigenvectors, their products with S and
                their energies, which take the place of the species' weights.
            rows: how many weights it gives of each.
        """
        self.kept, self._weigh = kept, weigh
        self.hamiltonian, self.kpoints = hamiltonian, kpoints
        self.degeneracy = hamiltonian.degeneracy
        self.channels = [
            Channel(s, k) for s in range(hamiltonian.n_spins) for k in range(len(kpoints))
        ]
        self._engine = make_engine(engine, memory)
        rough = make_engine(engine, memory, single=True)
        self._rough = rough if rough.single else None
        self._memory, self._projection = memory, projection
        self._groups = dict(groups or {})
        self._species, self.belongs = species_members(hamiltonian)
        if weigh:
            self._species = np.zeros(rows, dtype=np.int64)
        self._differences = differences(hamiltonian)
        self._models: dict[Channel, CountModel] = {}
        self._bounds: dict[int, tuple[float, float]] = {}
        self._live: tuple[Channel, Slicer | SpinOrbitSlicer] | None = None

    @property
    def _dresses(self) -> bool:
        """Whether eigenvalues of spinors are made of those without coupling."""
        return self.hamiltonian.paw_coupling and self.hamiltonian.n_orbitals > SPINORS_FACTORISED

    @property
    def engine(self) -> str:
        """Name of the library that factorises."""
        return self._engine.name

    @property
    def smallest_overlap(self) -> float:
        """Smallest eigenvalue of S at the k-points seen."""
        return min(low for low, _ in self._bounds.values())

    def pencil(self, channel: Channel) -> Pencil | SpinorPencil:
        """Return H(k) and S(k) of a channel."""
        return self._slicer(channel).pencil

    def factorize_overlap(self, channel: Channel) -> None:
        """Put the factors of S(k) in the place of those of a shift, for `solve`."""
        slicer = self._slicer(channel)
        slicer.forget()
        self._close_rough()
        self._engine.factorize(slicer.pencil.upper_overlap())

    def solve(self, rhs: Shaped[np.ndarray, "n m"]) -> Shaped[np.ndarray, "n m"]:
        """Solve with the matrix factorised last."""
        assert self._live is not None
        return self._live[1].solve(rhs)

    def find_fermi_level(self, n_electrons: float) -> Eigenvalues:
        """Find the eigenvalues next to the sharp Fermi level by counting electrons, uncertified.

        Shifts are guessed from the eigenvalues of parts and from all counts so far, until the count is
        nearly right; then the eigenvalues around the last shift decide.
        """
        electrons = self._joint_model()
        close: float = CLOSE
        if not 0 < n_electrons < electrons.capacity:
            raise DataError(
                f"the basis has room for {electrons.capacity:g} electrons and the structure has "
                f"{n_electrons:g}; use a larger basis or mend scalar/n_electrons"
            )
        rough, missing = self._rough is not None, np.inf
        for _ in range(_SEARCHES):
            sigma = electrons.guess(n_electrons)
            # The factors of the last count are used to look around: that one is better exact.
            far = rough and abs(missing) > _NEARLY * close
            held = sum(
                self.degeneracy * self.kpoints.weights[c.kpoint] * self._count(c, sigma, far)
                for c in self.channels
            )
            electrons.known[sigma] = held
            missing = (n_electrons - held) / self.degeneracy / self.hamiltonian.n_spins
            log.info("%.4f eV: %g of %g electrons below", sigma, held, n_electrons)
            if abs(missing) > close:
                continue
            need = (int(np.ceil(max(-missing, 0))) + 2, int(np.ceil(max(missing, 0))) + 2)
            try:
                eigenvalues = self._eigenvalues_near(sigma, need)
                fermi_level(eigenvalues, n_electrons)
            except (NotConverged, OutsideWindow):
                close = close / 2  # look from nearer by
                if rough:  # and count exactly
                    rough, close = False, CLOSE
                    electrons.known.clear()
                continue
            return eigenvalues
        raise DataError(
            "the Fermi level was not found by counting eigenvalues; use --solver dense, or --fermi label"
        )

    def _count(self, channel: Channel, sigma: float, rough: bool) -> int:
        """Count the eigenvalues of a channel below an energy, exactly or not."""
        slicer = self._slicer(channel)
        return slicer.rough_inertia(sigma) if rough else slicer.inertia(sigma).below

    def eigenvalues(self, low: float, high: float) -> tuple[Eigenvalues, Certificate]:
        """Find all eigenvalues of all channels in a window, certified.

        Args:
            low: eV.
            high: eV.

        Raises:
            DataError: if an eigenvalue is missing or not accurate.
        """
        found: dict[Channel, Slice] = {}
        below = np.zeros((self.hamiltonian.n_spins, len(self.kpoints)), dtype=np.int64)
        above = np.zeros_like(below)
        starts, stops = [], []
        for channel in self.channels:
            slicer = self._slicer(channel)
            kept = self.kept
            if kept is not None:
                kept = kept.after(1 + _MOST_STEPS * self.channels.index(channel))
            found[channel], first, last = slicer.eigenvalues(
                low, high, title=f"eigenvalues{self._name(channel)}", kept=kept
            )
            below[channel] = first.below
            above[channel] = slicer.pencil.n - last.below
            starts.append(first.shift)
            stops.append(last.shift)
        window = (max(starts), min(stops))
        residual = max(part.residual for part in found.values())
        certificate = Certificate(
            "slices",
            self.engine,
            window,
            sum(len(part.energies) for part in found.values()),
            residual,
            residual / np.sqrt(self.smallest_overlap),
        )
        return self._pack(found, below, above, window), certificate

    def _eigenvalues_near(self, sigma: float, need: tuple[int, int]) -> Eigenvalues:
        found, lows, highs = {}, [], []
        below = np.zeros((self.hamiltonian.n_spins, len(self.kpoints)), dtype=np.int64)
        above = np.zeros_like(below)
        for channel in self.channels:
            slicer = self._slicer(channel)
            at, part, (low, high) = slicer.near(sigma, need)
            found[channel] = part
            below[channel] = at.below - int(np.sum(part.energies < at.shift))
            above[channel] = slicer.pencil.n - below[channel] - len(part.energies)
            lows.append(low)
            highs.append(high)
        return self._pack(found, below, above, (max(lows), min(highs)))

    def _pack(
        self,
        found: dict[Channel, Slice],
        below: Int[np.ndarray, "spins kpoints"],
        above: Int[np.ndarray, "spins kpoints"],
        window: tuple[float, float],
    ) -> Eigenvalues:
        width = max(len(part.energies) for part in found.values())
        energies = np.full((*below.shape, width), np.inf)
        # Of each eigenvector come the weights of species and of groups, and by how much members move its energy.
        sizes = [len(self._species), *map(len, self._groups.values()), len(self._differences)]
        rows = np.zeros((sum(sizes), *below.shape, width))
        for channel, part in found.items():
            energies[channel][: len(part.energies)] = part.energies
            rows[:, channel.spin, channel.kpoint, : len(part.energies)] = part.projections
        of_species, *of_groups, members = np.split(rows, np.cumsum(sizes)[:-1])
        return Eigenvalues(
            energies,
            self.kpoints,
            self._species,
            of_species,
            below,
            above,
            window,
            spinor=self.hamiltonian.spinor,
            members=members if self._differences else None,
            weights=dict(zip(self._groups, of_groups, strict=True)),
        )

    def _joint_model(self) -> CountModel:
        """Model the electrons of all channels by those of the first k-point."""
        eigenvalues, states = [], []
        for channel in self.channels:
            if channel.kpoint == 0:
                model = self._slicer(channel).model
                eigenvalues.append(model.eigenvalues)
                states.append(np.full(len(model.eigenvalues), float(self.degeneracy)))
        return CountModel(np.concatenate(eigenvalues), np.concatenate(states))

    def _slicer(self, channel: Channel) -> Slicer | SpinOrbitSlicer:
        """Return what works on a channel, in place of the one that worked before."""
        if self._live is not None and self._live[0] == channel:
            return self._live[1]
        self._live = None
        self._engine.close()
        self._close_rough()
        k = self.kpoints.points[channel.kpoint]
        spinors = make_spinor_pencil(self.hamiltonian, k) if self._dresses else None
        # What is factorised does not act on spins where the coupling's bounds are known.
        pencil = spinors.scalar if spinors else make_pencil(self.hamiltonian, k, channel.spin)
        # Vectors and their products with S, and a block that is worked on.
        basis = 2 * pencil.n * pencil.dtype.itemsize
        most = max(2 * MORE_VECTORS, int(_BASIS_SHARE * self._memory) // basis)
        wanted = VECTORS * slice_size(pencil.n) + MORE_VECTORS
        # Upper triangle shifted and handed over, and the basis of one slice.
        held = 3 * pencil.nbytes + min(most, wanted) * basis
        if spinors:
            held += spinors.nbytes + 2 * pencil.nbytes
        for engine in filter(None, (self._engine, self._rough)):
            engine.memory = max(0, self._memory - held)
        if channel not in self._models:
            eigenvalues = model_eigenvalues(pencil, self._owner(), self.hamiltonian.atoms.positions)
            self._models[channel] = CountModel(eigenvalues, np.ones(len(eigenvalues)))
        if channel.kpoint not in self._bounds:
            self._bounds[channel.kpoint] = check_overlap(
                *(pencil, self._engine, self._rough),
                *(self.hamiltonian.atoms.get_chemical_formula(), k),
            )
        project = self._projector(spinors or pencil, self._bounds[channel.kpoint], channel)
        model = self._models[channel]
        slicer: Slicer | SpinOrbitSlicer
        if spinors:
            slicer = SpinOrbitSlicer(
                spinors,
                bounding_pencils(self.hamiltonian, k, pencil),
                self._engine,
                project,
                model,
                rough=self._rough,
                max_vectors=most,
                max_states=most_states(int(_BASIS_SHARE * self._memory), spinors),
            )
        else:
            slicer = Slicer(
                *(pencil, self._engine, project, model), rough=self._rough, max_vectors=most
            )
        self._live = channel, slicer
        return slicer

    def _owner(self) -> Int[np.ndarray, " orbitals"]:
        """Return the atom of each row of what is factorised."""
        counts = self.hamiltonian.orbitals_of_atoms // (2 if self._dresses else 1)
        return np.repeat(np.arange(len(counts)), counts)

    def _projector(
        self, pencil: Pencil | SpinorPencil, bounds: tuple[float, float], channel: Channel
    ) -> Callable:
        k = self.kpoints.points[channel.kpoint]
        perturbations = [
            bloch_matrix(one, k, "hamiltonian", channel.spin, sparse=True)
            for one in self._differences
        ]

        def moved(x: np.ndarray, energies: np.ndarray) -> list[Float[np.ndarray, " m"]]:
            return [first_order(delta, energies, x) for delta in perturbations]

        weigh = self._weigh
        if weigh is not None:
            return lambda x, sx, energies: np.vstack(
                [weigh(channel.kpoint, x, sx, energies), *moved(x, energies)]
            )
        methods = {self._projection, *(one.method for one in self._groups.values())}

        def project(
            x: np.ndarray, sx: np.ndarray, energies: np.ndarray
        ) -> Float[np.ndarray, "rows m"]:
            weights = {
                method: lowdin(apply_root(pencil.apply_overlap, bounds, x))
                if method == "lowdin"
                else mulliken(x, sx)
                for method in methods
            }
            of_groups = [one.of(weights[one.method], channel.spin) for one in self._groups.values()]
            return np.vstack(
                [self.belongs @ weights[self._projection], *of_groups, *moved(x, energies)]
            )

        return project

    def _close_rough(self) -> None:
        """Give the memory of the factors in single precision back."""
        if self._rough is not None:
            self._rough.close()

    def _name(self, channel: Channel) -> str:
        spin = f", spin {channel.spin}" if self.hamiltonian.n_spins > 1 else ""
        return spin + (f", k-point {channel.kpoint}" if len(self.kpoints) > 1 else "")
