"""What `gh-dos` can be asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# eV. Eigenvalues and window edges that are nearer to each other are the same energy. Rounding and the
# solvers' residuals leave errors of 1e-12 eV, and of 3e-7 eV at the worst that is accepted without a
# warning (a residual of 1e-8 eV with an eigenvalue 1e-3 of S); the matrices themselves are right to 1e-5 eV,
# so that no physics is finer.
RESOLUTION = 1e-6
# eV. Far beyond all spectra, and far below where floating-point numbers end.
_LARGEST = 1e6

Energy = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]


# Points along one direction; a cell for which more would be needed is none that atoms form.
GridSize = Annotated[int, Field(gt=0, le=1000)]


class SamplingConfig(BaseModel):
    """How eigenvalues are sampled and filled."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    kpts: tuple[GridSize, GridSize, GridSize] | None = None
    """Γ-centred Monkhorst-Pack grid, such as [6, 6, 1]; takes the place of kpoint_density."""
    kpoint_density: float = Field(default=5.0, gt=0, le=1000)
    """k-points per Å⁻¹ along each periodic direction of the reduced cell (as in ASE and GPAW); in hexagonal planes a multiple of six from four points on. All cells of a lattice get the same points."""
    fermi: Literal["count", "label"] = "count"
    """Fermi level from the electron count and the eigenvalues, or the one stored with the labels."""
    soc: bool = False
    """Spin–orbit coupling from the PAW setups of the basis is added to H; eigenvalues hold one electron then."""
    smearing: float = Field(default=0.0, ge=0, le=_LARGEST)
    """Fermi-Dirac width kT for the Fermi level, eV; 0 (and below 1e-6) fills sharply, with E_F midgap in a gap."""

    @model_validator(mode="after")
    def _fermi_level_with_coupling(self) -> SamplingConfig:
        if self.soc and self.fermi == "label":
            raise ValueError(
                'the Fermi level of the labels is that without spin-orbit coupling; use fermi = "count" with soc'
            )
        return self


Project = Literal["species", "shell", "atom", "layer", "spin", "groups"]
PROJECTS: tuple[str, ...] = get_args(Project)
AtomIndex = Annotated[int, Field(ge=0, strict=True)]


class ProjectedConfig(SamplingConfig):
    """What states are projected on."""

    project: Project = "species"
    """What states are projected on: species; shells, that is species and l; atoms; layers; the two spins; or groups of
    atoms, see groups."""
    groups: dict[str, tuple[AtomIndex | str, ...]] = {}
    """Atoms (by index from 0) and elements of each group, by its name, for project = "groups"; atoms in none are the
    group rest."""
    group_atoms: int | None = Field(default=None, gt=0)
    """Number of atoms that a structure must have for the groups to be its own; any if not given."""
    projection: Literal["mulliken", "lowdin"] = "mulliken"
    """How a state is divided among orbitals."""
    along: Literal["x", "y", "z", "a", "b", "c"] | None = None
    """Direction across layers: Cartesian, or of a lattice vector, across the plane of the other two. By default layers
    are looked for along the direction without a period, or c."""
    layer_gap: float = Field(default=2.4, gt=0, le=_LARGEST)
    """Å along the direction between two atoms next to each other there, beyond which a new layer begins."""

    @model_validator(mode="after")
    def _groups_of_atoms(self) -> ProjectedConfig:
        if (self.project == "groups") != bool(self.groups):
            raise ValueError(
                'groups: expected atoms or elements of at least one group with project = "groups", and none without'
            )
        for name, members in self.groups.items():
            if not name or not name.isprintable():
                raise ValueError(f"groups: {name!r} is no name of a group")
            for member in members:
                if isinstance(member, str) and atomic_numbers.get(member, 0) == 0:
                    raise ValueError(f"groups: {name}: {member!r} is no chemical symbol")
        return self


class DosConfig(ProjectedConfig):
    """Density of states and carriers."""

    width: float = Field(default=0.05, ge=RESOLUTION, le=_LARGEST)
    """Standard deviation of the Gaussian that broadens an eigenvalue, eV."""
    points: int = Field(default=20_000, ge=2, le=10_000_000)
    """Number of energies of the density of states; by default 4000 where it is projected on more than species."""
    window: tuple[Energy, Energy] | None = None
    """First and last energy of the density of states, eV from E_F. By default from -10 eV, or from below all valence
    states where these reach deeper, to 10 eV; of structures of more than 2000 orbitals from -10 to 10 eV."""
    solver: Literal["auto", "dense", "slices", "kpm"] = "auto"
    """How eigenvalues are found: all by dense matrices; those that the windows need by sparse slices; the
    density of all by Chebyshev polynomials and random vectors, with slices for the carriers. By size
    and memory for auto."""
    engine: Literal["auto", "pardiso", "mumps", "superlu"] = "auto"
    """Library that factorises sparse matrices; the first of these that is installed for auto."""
    position_spacing: float = Field(default=0.25, gt=0, le=_LARGEST)
    """Largest spacing of positions in Å, where densities are resolved along a direction."""
    position_width: float = Field(default=0.75, gt=0, le=_LARGEST)
    """Standard deviation in Å of the Gaussian about its atom in which a population lies along the direction."""
    edge_threshold: float = Field(default=0.01, gt=0, le=1)
    """Local band edges are where the projected density, integrated from E_F outwards, reaches so many states an atom."""
    states: tuple[Energy, Energy] | None = None
    """Energies in eV from E_F between which states are listed: how many atoms share each, and which."""
    probes: int = Field(default=8, ge=2)
    """Probe vectors, random ones of ±1, of the solver kpm; the error falls with their square root."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the random vectors."""
    carriers: tuple[str, ...] = ()
    """Elements whose states count as carriers; none for all."""
    carrier_window: tuple[Energy, Energy] = (0.0, 0.2)
    """Energies between which carriers are counted, eV from E_F."""

    @field_validator("carriers")
    @classmethod
    def _known_elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"{symbol!r} is no chemical symbol")
        return symbols

    @model_validator(mode="after")
    def _ascending_windows(self) -> DosConfig:
        for name in ("window", "carrier_window", "states"):
            if getattr(self, name) is None:
                continue
            low, high = getattr(self, name)
            if not high - low >= RESOLUTION:
                raise ValueError(
                    f"{name}: expected the lower energy first, and {RESOLUTION:g} eV or more between the "
                    f"two, found {low} and {high}"
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _fewer_energies_of_many_densities(cls, values: Any) -> Any:
        many = isinstance(values, dict) and (
            values.get("along") is not None or values.get("project", "species") != "species"
        )
        return {"points": 4000, **values} if many else values

    @model_validator(mode="after")
    def _projection_of_kpm(self) -> DosConfig:
        if self.solver == "kpm" and (self.along or self.states or self.project != "species"):
            raise ValueError(
                "solver kpm has no eigenvalues, only densities by species; leave out project, along and states"
            )
        if self.solver == "kpm" and self.projection != "mulliken":
            raise ValueError("solver kpm has no eigenvalues, only Mulliken's projection")
        return self

    @property
    def carrier_numbers(self) -> tuple[int, ...]:
        """Atomic numbers of the carrier species."""
        return tuple(atomic_numbers[symbol] for symbol in self.carriers)
