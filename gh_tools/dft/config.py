"""What a labelling calculation does: every choice that its numbers depend on."""

from __future__ import annotations

from typing import Annotated, Literal

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from pydantic.functional_validators import AfterValidator


def _element(symbol: str) -> str:
    if symbol not in atomic_numbers:
        raise ValueError(f"'{symbol}' is no chemical element")
    return symbol


Element = Annotated[str, AfterValidator(_element)]
# Points along one direction; a cell for which more would be needed is none that atoms form.
GridSize = Annotated[int, Field(gt=0, le=1000)]


class Convergence(BaseModel):
    """When the self-consistent cycle may stop."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    density: PositiveFloat = 1e-4
    """Largest change of the density, in electrons per valence electron. In WSe2, 1e-3 leaves 0.6 meV of noise on elements of on-site blocks and 5 meV on the Fermi level, 1e-4 leaves 0.1 and 0.5 meV."""
    energy: PositiveFloat = 5e-6
    """Largest change of the energy over three steps, in eV per valence electron. Where the density has all but stopped, most energies change by less than 1e-6. Where a little charge still moves between states in the gap they do not: at GPAW's own 5e-4, eigenvalues of SiO2 with a defect were off by 8 meV and its Fermi level by 9."""


class LabelConfig(BaseModel):
    """A GPAW calculation in LCAO mode, and which blocks of H and S to keep of it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    xc: str = "PBE"
    """Exchange-correlation functional."""
    basis: str = "szp(dzp)"
    """GPAW basis set; ``szp(dzp)`` is the single-zeta polarised part of the dzp set."""
    basis_by_element: dict[Element, str] = {}
    """Basis sets of single elements, where they differ from ``basis``."""
    energy_shift: dict[Element, PositiveFloat] = {}
    """Elements whose basis is generated from their PAW setup, confined until the atom's states shift up by so many eV."""
    confined_type: str = Field("szp", pattern=r"^[sdtq2-9]z([dtq2-9]?p)?$")
    """Type of the generated basis sets: zetas and polarisation, such as sz, szp or dzp."""
    setups: dict[Element, str] = {}
    """PAW setups other than GPAW's default, such as W = "6" for six valence electrons."""
    hubbard: dict[Element, dict[Literal["s", "p", "d", "f"], float]] = {}
    """Hubbard U_eff in eV by element and shell, such as Ni = {d = 4.5}."""
    h: float = Field(0.2, ge=0.01)
    """Grid spacing in Å."""
    kpoint_density: float = Field(3.0, gt=0.0, le=1000.0)
    """Points of the Γ-centred k grid per Å⁻¹ along each periodic direction of the reduced cell, where ``kpts`` is not given. All cells of a lattice get the same points."""
    kpts: tuple[GridSize, GridSize, GridSize] | None = None
    """Size of the Γ-centred k grid along the reciprocal vectors of the structure's own cell; directions that are not periodic count as 1."""
    kpts_shift: float = Field(0.0, ge=0.0, le=0.5)
    """Shift of the k grid along each periodic direction, in steps of the grid; the points opposite to those are sampled as well. 0.25 with few points is the mean-value point, far better than Γ for insulators without symmetry, such as amorphous cells."""
    smearing: float = Field(0.1, ge=0.0, le=100.0)
    """Width of the Fermi-Dirac distribution in eV."""
    convergence: Convergence = Convergence()
    """When the self-consistent cycle may stop."""
    mixing: float | None = Field(None, gt=0.0, le=1.0)
    """Share of a step's change of the density that the next step begins from (GPAW's ``beta``). By default GPAW's: 0.05 where there is a period, which metals and long cells need, and 0.25 where there is none. Amorphous oxides take two thirds of the steps with 0.25."""
    max_iterations: PositiveInt = 200
    """Steps of the self-consistent cycle after which a structure counts as failed."""
    spin: Literal["paired", "collinear"] = "paired"
    """Whether spin channels are equal, or polarised along one axis."""
    magmoms: dict[Element, float] = {}
    """Initial magnetic moments in μB by element, for collinear spin; zero for all others."""
    charge: float | None = Field(None, allow_inf_nan=False)
    """Charge of every structure in units of |e|. By default each has that of its column ``charge``, and none without such a column."""
    vacuum: float = Field(5.0, gt=0.0, le=1000.0)
    """Least distance in Å from any atom to the calculation's box along directions that are not periodic; missing or smaller cells are enlarged for the calculation."""
    threshold: float = Field(1e-7, ge=0.0)
    """A pair is kept if an element of its H (in eV) or of its S is larger."""
    pair_cutoff: PositiveFloat | None = None
    """Pairs farther apart than this, in Å, are dropped; by default all stay that exceed the threshold."""

    @model_validator(mode="after")
    def _check(self):
        if self.spin == "collinear" and not any(self.magmoms.values()):
            raise ValueError(
                "collinear spin needs initial moments, as in magmoms.Ni=1.0, or it stays zero"
            )
        if self.spin == "paired" and self.magmoms:
            raise ValueError("magmoms mean nothing for paired spin; set spin to collinear")
        both = sorted(set(self.energy_shift) & set(self.basis_by_element))
        if both:
            raise ValueError(
                f"{both[0]} has both an energy_shift and a basis_by_element; leave one out"
            )
        return self
