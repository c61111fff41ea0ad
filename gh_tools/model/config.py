"""What a training TOML says about the network: ``model = "..."`` selects one, the rest shapes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bond_frame import Frame
from gh_tools.orbitals.pairs import Cutoffs, basis_cutoffs

RadialFunction = Literal[
    "basic_fourier",
    "basic_bernstein",
    "basic_chebyshev",
    "basic_gaussian",
]
CutoffFunction = Literal["smooth_cutoff", "cosine_cutoff"]
TensorProduct = Literal["full", "fused"]


def default_choice(key: str, choice: str) -> BeforeValidator:
    """Return a validator by which a table that does not make its choice has the default.

    Args:
        key: of the table, which names the choice.
        choice: its default.
    """
    return BeforeValidator(
        lambda table: {key: choice, **table} if isinstance(table, Mapping) else table
    )


class Section(BaseModel):
    """A part of the configuration, in which an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, frozen=True, protected_namespaces=()
    )


class RadialBasisConfig(Section):
    """The species-aware expansion of an atom's surroundings."""

    cutoff: float | None = Field(None, gt=0.0)
    """Å; neighbours up to here shape an atom's descriptor. Default: the longest range of a block."""
    n_radial: int = Field(24, ge=1)
    """Number of radial functions."""
    max_degree: int = Field(4, ge=0)
    """Largest degree of the spherical harmonics."""
    n_embedding: int = Field(4, ge=1)
    """Numbers that describe an element as a neighbour, and as many as a centre."""
    radial_function: RadialFunction = "basic_fourier"
    """Radial functions, by their name in e3x."""
    cutoff_function: CutoffFunction = "smooth_cutoff"
    """Takes them and their derivatives to zero at the cutoff, by its name in e3x."""


class AttentionConfig(Section):
    """Self-attention among an atom's neighbours, which carries descriptors between atoms."""

    n_heads: int = Field(1, ge=1)
    """Number of attention heads."""
    features: int = Field(12, ge=1)
    """Features of queries, keys and values; a multiple of the number of heads."""

    @model_validator(mode="after")
    def _heads_share_features(self) -> AttentionConfig:
        if self.features % self.n_heads:
            raise ValueError(
                f"features is {self.features}, which is no multiple of n_heads, {self.n_heads}"
            )
        return self


class AtomCenteredConfig(Section):
    """The descriptor of an atom's surroundings."""

    radial_basis: RadialBasisConfig = RadialBasisConfig()
    """The expansion that all descriptors start from."""
    n_tensor_dense: int = Field(1, ge=0, le=2)
    """Tensor products in a row: 0 keeps the body order at 2, 1 adds descriptors of 3, 2 those of 5."""
    tensor_features: int = Field(12, ge=1)
    """Features of a tensor product."""
    tensor_product: TensorProduct = "full"
    """With a weight for each path of degrees (full), or with factorised weights (fused): faster."""
    attention: AttentionConfig | None = None
    """Self-attention on each descriptor. Default: none, as in the paper's models."""
    max_degree: int = Field(4, ge=0)
    """Degree to which the descriptors are reduced before they are joined."""


class BondCenteredConfig(Section):
    """The descriptor of a pair of atoms."""

    cutoff: float | None = Field(None, gt=0.0)
    """Å; blocks vanish beyond it. Default: each species pair's own range, the sum of both reaches."""
    n_radial: int = Field(24, ge=1)
    """Number of radial functions that the bond is expanded in."""
    max_degree: int = Field(4, ge=0)
    """Largest degree of the bond's spherical harmonics, and of the bond's features."""
    features: int | None = Field(None, ge=1)
    """Features of a pair. Default: as many as an atom's descriptor has."""
    radial_function: RadialFunction = "basic_fourier"
    """Radial functions, by their name in e3x."""
    tensor_product: TensorProduct = "fused"
    """With a weight for each path of degrees (full), or with factorised weights (fused): faster."""


class MLPConfig(Section):
    """The residual dense layers before the readouts."""

    layers: tuple[PositiveInt, ...] = Field((32, 16, 32), min_length=1)
    """Features of each layer."""
    activation: Literal["bent_identity", "mish", "silu"] = "bent_identity"
    """Gated non-linearity between layers, by its name in e3x."""


class GearsHConfig(Section):
    """The architecture of GEARS H (Halder et al. 2025, sections 2.1 and 4.4) and its defaults."""

    model: Literal["gears-h"] = "gears-h"
    """Selects this network."""
    atom_centered: AtomCenteredConfig = AtomCenteredConfig()
    """The descriptor of an atom's surroundings."""
    bond_centered: BondCenteredConfig = BondCenteredConfig()
    """The descriptor of a pair of atoms."""
    mlp: MLPConfig = MLPConfig()
    """The residual dense layers before the readouts."""
    norm_epsilon: float = Field(1e-2, gt=0.0)
    """Added to the mean square by which features are normalised, so that what vanishes stays small."""

    frame: ClassVar[Frame] = "global"  # that pairs are predicted in

    def cutoffs(self, basis: Basis) -> Cutoffs:
        """Return all cutoffs, those that are not given by the ranges of a basis."""
        return _cutoffs(basis, self.atom_centered.radial_basis.cutoff, self.bond_centered.cutoff)


class BondFrameConfig(Section):
    """The network that works in the frame of the bond: a fraction of the time, and more accurate."""

    model: Literal["bond-frame"] = "bond-frame"
    """Selects this network."""
    cutoff: float | None = Field(None, gt=0.0)
    """Å; neighbours up to here shape an atom's descriptor. Default: the longest range of a block."""
    pair_cutoff: float | None = Field(None, gt=0.0)
    """Å; blocks vanish beyond it. Default: each species pair's own range, the sum of both reaches."""
    max_degree: int | None = Field(None, ge=0)
    """Largest degree of features. Default: 4, or that of the blocks if it is larger."""
    n_radial: int = Field(16, ge=1)
    """Number of radial functions."""
    n_embedding: int = Field(4, ge=1)
    """Numbers that describe an element as a neighbour, and as many as a centre."""
    product_features: int = Field(12, ge=1)
    """Features of each of the two tensor products, which raise the body order to 3, and to 5 on site."""
    atom_features: int = Field(24, ge=1)
    """Tensors, and pseudotensors, that describe an atom."""
    onsite_features: int = Field(32, ge=1)
    """Tensors, and pseudotensors, that on-site blocks are read from."""
    bond_tensors: int = Field(7, ge=1)
    """Tensors that an atom brings to a pair."""
    bond_pseudotensors: int = Field(3, ge=1)
    """Pseudotensors that an atom brings to a pair."""
    bond_features: int = Field(12, ge=1)
    """Features of a pair for each order m and behaviour under a swap of the atoms."""
    hidden: int = Field(55, ge=1)
    """Width of the perceptrons of scalars, which set the gates."""
    n_layers: int = Field(2, ge=1)
    """Gated layers in the frame of the bond."""
    norm_epsilon: float = Field(1.0, gt=0.0)
    """Added to the mean square by which features are normalised, so that what vanishes stays small."""

    frame: ClassVar[Frame] = "bond"  # that pairs are predicted in

    def degree(self, of_blocks: int) -> int:
        """Return the largest degree of features, for blocks with irreps up to a degree."""
        return max(4, of_blocks) if self.max_degree is None else self.max_degree

    def cutoffs(self, basis: Basis) -> Cutoffs:
        """Return all cutoffs, those that are not given by the ranges of a basis."""
        return _cutoffs(basis, self.cutoff, self.pair_cutoff)


def _cutoffs(basis: Basis, descriptor: float | None, pair: float | None) -> Cutoffs:
    longest = max(basis_cutoffs(basis).values())
    return Cutoffs(longest if descriptor is None else descriptor, basis_cutoffs(basis, pair))


# A network adds its class here and its module in build.py.
ModelConfig = Annotated[BondFrameConfig | GearsHConfig, Field(discriminator="model")]
