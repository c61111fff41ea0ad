"""What `gh-optics` can be asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gh_tools.spectra.config import SamplingConfig

_LARGEST = 1e4


class OpticsConfig(SamplingConfig):
    """Optical spectra of independent particles."""

    kpoint_density: float = Field(default=10.0, gt=0, le=1000)
    """k-points per Å⁻¹ along each periodic direction of the reduced cell (as in ASE and GPAW); in hexagonal planes a multiple of six from four points on."""
    window: tuple[
        Annotated[float, Field(ge=0, le=_LARGEST)], Annotated[float, Field(ge=0, le=_LARGEST)]
    ] = (0.0, 10.0)
    """First and last photon energy, eV."""
    points: int = Field(default=1001, ge=2, le=100_000)
    """Number of photon energies."""
    width: float = Field(default=0.05, ge=1e-3, le=100)
    """Half width at half maximum of the Lorentzian that broadens each transition, eV."""
    scissors: float = Field(default=0.0, ge=0, le=100)
    """Energy that is added to all empty states of an insulator, eV; positions between states stay what they are."""
    positions: Literal["auto", "basis", "atoms"] = "auto"
    """Position operator: of the basis functions, or of orbitals that sit on their atoms, without dipoles within atoms. The
    first where the basis table has radial functions for auto."""

    @model_validator(mode="after")
    def _ascending_window(self) -> OpticsConfig:
        if not self.window[1] > self.window[0]:
            raise ValueError(f"window: expected the lower energy first, found {self.window}")
        return self
